//! One connection for commands, from the end of its handshake to its loss: the callers' side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::command::Question;
use crate::queue::{Answer, Loss, Permit, Queue, Reply, Request};
use crate::reply::{Refusal, Shape};
use crate::resp::Frame;
use crate::transport::Socket;
use crate::wire::Wire;

/// What requests are sent through.
pub(crate) struct Connection {
    /// From 1, counted up with each connection of a link.
    pub(crate) generation: u64,
    queue: Arc<Queue>,
    /// Somebody waits for an answer in vain: see whether there is still anybody there.
    pub(crate) suspected: Notify,
    is_demoted: AtomicBool,
    demotion: Notify,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    Lost(Loss),
    /// The deadline passed; a request that was not sent by then will not be.
    Late {
        was_sent: bool,
    },
}

impl Connection {
    /// Makes a connection of a socket whose handshake is done.
    pub(crate) fn new(socket: Box<dyn Socket>, generation: u64) -> (Arc<Self>, Wire) {
        let queue = Arc::new(Queue::default());
        let wire = Wire::new(socket, Arc::clone(&queue));
        let connection = Self {
            generation,
            queue,
            suspected: Notify::new(),
            is_demoted: AtomicBool::new(false),
            demotion: Notify::new(),
        };
        (Arc::new(connection), wire)
    }

    /// Sends `packed` and waits until `deadline` for its answer; what the server refuses is an answer,
    /// and so is what has not the shape that it should have, as the last one of the connection.
    ///
    /// `permit` comes back with the answer, or with the news that nothing was sent. Who stops
    /// waiting leaves it with the request.
    pub(crate) async fn send(
        &self,
        packed: Vec<u8>,
        shape: Shape,
        permit: &mut Permit,
        deadline: Instant,
    ) -> Result<Bytes, Silence> {
        let (sender, receiver) = oneshot::channel();
        let request = Request {
            packed,
            shape,
            reply: Reply {
                sender,
                permit: permit.take(),
            },
        };
        let number = match self.queue.push(request) {
            Ok(number) => number,
            Err(request) => {
                *permit = request.reply.permit;
                return Err(Silence::Lost(Loss::Unsent));
            }
        };
        let mut caller = Caller {
            receiver,
            queue: &self.queue,
            number,
        };
        let answer = match timeout_at(deadline, &mut caller.receiver).await {
            Ok(answer) => answer,
            Err(_elapsed) => match caller.leave() {
                Left::Answered(answer) => Ok(answer),
                Left::Unanswered { was_sent } => return Err(Silence::Late { was_sent }),
            },
        };
        // Every request is answered by its connection, also by its end.
        let (answer, returned) = answer.unwrap_or((Err(Loss::Unanswered), None));
        *permit = returned;
        answer.map_err(Silence::Lost)
    }

    /// Asks `question` beside the calls, without a permit of theirs, and reads the answer with `read`.
    pub(crate) async fn ask<T>(
        &self,
        (question, shape): Question,
        mut permit: Permit,
        read: impl FnOnce(Frame<'_>) -> Result<T, Refusal>,
        deadline: Instant,
    ) -> Result<Result<T, Refusal>, Silence> {
        let packed = question.get_packed_command();
        let answer = self.send(packed, shape, &mut permit, deadline).await?;
        let frame = shape.answer(&answer).ok_or(Refusal::Malformed);
        Ok(frame.and_then(read))
    }

    /// When something arrived last from the server.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.queue.heard()
    }

    /// The server is a replica now: keeps further calls from using this connection, and has it replaced.
    pub(crate) fn demote(&self) {
        if !self.is_demoted.swap(true, Ordering::AcqRel) {
            self.demotion.notify_one();
        }
    }

    pub(crate) fn is_demoted(&self) -> bool {
        self.is_demoted.load(Ordering::Acquire)
    }

    /// Resolves once the connection is demoted.
    pub(crate) async fn demotion(&self) {
        while !self.is_demoted() {
            self.demotion.notified().await;
        }
    }
}

/// Who waits for an answer. The request is withdrawn, if it can be, when this is dropped.
struct Caller<'a> {
    receiver: oneshot::Receiver<Answer>,
    queue: &'a Queue,
    number: u64,
}

/// What became of the request of a caller who has left.
enum Left {
    Answered(Answer),
    Unanswered { was_sent: bool },
}

impl Caller<'_> {
    /// Waits no longer. What came in the last moment is an answer still.
    fn leave(&mut self) -> Left {
        // Before the request is withdrawn, or what is left of it could still be taken.
        self.receiver.close();
        match self.receiver.try_recv() {
            Ok(answer) => Left::Answered(answer),
            Err(_none) => Left::Unanswered {
                was_sent: !self.queue.withdraw(self.number),
            },
        }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if !self.receiver.is_terminated() {
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests;
