//! The links of readers that block: one for each, so that they delay no call and no other reader.
//!
//! Nothing blocks yet; streams will.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use store_core::Result;

use crate::error;
use crate::lane::Purpose;
use crate::link::Link;
use crate::transport::Transport;

/// The readers of a driver. Their links end with it, or before when a reader drops its own.
pub(crate) struct Readers {
    transport: Arc<Transport>,
    /// None once closed.
    links: Mutex<Option<Vec<Weak<Link>>>>,
}

impl Readers {
    pub(crate) fn new(transport: Arc<Transport>) -> Self {
        Self {
            transport,
            links: Mutex::new(Some(Vec::new())),
        }
    }

    /// A link of its own for a reader. A call on it has to block for less than the time that it has: a
    /// server answers nobody on a connection that blocks, nor the watchdog, which would have it replaced.
    ///
    /// # Errors
    ///
    /// What kept it from connecting, `Closed`.
    #[cfg_attr(not(test), expect(dead_code, reason = "streams will read on it"))]
    pub(crate) async fn open(&self) -> Result<Arc<Link>> {
        let link = Link::connect(Arc::clone(&self.transport), Purpose::Reader).await?;
        let link = Arc::new(link);
        if let Some(links) = &mut *self.links() {
            links.retain(|link| link.strong_count() > 0);
            links.push(Arc::downgrade(&link));
            return Ok(link);
        }
        link.close().await;
        Err(error::closed())
    }

    /// Ends the links; calls under way end at once.
    pub(crate) async fn close(&self) {
        let links = self.abort();
        for link in links {
            link.close().await;
        }
    }

    /// Has the links end, and answers them.
    fn abort(&self) -> Vec<Arc<Link>> {
        let links = self.links().take().unwrap_or_default();
        let links = links.iter().filter_map(Weak::upgrade);
        links.inspect(|link| link.abort()).collect()
    }

    fn links(&self) -> MutexGuard<'_, Option<Vec<Weak<Link>>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.abort();
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
