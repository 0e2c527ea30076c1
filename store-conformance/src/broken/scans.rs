//! Scans that list too much, too little, or something else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use store_core::{Condition, Expiry, Result, Scan, ScanPage, StoreAdapter, pattern};

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    scan_matches_anywhere: "a scan lists keys that contain the prefix",
        ["scan::scan_prefix_exact"], Filtered { wanted: |key, prefix| key.contains(prefix) };
    scan_is_a_glob: "a scan feeds the prefix to a glob",
        ["scan::scan_prefix_exact"], Filtered { wanted: |key, prefix| pattern::matches(format!("{prefix}*").as_bytes(), key.as_bytes()) };
    scan_ignores_case: "a scan compares the prefix without regard to case",
        ["scan::scan_prefix_exact"], Filtered { wanted: |key, prefix| key.to_lowercase().starts_with(&prefix.to_lowercase()) };
    scan_leaves_out_the_prefix: "a scan leaves out the key that is the prefix itself",
        ["scan::scan_prefix_exact"], Filtered { wanted: |key, prefix| key.starts_with(prefix) && key != prefix };
    scan_leaves_out_control_characters: "a scan leaves out keys with a line feed",
        ["scan::scan_prefix_exact"], Filtered { wanted: |key, prefix| key.starts_with(prefix) && !key.contains('\n') };
    scan_lists_expired: "a scan lists expired keys that nobody has swept",
        ["scan::scan_prefix_exact"], ListsExpired::default();
    scan_loses_the_border: "a scan loses the last key of each page but the last",
        ["scan::scan_pages_cover"], LosesBorder::default();
    scan_ends_early: "a scan ends after three pages",
        ["scan::scan_pages_cover"], EndsEarly::default();
    scan_ends_at_an_empty_page: "a page of size 1 is answered with nothing and the end",
        ["scan::scan_pages_cover"], SizeOneIsEmpty::default();
    scan_by_offset: "the cursor is a position, which moves when keys go",
        ["scan::scan_stable_keys_survive_churn"], ByOffset::default();
    scan_takes_in_the_bound: "a scan ends with the first key behind its prefix, not before it",
        ["scan::scan_prefix_exact"], Filtered { wanted: |key, prefix| key.starts_with(prefix) || successor(prefix).is_some_and(|bound| key == bound) };
    scan_ends_with_its_cursor: "a scan ends where the last key of a page was deleted",
        ["scan::scan_stable_keys_survive_churn"], EndsWithCursor::default();
    scan_strips_the_prefix: "a scan answers keys without the prefix that was asked for",
        ["scan::scan_prefix_exact"], Strips::default();
    scan_of_nothing_is_everything: "a scan ignores the last segment of its prefix",
        ["scan::scan_prefix_exact"], Widened::default();
    scan_comes_and_goes: "the ability to scan is there every second time",
        ["driver::capabilities_are_stable"], ComesAndGoes::default();
}

/// All live keys, in order.
async fn all_keys(inner: &ReferenceDriver) -> Result<Vec<String>> {
    Ok(inner.scan_page("", None, usize::MAX).await?.keys)
}

/// The first text behind all that begin with `prefix`, but for the last character of all.
fn successor(prefix: &str) -> Option<String> {
    let last = prefix.chars().next_back()?;
    let next = char::from_u32(u32::from(last) + 1)?;
    Some(format!(
        "{}{next}",
        &prefix[..prefix.len() - last.len_utf8()]
    ))
}

/// Another idea of which keys are meant.
#[derive(Debug)]
struct Filtered {
    wanted: fn(&str, &str) -> bool,
}

#[store_core::async_trait]
impl super::twist::Twist for Filtered {
    async fn scan_page(
        &self,
        inner: &ReferenceDriver,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        let mut keys = all_keys(inner).await?;
        keys.retain(|key| {
            (self.wanted)(key, prefix) && cursor.is_none_or(|cursor| &**key > cursor)
        });
        keys.truncate(page_size.max(1));
        let cursor = keys
            .last()
            .filter(|_| keys.len() == page_size.max(1))
            .cloned();
        Ok(ScanPage { keys, cursor })
    }
}

twists! {
    ListsExpired { known: Mutex<BTreeSet<String>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
            inner.set(key, value, expiry, condition).await
        }
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            inner.delete(key).await
        }
        async fn scan_page(&self, inner: &ReferenceDriver, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
            let mut page = inner.scan_page(prefix, cursor, page_size).await?;
            if page.cursor.is_none() {
                let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                let own = known.iter().filter(|key| key.starts_with(prefix));
                let expired: Vec<_> = own.filter(|key| !page.keys.contains(key)).cloned().collect();
                page.keys.extend(expired);
            }
            Ok(page)
        }
    }
    LosesBorder => {
        async fn scan_page(&self, inner: &ReferenceDriver, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
            let mut page = inner.scan_page(prefix, cursor, page_size).await?;
            if page.cursor.is_some() {
                page.keys.pop();
            }
            Ok(page)
        }
    }
    EndsEarly => {
        async fn scan_page(&self, inner: &ReferenceDriver, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
            let (round, from) = match cursor.and_then(|cursor| cursor.split_once('/')) {
                Some((round, from)) => (round.len(), Some(from)),
                None => (0, None),
            };
            let mut page = inner.scan_page(prefix, from, page_size).await?;
            page.cursor = page.cursor.filter(|_| round < 2).map(|from| format!("{}/{from}", ".".repeat(round + 1)));
            Ok(page)
        }
    }
    SizeOneIsEmpty => {
        async fn scan_page(&self, inner: &ReferenceDriver, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
            if page_size == 1 {
                return Ok(ScanPage::default());
            }
            inner.scan_page(prefix, cursor, page_size).await
        }
    }
    ByOffset => {
        async fn scan_page(&self, inner: &ReferenceDriver, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
            // As a backend elsewhere would: others run between pages.
            tokio::task::yield_now().await;
            let offset: usize = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or_default();
            let mut keys = inner.scan_page(prefix, None, usize::MAX).await?.keys;
            let end = (offset + page_size.max(1)).min(keys.len());
            let cursor = (end < keys.len()).then(|| end.to_string());
            keys.truncate(end);
            Ok(ScanPage { keys: keys.split_off(offset.min(end)), cursor })
        }
    }
    EndsWithCursor => {
        async fn scan_page(&self, inner: &ReferenceDriver, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
            tokio::task::yield_now().await;
            if let Some(cursor) = cursor
                && !inner.has(cursor).await?
            {
                return Ok(ScanPage::default());
            }
            inner.scan_page(prefix, cursor, page_size).await
        }
    }
    Strips => {
        async fn scan_page(&self, inner: &ReferenceDriver, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
            let mut page = inner.scan_page(prefix, cursor, page_size).await?;
            for key in &mut page.keys {
                *key = key[prefix.len()..].to_owned();
            }
            Ok(page)
        }
    }
    Widened => {
        async fn scan_page(&self, inner: &ReferenceDriver, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
            let segment = prefix.strip_suffix(':').and_then(|rest| rest.rfind(':'));
            let wider = segment.map_or(prefix, |at| &prefix[..=at]);
            inner.scan_page(wider, cursor, page_size).await
        }
    }
    ComesAndGoes { asked: AtomicBool } => {
        fn has_scan(&self) -> bool {
            self.asked.fetch_xor(true, Ordering::SeqCst)
        }
    }
}
