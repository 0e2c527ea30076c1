//! One connection of the hub, from its handshake to its loss.
//!
//! It moves commands, confirmations and messages between the registry and the server.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use redis::cmd;
use store_core::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::command;
use crate::error::{self, Failure};
use crate::hub::Shared;
use crate::lane::Lane;
use crate::options::Protocol;
use crate::registry::{Command, Kind};
use crate::reply;
use crate::resp::{self, Frame, PUSH};
use crate::transport::Socket;

/// How often the server is asked whether it is still there.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long after a refusal a subscription that worked before is asked for again.
const REFUSED_RETRY: Duration = Duration::from_secs(1);
/// How long after a server that loads or is busy has put off a subscription it is asked for again.
const PUT_OFF_RETRY: Duration = Duration::from_millis(50);
/// How many bytes that arrive while an answer is due are a sign of life. A message that comes more slowly
/// than these in the patience keeps all that is behind it from its subscribers.
pub(crate) const SIGN_OF_LIFE: usize = 256;
/// How much room there is for what the server sends next.
const READ_SIZE: usize = 64 << 10;
/// A buffer that had to grow further is given back.
const KEPT_SIZE: usize = 2 * READ_SIZE;
/// After so many deliveries other tasks have their turn: less than a millisecond of work.
const DELIVERIES_PER_TURN: usize = 4096;

/// What was sent and is not answered yet.
enum Sent {
    Command(Command),
    /// Whether the server is still there, and a master.
    Question,
}

/// One connection, from its handshake to its loss.
pub(crate) struct Session<'a> {
    shared: &'a Shared,
    /// The server answers in this order.
    sent: VecDeque<Sent>,
    out: Outgoing,
    next_question: Instant,
    /// Since when an answer to a question is due. Each [`SIGN_OF_LIFE`] that arrives meanwhile begins the
    /// wait anew, since a long message may stand before the answer.
    asked: Option<Instant>,
    /// How many bytes have arrived since then.
    heard: usize,
    /// Who subscribes under RESP2 may not ask for the role, only whether the server is there.
    asks_role: bool,
    /// When what was put off, and what was refused, is asked for again.
    put_off_until: Option<Instant>,
    refused_until: Option<Instant>,
    /// Since others had their turn.
    deliveries: usize,
    lane: &'a mut Lane,
}

impl<'a> Session<'a> {
    /// Makes the session of the last connection of `lane`.
    pub(crate) fn new(shared: &'a Shared, lane: &'a mut Lane) -> Self {
        let options = &shared.transport.options;
        Self {
            shared,
            lane,
            asks_role: options.protocol == Protocol::Resp3 && !options.allow_replica,
            sent: VecDeque::new(),
            out: Outgoing::default(),
            next_question: Instant::now() + HEARTBEAT,
            asked: None,
            heard: 0,
            put_off_until: None,
            refused_until: None,
            deliveries: 0,
        }
    }

    /// Runs until the connection is lost, and answers why.
    pub(crate) async fn serve(&mut self, socket: Box<dyn Socket>) -> Failure {
        let (mut reader, mut writer) = split(socket);
        let mut received = BytesMut::with_capacity(READ_SIZE);
        let options = &self.shared.transport.options;
        let patience = options.patience();
        loop {
            // Not left to a timer, which would never have its turn where there is always something
            // to read.
            if is_over(&mut self.put_off_until) {
                self.shared.registry().ask_for_put_off();
            }
            if is_over(&mut self.refused_until) {
                self.shared.registry().ask_for_refused();
            }
            if self.asked.is_none() && self.next_question <= Instant::now() {
                self.ask();
            }
            self.write_commands();
            if received.is_empty() && received.capacity() > KEPT_SIZE {
                received = BytesMut::new();
            }
            received.reserve(READ_SIZE);
            let retry_at = [self.put_off_until, self.refused_until];
            let retry_at = retry_at.into_iter().flatten().min();
            let pulse = match self.asked {
                Some(sent) => sent + patience,
                None => self.next_question,
            };
            tokio::select! {
                biased;
                // Before reading, which may go on for ever.
                () = self.lane.must_leave() => return error::commands_have_moved(),
                // Before reading as well, or nobody could leave while much arrives.
                written = self.out.write(&mut writer), if !self.out.is_written() => {
                    if let Err(cause) = written {
                        return error::connection_lost(&cause.to_string());
                    }
                }
                // Reading early: what has arrived counts before what seems to be missing.
                read = reader.read_buf(&mut received) => {
                    let outcome = match read {
                        Ok(0) => Err(error::connection_lost("the server closed it")),
                        Ok(length) => {
                            self.hear(length);
                            self.read_frames(&mut received).await
                        }
                        Err(cause) => Err(error::connection_lost(&cause.to_string())),
                    };
                    if let Err(cause) = outcome {
                        return cause;
                    }
                }
                () = self.shared.work.notified() => {}
                () = sleep_until(retry_at.unwrap_or(pulse)), if retry_at.is_some() => {}
                () = sleep_until(pulse) => {
                    if self.asked.is_some() {
                        return error::connection_lost("the server did not answer");
                    }
                    self.ask();
                }
            }
        }
    }

