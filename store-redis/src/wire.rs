//! The task's side of a connection: it writes requests and reads answers, until the socket ends.
//!
//! Own, and not the multiplexed connection of the `redis` crate, for three reasons: requests that
//! are made at the same time leave in one write, a request that was not written is known not to
//! have been, and an answer that is not Redis's protocol is never taken for a value.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::crowd::Crowd;
use crate::queue::{Loss, Queue, Reply};
use crate::reply::Shape;
use crate::resp::{Framer, Malformed, PUSH};
use crate::transport::Socket;

/// How much room there is for what the server sends next, and the least that is worth a read.
const READ_SIZE: usize = 64 << 10;
const LEAST_ROOM: usize = 4 << 10;
/// Requests are gathered into one write up to this size.
const WRITE_SIZE: usize = 64 << 10;
/// A buffer that had to grow further is given back.
const KEPT_SIZE: usize = 2 * READ_SIZE;

/// Moves requests and answers between a queue and a socket. Ends with the reason why it had to;
/// dropping it closes the socket. In either case every request learns what became of it.
pub(crate) struct Wire {
    socket: Box<dyn Socket>,
    queue: Arc<Queue>,
    outgoing: Outgoing,
    /// The server answers in this order.
    unanswered: VecDeque<Unanswered>,
    received: BytesMut,
    framer: Framer,
    crowd: Crowd,
    has_answered: bool,
}

struct Unanswered {
    shape: Shape,
    /// How many bytes were to be written before its first.
    offset: u64,
    reply: Reply,
}

impl Wire {
    pub(crate) fn new(socket: Box<dyn Socket>, queue: Arc<Queue>) -> Self {
        Self {
            socket,
            queue,
            outgoing: Outgoing::default(),
            unanswered: VecDeque::new(),
            received: BytesMut::with_capacity(READ_SIZE),
            framer: Framer::default(),
            crowd: Crowd::default(),
            has_answered: false,
        }
    }

    /// Whether a request was answered, and the last one by what is an answer to it.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), String>> {
        if self.received.capacity() - self.received.len() < LEAST_ROOM {
            self.received.reserve(READ_SIZE);
        }
        let read = pin!(self.socket.read_buf(&mut self.received));
        Poll::Ready(match ready!(read.poll(context)) {
            Ok(0) => Err("the server or the network closed it".to_owned()),
            Ok(_) => {
                self.queue.hear();
                self.deliver()
            }
            Err(cause) => Err(cause.to_string()),
        })
    }

    fn deliver(&mut self) -> Result<(), String> {
        let malformed = |_: Malformed| "the server sent what is not Redis's protocol".to_owned();
        loop {
            // Nobody asked for a push, and nobody misses it.
            let is_push = self.received.first() == Some(&PUSH);
            let answers = match self.unanswered.front() {
                _ if is_push => 1,
                Some(front) => front.shape.frames(),
                None if self.received.is_empty() => return Ok(()),
                None => return Err("the server sent an answer without a question".to_owned()),
            };
            let end = self.framer.end(&self.received, answers);
            let Some(length) = end.map_err(malformed)? else {
                return Ok(());
            };
            let answer = self.received.split_to(length).freeze();
            if length > KEPT_SIZE && self.received.len() <= READ_SIZE {
                // A large answer takes its buffer along.
                let rest = mem::replace(&mut self.received, BytesMut::with_capacity(READ_SIZE));
                self.received.extend_from_slice(&rest);
            }
            if !is_push && let Some(front) = self.unanswered.pop_front() {
                if !front.reply.is_unwanted() {
                    self.crowd.expect();
                }
                self.has_answered = front.shape.fits(&answer);
                front.reply.send(Ok(answer));
                if !self.has_answered {
                    // What is behind it may belong to other requests.
                    return Err("an answer did not fit its command".to_owned());
                }
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.outgoing.poll_write(&mut self.socket, context))?;
            ready!(
                self.crowd
                    .poll_due(&self.queue, self.unanswered.len(), context)
            );
            let taken = self.queue.take(|request| {
                self.unanswered.push_back(Unanswered {
                    shape: request.shape,
                    offset: self.outgoing.offset(),
                    reply: request.reply,
                });
                self.outgoing.push(request.packed);
                self.outgoing.bytes.len() < WRITE_SIZE
            });
            self.crowd.came(taken);
        }
    }
}

