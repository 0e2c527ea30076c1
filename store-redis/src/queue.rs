//! Requests on their way to the socket, in the order in which they will be written.
//!
//! Its lock is the only thing that callers and the task that owns the socket share, and the point
//! at which a request is either taken, and perhaps executed, or certainly is not.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::reply::Shape;

/// The right to have a request on its way or unanswered. It goes where the request goes, so that
/// the request of a caller who left still counts.
pub(crate) type Permit = Option<OwnedSemaphorePermit>;

/// One or more commands that are written and answered together.
pub(crate) struct Request {
    pub(crate) packed: Vec<u8>,
    /// That of its answer.
    pub(crate) shape: Shape,
    pub(crate) reply: Reply,
}

/// What a request learns, and its permit.
pub(crate) type Answer = (Result<Bytes, Loss>, Permit);

/// Where the answer to a request goes, and with it the permit.
pub(crate) struct Reply {
    pub(crate) sender: oneshot::Sender<Answer>,
    pub(crate) permit: Permit,
}

/// The connection ended before the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// No byte of the request was written.
    Unsent,
    Unanswered,
}

impl Reply {
    /// Whether the caller does not wait any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) fn send(self, answer: Result<Bytes, Loss>) {
        // Who left does not want to know; the permit is released here then.
        let _ = self.sender.send((answer, self.permit));
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    heard: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    unsent: VecDeque<Request>,
    /// How many requests were taken so far.
    taken: u64,
    is_closed: bool,
    /// Who takes the requests, if it waits for some, and for how many it does.
    taker: Option<Waker>,
    wanted: usize,
}

impl Queue {
    /// Appends `request` and answers its number.
    ///
    /// # Errors
    ///
    /// The request itself if the connection has ended.
    pub(crate) fn push(&self, request: Request) -> Result<u64, Request> {
        let mut state = self.state();
        if state.is_closed {
            return Err(request);
        }
        let number = state.taken + state.unsent.len() as u64;
        state.unsent.push_back(request);
        let are_enough = state.unsent.len() >= state.wanted;
        let taker = are_enough.then(|| state.taker.take()).flatten();
        drop(state);
        if let Some(taker) = taker {
            taker.wake();
        }
        Ok(number)
    }

    /// Withdraws the request `number`, whose caller has closed its receiver; `false` says that it was
    /// taken before. One that was not will not be written, and stays in its place without its bytes.
    pub(crate) fn withdraw(&self, number: u64) -> bool {
        let mut state = self.state();
        let Some(place) = number.checked_sub(state.taken) else {
            return false;
        };
        let request = state.unsent.get_mut(place as usize);
        let bytes = request.map(|request| mem::take(&mut request.packed));
        drop(state);
        drop(bytes);
        true
    }

    /// How many requests wait to be taken. The task of `context` is woken once there are `wanted`, if
    /// there are not yet.
    pub(crate) fn waiting(&self, wanted: usize, context: &Context<'_>) -> usize {
        let mut state = self.state();
        let waiting = state.unsent.len();
        if waiting < wanted {
            state.taker = Some(context.waker().clone());
            state.wanted = wanted;
        }
        waiting
    }

    /// Hands requests to `take`, which says whether it wants another one. Those whose callers have
    /// left are dropped. Answers how many there were.
    pub(crate) fn take(&self, mut take: impl FnMut(Request) -> bool) -> usize {
        let mut state = self.state();
        let mut taken = 0;
        while let Some(request) = state.unsent.pop_front() {
            taken += 1;
            if !request.reply.is_unwanted() && !take(request) {
                break;
            }
        }
        state.taken += taken as u64;
        taken
    }

    /// Something has arrived from the server.
    pub(crate) fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When something arrived last.
    pub(crate) fn heard(&self) -> Option<Instant> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses further requests, and tells those that wait that they were not sent.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let unsent = mem::take(&mut state.unsent);
        drop(state);
        for request in unsent {
            request.reply.send(Err(Loss::Unsent));
        }
    }

    /// How many bytes wait to be taken.
    #[cfg(test)]
    pub(crate) fn waiting_bytes(&self) -> usize {
        let state = self.state();
        state
            .unsent
            .iter()
            .map(|request| request.packed.len())
            .sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
