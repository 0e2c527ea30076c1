//! The connection that subscriptions share: one task, in the order of the wire.
//!
//! The connection is opened for the first subscription and replaced for ever: when it is lost, and
//! when the commands have met a replica or gone elsewhere. What is subscribed is the registry's, and
//! what is said on one connection is the session's.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use store_core::{Error, RawEvent, RawSubscription, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::error::{self, Failure};
use crate::lane::{Lane, Purpose};
use crate::permits::{NoPermit, Permits};
use crate::registry::{Kind, Registry};
use crate::ring::Ring;
use crate::session::Session;
use crate::task::Task;
use crate::transport::Transport;

/// The subscriptions of a driver. Its task ends when the hub is closed or dropped.
pub(crate) struct Hub {
    shared: Arc<Shared>,
    task: Task,
}

/// What the subscriptions and the task share.
pub(crate) struct Shared {
    pub(crate) transport: Arc<Transport>,
    registry: Mutex<Registry>,
    /// The registry has something to send.
    pub(crate) work: Notify,
    /// One for each subscription that is not confirmed yet, as for each call.
    permits: Permits,
    /// Why there is no connection, while one is wanted.
    trouble: Mutex<Option<Failure>>,
}

impl Hub {
    pub(crate) fn new(transport: Arc<Transport>) -> Self {
        let shared = Arc::new(Shared::new(transport));
        let task = Task::spawn(run(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Subscribes, and resolves once the server confirmed it, within the call timeout.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` if the server refuses, `Unavailable` if it did not answer in time (the
    /// subscription is then given up), `Closed`.
    pub(crate) async fn subscribe(&self, kind: Kind, name: &str) -> Result<RawSubscription> {
        let options = &self.shared.transport.options;
        let deadline = Instant::now() + options.call_timeout;
        let permit = self.shared.permits.acquire(deadline).await;
        // Shared by what is sent, which stays in buffers when the caller has gone, and by the caller,
        // since without a connection nothing is sent.
        let permit = Arc::new(permit.map_err(|none| match none {
            NoPermit::Closed => error::closed(),
            NoPermit::Late => self.late(error::too_many_calls(options)),
        })?);
        let held = Some(Arc::clone(&permit));
        let joined = self.shared.registry().join(kind, name, held);
        let joined = joined.ok_or_else(error::closed)?;
        // From here on a dropped call leaves as a dropped subscription does.
        let subscriber = Subscriber {
            ring: joined.ring,
            shared: Arc::clone(&self.shared),
            kind,
            name: name.into(),
            number: joined.number,
        };
        self.shared.work.notify_one();
        match timeout_at(deadline, joined.confirmed).await {
            Ok(Ok(Ok(()))) => Ok(RawSubscription::new(subscriber)),
            Ok(Ok(Err(refused))) => Err(refused.into_error()),
            Ok(Err(_closed)) => Err(error::closed()),
            Err(_elapsed) => Err(self.late(error::not_confirmed(options.call_timeout))),
        }
    }

    /// Why a subscription did not come about in time, if not for lack of a connection.
    fn late(&self, otherwise: Error) -> Error {
        let options = &self.shared.transport.options;
        match &*self.shared.trouble() {
            Some(cause) => error::no_connection(&options.address, options.call_timeout, cause),
            None => otherwise,
        }
    }

    /// What keeps subscriptions from working, if anything does.
    pub(crate) fn trouble(&self) -> Option<String> {
        if !self.shared.registry().is_wanted() {
            return None;
        }
        if let Some(cause) = &*self.shared.trouble() {
            return Some(format!("subscriptions: {cause}"));
        }
        let refused = self.shared.registry().has_refused();
        refused.then(|| "Redis refuses a subscription that it had confirmed before".to_owned())
    }

    /// Ends every subscription, the connection and the task.
    pub(crate) async fn close(&self) {
        self.shared.close();
        self.task.end().await;
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(transport: Arc<Transport>) -> Self {
        Self {
            registry: Mutex::new(Registry::new(transport.options.limits())),
            permits: Permits::new(transport.options.max_in_flight),
            transport,
            work: Notify::new(),
            trouble: Mutex::new(None),
        }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.permits.close();
        self.registry().close();
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

/// Ends all subscriptions when the task does, also where that is the end of its runtime: they would
/// wait in vain.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Keeps a connection for as long as anybody listens. Dropping this future closes it.
async fn run(shared: Arc<Shared>) {
    let _end = End(Arc::clone(&shared));
    let mut lane = Lane::new(Arc::clone(&shared.transport), Purpose::PubSub);
    let mut backoff = Backoff::new();
    loop {
        while !shared.registry().is_wanted() {
            *shared.trouble() = None;
            shared.work.notified().await;
        }
        let (cause, wait) = match lane.open().await {
            Ok(socket) => {
                let began = Instant::now();
                shared.registry().connected();
                *shared.trouble() = None;
                let cause = Session::new(&shared, &mut lane).serve(socket).await;
                shared.registry().connection_lost();
                // A server that confirms and hangs up is asked for all of it each time.
                backoff.ended(false, began.elapsed());
                (cause, backoff.next_wait())
            }
            Err(cause) => {
                let wait = backoff.next_wait_after(&cause);
                (cause, wait)
            }
        };
        *shared.trouble() = shared.registry().is_wanted().then_some(cause);
        lane.pause(wait).await;
    }
}

#[cfg(test)]
mod tests;