impl Future for Wire {
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<String> {
        loop {
            // Reading first: what has arrived counts before what seems to be missing.
            let read = self.poll_read(context);
            if let Poll::Ready(Err(cause)) = read {
                return Poll::Ready(cause);
            }
            if let Poll::Ready(Err(cause)) = self.poll_write(context) {
                // The server may have said why.
                while let Poll::Ready(Ok(())) = self.poll_read(context) {}
                return Poll::Ready(cause.to_string());
            }
            if read.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.queue.close();
        for request in self.unanswered.drain(..) {
            let was_sent = request.offset < self.outgoing.written;
            request.reply.send(Err(match was_sent {
                true => Loss::Unanswered,
                false => Loss::Unsent,
            }));
        }
    }
}

/// What is to be written, and flushed: TLS may keep some of it back otherwise.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// How many of `bytes` are written.
    at: usize,
    /// How many bytes are written in all.
    written: u64,
    is_unflushed: bool,
}

impl Outgoing {
    /// How many bytes there are in all, written or not.
    fn offset(&self) -> u64 {
        self.written + (self.bytes.len() - self.at) as u64
    }

    fn push(&mut self, packed: Vec<u8>) {
        if self.bytes.is_empty() && packed.len() >= WRITE_SIZE {
            self.bytes = packed;
        } else {
            self.bytes.extend_from_slice(&packed);
        }
        self.is_unflushed = true;
    }

    /// Resolves once everything is written.
    fn poll_write(
        &mut self,
        socket: &mut Box<dyn Socket>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            let length = ready!(Pin::new(&mut *socket).poll_write(context, rest))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.at += length;
            self.written += length as u64;
        }
        self.at = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_SIZE);
        if self.is_unflushed {
            ready!(Pin::new(&mut *socket).poll_flush(context))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::sync::oneshot;

    use super::*;
    use crate::queue::{Permit, Request};

    /// Has a request written that is answered by one frame.
    fn ask(queue: &Queue) -> oneshot::Receiver<(Result<Bytes, Loss>, Permit)> {
        let (sender, receiver) = oneshot::channel();
        let request = Request {
            packed: b"*1\r\n$4\r\nPING\r\n".to_vec(),
            shape: Shape::Any(1),
            reply: Reply {
                sender,
                permit: None,
            },
        };
        assert!(queue.push(request).is_ok());
        receiver
    }

    #[tokio::test]
    async fn who_left_before_the_answer_is_not_waited_for() {
        let (client, mut server) = duplex(4096);
        let queue = Arc::new(Queue::default());
        let mut wire = Wire::new(Box::new(client), Arc::clone(&queue));
        let callers: Vec<_> = (0..12).map(|_| ask(&queue)).collect();
        assert!((&mut wire).now_or_never().is_none());
        let mut written = [0; 4096];
        assert!(server.read(&mut written).now_or_never().is_some());
        drop(callers);
        server.write_all(&b"+PONG\r\n".repeat(12)).await.unwrap();
        assert!((&mut wire).now_or_never().is_none());
        assert!(wire.unanswered.is_empty());
        let _caller = ask(&queue);
        assert!((&mut wire).now_or_never().is_none());
        assert!(server.read(&mut written).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn large_requests_and_answers_keep_no_memory() {
        const LEN: usize = 4 << 20;
        let (client, mut server) = duplex(LEN);
        let queue = Arc::new(Queue::default());
        let mut wire = Wire::new(Box::new(client), Arc::clone(&queue));
        let (sender, receiver) = oneshot::channel();
        let request = Request {
            packed: vec![0; LEN],
            shape: Shape::Any(1),
            reply: Reply {
                sender,
                permit: None,
            },
        };
        assert!(queue.push(request).is_ok());
        assert!((&mut wire).now_or_never().is_none());
        let head = format!("${}\r\n", LEN - 100).into_bytes();
        let answer = [head, vec![0; LEN - 100], b"\r\n".to_vec()].concat();
        server.write_all(&answer).await.unwrap();
        let (received, _) = tokio::select! {
            _ = &mut wire => panic!("the connection is alive"),
            received = receiver => received.unwrap(),
        };
        assert_eq!(received.unwrap(), answer);
        assert!(wire.outgoing.bytes.capacity() <= KEPT_SIZE);
        assert!(wire.received.capacity() <= KEPT_SIZE);
    }
}