    fn write_commands(&mut self) {
        let mut registry = self.shared.registry();
        while let Some(command) = registry.next_command() {
            let (verb, name) = match &command {
                Command::Join {
                    kind: Kind::Channel,
                    name,
                    ..
                } => ("SUBSCRIBE", name),
                Command::Join {
                    kind: Kind::Pattern,
                    name,
                    ..
                } => ("PSUBSCRIBE", name),
                Command::Leave {
                    kind: Kind::Channel,
                    name,
                } => ("UNSUBSCRIBE", name),
                Command::Leave {
                    kind: Kind::Pattern,
                    name,
                } => ("PUNSUBSCRIBE", name),
            };
            let packed = cmd(verb).arg(&**name).get_packed_command();
            self.out.push(&packed);
            self.sent.push_back(Sent::Command(command));
        }
    }

    fn ask(&mut self) {
        let now = Instant::now();
        let (question, _) = match self.asks_role {
            true => command::role(self.shared.transport.options.protocol),
            false => command::ping(),
        };
        self.out.push(&question.get_packed_command());
        self.sent.push_back(Sent::Question);
        self.asked = Some(now);
        self.heard = 0;
        self.next_question = now + HEARTBEAT;
    }

    fn hear(&mut self, length: usize) {
        self.heard += length;
        if self.heard >= SIGN_OF_LIFE {
            self.asked = self.asked.map(|_| Instant::now());
            self.heard = 0;
        }
    }

    async fn read_frames(&mut self, received: &mut BytesMut) -> Result<(), Failure> {
        loop {
            let is_push = received.first() == Some(&PUSH);
            let parsed = resp::parse(received).map_err(|_| unfit())?;
            let Some((frame, length)) = parsed else {
                return Ok(());
            };
            self.read_frame(frame, is_push)?;
            received.advance(length);
            if self.deliveries >= DELIVERIES_PER_TURN {
                self.deliveries = 0;
                yield_now().await;
            }
        }
    }

    /// What nobody asked for in particular is a push under RESP3, and an array as any under RESP2.
    fn read_frame(&mut self, frame: Frame<'_>, is_push: bool) -> Result<(), Failure> {
        let Frame::Array(parts) = &frame else {
            return match frame {
                Frame::Error(line) => self.read_error(line),
                _ => self.read_answer(frame),
            };
        };
        match parts.as_slice() {
            [
                Frame::Bulk(b"message"),
                Frame::Bulk(channel),
                Frame::Bulk(message),
            ] => {
                let registry = self.shared.registry();
                self.deliveries += registry.deliver(Kind::Channel, channel, channel, message);
                Ok(())
            }
            [
                Frame::Bulk(b"pmessage"),
                Frame::Bulk(pattern),
                Frame::Bulk(channel),
                Frame::Bulk(message),
            ] => {
                let registry = self.shared.registry();
                self.deliveries += registry.deliver(Kind::Pattern, pattern, channel, message);
                Ok(())
            }
            [Frame::Bulk(b"message" | b"pmessage"), ..] => Err(unfit()),
            [
                Frame::Bulk(
                    verb @ (b"subscribe" | b"psubscribe" | b"unsubscribe" | b"punsubscribe"),
                ),
                Frame::Bulk(name),
                Frame::Integer(_),
            ] => self.read_confirmation(verb, name),
            // Of a kind that nobody subscribed to, and nobody misses.
            _ if is_push => Ok(()),
            _ => self.read_answer(frame),
        }
    }

