//! How much may be on its way to a server at a time, so that what one that hangs leaves behind has a
//! bound.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout_at};

/// So many permits, each for one request.
pub(crate) struct Permits(Arc<Semaphore>);

/// Why there is none.
pub(crate) enum NoPermit {
    Closed,
    /// The others kept theirs until the deadline.
    Late,
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// A permit, waited for until `deadline`.
    pub(crate) async fn acquire(
        &self,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, NoPermit> {
        let permits = || Arc::clone(&self.0);
        match permits().try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(NoPermit::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        match timeout_at(deadline, permits().acquire_owned()).await {
            Ok(Err(_closed)) => Err(NoPermit::Closed),
            // A permit that comes together with the deadline comes too late: where many end at once,
            // the others that waited as long would all be sent, for nobody.
            Ok(Ok(permit)) if Instant::now() < deadline => Ok(permit),
            Ok(Ok(_)) | Err(_) => Err(NoPermit::Late),
        }
    }

    /// Ends the waiting of everybody, and lets nobody wait any more.
    pub(crate) fn close(&self) {
        self.0.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
