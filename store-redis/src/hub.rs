//! The connection that subscriptions share: one task, in the order of the wire.
//!
//! The connection is opened for the first subscription and replaced for ever when it is lost.
//! What is subscribed is the registry's; this file moves commands, confirmations and messages
//! between it and the server.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_core::Stream;
use redis::cmd;
use store_core::{Error, RawEvent, RawSubscription, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::error::{self, Failure};
use crate::options::RedisOptions;
use crate::registry::{Command, Kind, Registry};
use crate::resp::{self, Frame};
use crate::ring::Ring;
use crate::transport::{self, Purpose, Socket};

/// How often the server is asked whether it is still there.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long it may take to answer that.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long after a refusal a subscription that worked before is asked for again.
const REFUSED_RETRY: Duration = Duration::from_secs(1);
/// How much room there is for what the server sends next.
const READ_SIZE: usize = 64 << 10;

/// The subscriptions of a driver. Its task ends when the hub is closed or dropped.
pub(crate) struct Hub {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    options: Arc<RedisOptions>,
    registry: Mutex<Registry>,
    /// The registry has something to send.
    work: Notify,
    /// Why there is no connection, while one is wanted.
    trouble: Mutex<Option<Failure>>,
}

impl Hub {
    pub(crate) fn new(options: Arc<RedisOptions>) -> Self {
        let shared = Arc::new(Shared {
            registry: Mutex::new(Registry::new(options.limits())),
            options,
            work: Notify::new(),
            trouble: Mutex::new(None),
        });
        let task = tokio::spawn(run(Arc::clone(&shared)));
        Self {
            shared,
            task: Mutex::new(Some(task)),
        }
    }

    /// Subscribes, and resolves once the server confirmed it, within the call timeout.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` if the server refuses, `Unavailable` if it did not answer in time (the
    /// subscription is then given up), `Closed`.
    pub(crate) async fn subscribe(&self, kind: Kind, name: &str) -> Result<RawSubscription> {
        let joined = self.shared.registry().join(kind, name);
        let joined = joined.ok_or_else(Error::closed)?;
        // From here on a dropped call leaves as a dropped subscription does.
        let subscriber = Subscriber {
            ring: joined.ring,
            shared: Arc::clone(&self.shared),
            kind,
            name: name.into(),
            number: joined.number,
        };
        self.shared.work.notify_one();
        let options = &self.shared.options;
        match timeout(options.call_timeout, joined.confirmed).await {
            Ok(Ok(Ok(()))) => Ok(RawSubscription::new(subscriber)),
            Ok(Ok(Err(refused))) => Err(refused.into_error()),
            Ok(Err(_closed)) => Err(Error::closed()),
            Err(_elapsed) => Err(match &*self.shared.trouble() {
                Some(cause) => error::no_connection(&options.address, options.call_timeout, cause),
                None => error::not_confirmed(options.call_timeout),
            }),
        }
    }

    /// What keeps subscriptions from working, if anything does.
    pub(crate) fn trouble(&self) -> Option<String> {
        if let Some(cause) = &*self.shared.trouble() {
            return Some(format!("subscriptions: {cause}"));
        }
        let refused = self.shared.registry().has_refused();
        refused.then(|| "Redis refuses a subscription that it had confirmed before".to_owned())
    }

    /// Ends every subscription, the connection and the task.
    pub(crate) async fn close(&self) {
        self.shared.registry().close();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            task.abort();
            // Its end is the end of the socket; that it was cancelled is no news.
            let _ = task.await;
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.registry().close();
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Shared {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Failure>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading end of a subscription. Dropping it leaves.
struct Subscriber {
    ring: Arc<Ring>,
    shared: Arc<Shared>,
    kind: Kind,
    name: Box<str>,
    number: u64,
}

impl Stream for Subscriber {
    type Item = RawEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<RawEvent>> {
        self.ring.poll_next(context)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.shared
            .registry()
            .leave(self.kind, &self.name, self.number);
        self.shared.work.notify_one();
    }
}

/// Keeps a connection for as long as anybody listens. Dropping this future closes it.
async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::new();
    loop {
        while !shared.registry().is_wanted() {
            shared.work.notified().await;
        }
        let cause = match transport::open(&shared.options, Purpose::PubSub).await {
            Ok(socket) => {
                backoff = Backoff::new();
                shared.registry().connected();
                *shared.trouble() = None;
                let cause = Session::new(&shared).serve(socket).await;
                shared.registry().connection_lost();
                cause
            }
            Err(cause) => cause,
        };
        *shared.trouble() = shared.registry().is_wanted().then_some(cause);
        sleep(backoff.next_wait()).await;
    }
}

/// What was sent and is not answered yet.
enum Sent {
    Command(Command),
    Ping,
}

/// One connection, from its handshake to its loss.
struct Session<'a> {
    shared: &'a Shared,
    /// The server answers in this order.
    sent: VecDeque<Sent>,
    out: BytesMut,
    /// Since when an answer to PING is due. What arrives meanwhile is a sign of life and begins the
    /// wait anew, since a long message may stand before the answer.
    ping_sent: Option<Instant>,
    retry_at: Option<Instant>,
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            sent: VecDeque::new(),
            out: BytesMut::new(),
            ping_sent: None,
            retry_at: None,
        }
    }

    /// Runs until the connection is lost, and answers why.
    async fn serve(mut self, socket: Box<dyn Socket>) -> Failure {
        let (mut reader, mut writer) = split(socket);
        let mut received = BytesMut::with_capacity(READ_SIZE);
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.write_commands();
            received.reserve(READ_SIZE);
            let retry_at = self.retry_at.unwrap_or_else(Instant::now);
            tokio::select! {
                // Reading first: what has arrived counts before what seems to be missing.
                biased;
                read = reader.read_buf(&mut received) => {
                    let outcome = match read {
                        Ok(0) => Err("the server closed it".to_owned()),
                        Ok(_) => {
                            self.ping_sent = self.ping_sent.map(|_| Instant::now());
                            self.read_frames(&mut received)
                        }
                        Err(cause) => Err(cause.to_string()),
                    };
                    if let Err(cause) = outcome {
                        return error::connection_lost(&cause);
                    }
                }
                written = writer.write_buf(&mut self.out), if !self.out.is_empty() => {
                    if let Err(cause) = written {
                        return error::connection_lost(&cause.to_string());
                    }
                }
                () = self.shared.work.notified() => {}
                () = sleep_until(retry_at), if self.retry_at.is_some() => {
                    self.retry_at = None;
                    self.shared.registry().retry_refused();
                }
                now = heartbeat.tick() => match self.ping_sent {
                    None => self.ping(now),
                    Some(sent) if now.duration_since(sent) > PATIENCE => {
                        return error::connection_lost("the server did not answer");
                    }
                    Some(_) => {}
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
            self.out.extend_from_slice(&packed);
            self.sent.push_back(Sent::Command(command));
        }
    }

    fn ping(&mut self, now: Instant) {
        self.out
            .extend_from_slice(&cmd("PING").get_packed_command());
        self.sent.push_back(Sent::Ping);
        self.ping_sent = Some(now);
    }

    fn read_frames(&mut self, received: &mut BytesMut) -> Result<(), String> {
        loop {
            let parsed = resp::parse(received).map_err(|_| unfit())?;
            let Some((frame, length)) = parsed else {
                return Ok(());
            };
            self.read_frame(&frame)?;
            received.advance(length);
        }
    }

    fn read_frame(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        match frame {
            Frame::Array(parts) => match parts.as_slice() {
                [
                    Frame::Bulk(b"message"),
                    Frame::Bulk(channel),
                    Frame::Bulk(message),
                ] => {
                    let registry = self.shared.registry();
                    registry.deliver(Kind::Channel, channel, channel, message);
                    Ok(())
                }
                [
                    Frame::Bulk(b"pmessage"),
                    Frame::Bulk(pattern),
                    Frame::Bulk(channel),
                    Frame::Bulk(message),
                ] => {
                    let registry = self.shared.registry();
                    registry.deliver(Kind::Pattern, pattern, channel, message);
                    Ok(())
                }
                [Frame::Bulk(b"pong"), ..] => self.read_pong(),
                [Frame::Bulk(verb), Frame::Bulk(name), Frame::Integer(_)] => {
                    self.read_confirmation(verb, name)
                }
                _ => Err(unfit()),
            },
            // The answer to PING while nothing is subscribed.
            Frame::Line(b"PONG") => self.read_pong(),
            Frame::Error(line) => self.read_error(line),
            _ => Err(unfit()),
        }
    }

    fn read_pong(&mut self) -> Result<(), String> {
        self.ping_sent = None;
        match self.sent.pop_front() {
            Some(Sent::Ping) => Ok(()),
            _ => Err(unfit()),
        }
    }

    fn read_confirmation(&mut self, verb: &[u8], confirmed: &[u8]) -> Result<(), String> {
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
        if let Command::Join { kind, name, before } = &command {
            self.shared.registry().confirmed(*kind, name, *before);
        }
        Ok(())
    }

    fn read_error(&mut self, line: &[u8]) -> Result<(), String> {
        let (code, detail) = resp::split_error(line);
        let failure = error::reply(&code, &detail);
        match self.sent.pop_front() {
            Some(Sent::Command(Command::Join { kind, name, before })) => {
                let mut registry = self.shared.registry();
                registry.refused(kind, &name, before, &failure);
                if registry.has_refused() {
                    self.retry_at = Some(Instant::now() + REFUSED_RETRY);
                }
                Ok(())
            }
            // A user without PING: an answer all the same.
            Some(Sent::Ping) => {
                self.ping_sent = None;
                Ok(())
            }
            // A user without UNSUBSCRIBE: what still comes, nobody listens to.
            Some(Sent::Command(Command::Leave { .. })) => Ok(()),
            None => Err(failure.to_string()),
        }
    }
}

fn unfit() -> String {
    "the server sent what does not fit".to_owned()
}