    /// Reads the answer to a question that was not refused.
    fn read_answer(&mut self, frame: Frame<'_>) -> Result<(), Failure> {
        let Some(Sent::Question) = self.sent.pop_front() else {
            return Err(unfit());
        };
        self.asked = None;
        let is_pong = match &frame {
            Frame::Line(line) => *line == b"PONG",
            // Under RESP2, while anything is subscribed.
            Frame::Array(parts) => parts.first() == Some(&Frame::Bulk(b"pong")),
            _ => false,
        };
        match reply::is_replica(frame) {
            Ok(true) if self.asks_role => Err(error::replica(&self.shared.transport.options)),
            Ok(_) if self.asks_role || is_pong => Ok(()),
            _ => Err(unfit()),
        }
    }

    fn read_confirmation(&mut self, verb: &[u8], confirmed: &[u8]) -> Result<(), Failure> {
        let Some(Sent::Command(command)) = self.sent.pop_front() else {
            return Err(unfit());
        };
        let (expected, name) = match &command {
            Command::Join {
                kind: Kind::Channel,
                name,
                ..
            } => ("subscribe", name),
            Command::Join {
                kind: Kind::Pattern,
                name,
                ..
            } => ("psubscribe", name),
            Command::Leave {
                kind: Kind::Channel,
                name,
            } => ("unsubscribe", name),
            Command::Leave {
                kind: Kind::Pattern,
                name,
            } => ("punsubscribe", name),
        };
        if verb != expected.as_bytes() || confirmed != name.as_bytes() {
            return Err(unfit());
        }
        let mut registry = self.shared.registry();
        match command {
            Command::Join {
                kind, name, before, ..
            } => {
                registry.confirmed(kind, &name, before);
            }
            Command::Leave { kind, name } => registry.forgotten(kind, name),
        }
        Ok(())
    }

    fn read_error(&mut self, line: &[u8]) -> Result<(), Failure> {
        let (code, detail) = resp::split_error(line);
        let failure = error::reply(&code, &detail);
        match self.sent.pop_front() {
            // It passes, and nothing was done: who waits goes on waiting.
            Some(Sent::Command(
                Command::Join { kind, name, .. } | Command::Leave { kind, name },
            )) if error::passes(&code) => {
                self.shared.registry().put_off(kind, name);
                let until = || Instant::now() + PUT_OFF_RETRY;
                self.put_off_until.get_or_insert_with(until);
                Ok(())
            }
            Some(Sent::Command(Command::Join {
                kind, name, before, ..
            })) => {
                let mut registry = self.shared.registry();
                if registry.refused(kind, &name, before, &failure) {
                    let until = || Instant::now() + REFUSED_RETRY;
                    self.refused_until.get_or_insert_with(until);
                }
                Ok(())
            }
            // An answer all the same. What will not pass, as for a user without PING, is asked for
            // again only where there is nothing else to ask.
            Some(Sent::Question) => {
                self.asked = None;
                self.asks_role &= failure.kind == ErrorKind::Unavailable;
                Ok(())
            }
            // A user without UNSUBSCRIBE: what still comes, nobody listens to.
            Some(Sent::Command(Command::Leave { .. })) => Ok(()),
            None => Err(error::connection_lost(&failure.to_string())),
        }
    }
}

/// Whether there was a time to wait for, and it has come: then there is none any more.
fn is_over(until: &mut Option<Instant>) -> bool {
    until.take_if(|until| *until <= Instant::now()).is_some()
}

fn unfit() -> Failure {
    error::connection_lost("the server sent what does not fit")
}

/// What is to be written, and flushed: TLS may keep some of it back otherwise.
#[derive(Default)]
struct Outgoing {
    bytes: BytesMut,
    is_unflushed: bool,
}

impl Outgoing {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.is_unflushed = true;
    }

    fn is_written(&self) -> bool {
        !self.is_unflushed
    }

    /// Writes some of it. Dropping this future loses nothing.
    async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if !self.bytes.is_empty() && writer.write_buf(&mut self.bytes).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if self.bytes.is_empty() {
            writer.flush().await?;
            self.is_unflushed = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
