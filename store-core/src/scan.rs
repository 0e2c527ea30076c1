//! Listing and clearing the keys of a store.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroUsize;

use futures_core::Stream;
use futures_util::{StreamExt, stream};

use crate::capability::{Scan, ScanPage};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// How many keys a page asks for where the caller does not say.
const PAGE_SIZE: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

impl<C: Codec> Store<C> {
    /// The keys of this store that begin with `prefix`, byte for byte; all of them for `""`.
    ///
    /// A key that is there during the whole scan comes exactly once; one that comes or goes
    /// meanwhile may or may not come. Keys come in no order, without the prefix and scope of the
    /// store; keys of scopes inside of it do not come. The stream remembers the keys it has
    /// yielded, so it takes memory for each. After an error it ends; where a connection is replaced
    /// meanwhile that is [`Unavailable`](crate::ErrorKind::Unavailable), since a server that was
    /// restarted does not know how far the scan was.
    ///
    /// A prefix that is longer than a key can be is
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput).
    ///
    /// Scanning costs the backend time for all its keys, not for the matching ones.
    pub fn scan(
        &self,
        prefix: &str,
    ) -> impl Stream<Item = Result<String>> + Send + Unpin + 'static {
        self.scan_paged(prefix, PAGE_SIZE)
    }

    /// As [`scan`](Self::scan), asking the backend for about `page_size` keys at a time.
    ///
    /// A smaller page delays other callers of the backend less, a larger one takes fewer round
    /// trips.
    pub fn scan_paged(
        &self,
        prefix: &str,
        page_size: NonZeroUsize,
    ) -> impl Stream<Item = Result<String>> + Send + Unpin + 'static {
        let scan = KeyScan {
            store: self.clone(),
            prefix: prefix.to_owned(),
            page_size,
            cursor: Cursor::Start,
            seen: HashSet::new(),
            ready: VecDeque::new(),
        };
        let keys = stream::unfold(scan, |mut scan| async move {
            let item = scan.next().await?;
            Some((item, scan))
        });
        // An `unfold` panics where it is asked for more than there is.
        Box::pin(keys.fuse())
    }

    /// Removes every key of this store, and nothing else; answers how many there were.
    ///
    /// Keys of scopes inside of this store stay, and so do keys that are written meanwhile where
    /// the scan does not meet them. A store without prefix and scope has every key of the backend
    /// that is in no scope.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the driver cannot list keys. After a
    /// backend's error some keys may be gone, also where it is `Unavailable`, and the call may be
    /// repeated.
    #[doc(alias = "flush")]
    pub async fn clear(&self) -> Result<u64> {
        let mut removed = 0;
        let mut cursor = None;
        let clearing = async {
            loop {
                let page = self.scan_page("", cursor.as_deref(), PAGE_SIZE).await?;
                let own = page
                    .keys
                    .iter()
                    .filter(|key| self.keys.logical(key).is_some());
                let own: Vec<&str> = own.map(String::as_str).collect();
                if !own.is_empty() {
                    removed += self.adapter.delete_many(&own).await?;
                }
                cursor = page.cursor;
                if cursor.is_none() {
                    return Ok(removed);
                }
            }
        };
        clearing
            .await
            .map_err(|error: Error| error.with_operation("clear"))
    }

    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: NonZeroUsize,
    ) -> Result<ScanPage> {
        let physical = self.keys.physical_prefix(prefix)?;
        let page = self
            .scanner()?
            .scan_page(&physical, cursor, page_size.get())
            .await?;
        if cursor.is_some() && page.cursor.as_deref() == cursor {
            return Err(Error::new(
                ErrorKind::Backend,
                format!(
                    "the {} driver answered the cursor that it was asked with, so the scan would \
                     never end",
                    self.adapter.name()
                ),
            ));
        }
        Ok(page)
    }

    fn scanner(&self) -> Result<&dyn Scan> {
        self.adapter
            .as_scan()
            .ok_or_else(|| Error::unsupported(self.adapter.name(), "scan"))
    }
}

enum Cursor {
    Start,
    At(String),
    End,
}

struct KeyScan<C> {
    store: Store<C>,
    prefix: String,
    page_size: NonZeroUsize,
    cursor: Cursor,
    seen: HashSet<String>,
    ready: VecDeque<String>,
}

impl<C: Codec> KeyScan<C> {
    async fn next(&mut self) -> Option<Result<String>> {
        loop {
            if let Some(key) = self.ready.pop_front() {
                return Some(Ok(key));
            }
            let cursor = match &self.cursor {
                Cursor::Start => None,
                Cursor::At(cursor) => Some(cursor.as_str()),
                Cursor::End => return None,
            };
            let page = self.store.scan_page(&self.prefix, cursor, self.page_size);
            match page.await {
                Ok(page) => self.take_page(page),
                Err(error) => {
                    self.cursor = Cursor::End;
                    return Some(Err(error.with_operation("scan").with_key(&*self.prefix)));
                }
            }
        }
    }

    fn take_page(&mut self, page: ScanPage) {
        for physical in page.keys {
            let Some(key) = self.store.keys.logical(&physical) else {
                continue;
            };
            // A backend may list a key twice, as Redis does while its table grows.
            if self.seen.insert(key.to_owned()) {
                self.ready.push_back(key.to_owned());
            }
        }
        self.cursor = page.cursor.map_or(Cursor::End, Cursor::At);
    }
}
