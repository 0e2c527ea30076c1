//! Keys that are taken for others.

use store_core::{
    Bytes, Condition, Expiry, Result, ScanPage, StoreAdapter, Ttl, TtlMillis, async_trait,
};

use super::twist::{Twist, drivers};
use crate::reference::ReferenceDriver;

drivers! {
    lossy_utf8_keys: "bytes of a key that are not ASCII become a replacement character",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.chars().map(|c| if c.is_ascii() { c } else { '\u{fffd}' }).collect());
    trimmed_keys: "spaces around a key are dropped",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.trim_end().to_owned());
    lower_cased_keys: "keys are compared without regard to case",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.to_lowercase());
    normalized_keys: "keys are brought into one Unicode normal form",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.replace("e\u{301}", "\u{e9}").replace('\u{212b}', "\u{c5}"));
    keys_end_at_nul: "a key ends at its first NUL, as in C",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.split('\0').next().unwrap_or_default().to_owned());
    long_keys_are_cut: "keys are cut at 1,024 bytes",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.chars().take(1_024).collect());
    percent_decoded_keys: "%20 in a key is a space",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.replace("%20", " "));
    line_ends_are_unified: "CRLF in a key becomes LF",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.replace("\r\n", "\n"));
    separators_collapse: "two colons in a key are one",
        ["kv::edge_keys_are_distinct"],
        MappedKeys(|key| key.replace("::", ":"));
    hashed_keys: "keys are known by a hash of 16 bits alone",
        ["batch::batch_large"],
        MappedKeys(|key| {
            let (scope, name) = key.split_at(key.rfind(':').map_or(0, |at| at + 1));
            let hash = name.bytes().fold(5_381_u16, |hash, byte| {
                hash.wrapping_mul(33) ^ u16::from(byte)
            });
            format!("{scope}{hash}")
        });
}

/// Every key is replaced by another.
#[derive(Debug)]
struct MappedKeys(fn(&str) -> String);

impl MappedKeys {
    fn all(&self, keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (self.0)(key)).collect()
    }
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

#[async_trait]
impl Twist for MappedKeys {
    async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
        inner.get(&(self.0)(key)).await
    }

    async fn set(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        inner.set(&(self.0)(key), value, expiry, condition).await
    }

    async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        inner.delete(&(self.0)(key)).await
    }

    async fn has(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        inner.has(&(self.0)(key)).await
    }

    async fn increment(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        inner.increment(&(self.0)(key), delta, initial_ttl).await
    }

    async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
        inner.expire(&(self.0)(key), ttl).await
    }

    async fn persist(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        inner.persist(&(self.0)(key)).await
    }

    async fn ttl(&self, inner: &ReferenceDriver, key: &str) -> Result<Ttl> {
        inner.ttl(&(self.0)(key)).await
    }

    async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        inner.get_many(&borrowed(&self.all(keys))).await
    }

    async fn set_many(
        &self,
        inner: &ReferenceDriver,
        entries: &[(&str, &[u8])],
        ttl: Option<TtlMillis>,
    ) -> Result<()> {
        let mapped: Vec<(String, &[u8])> = entries
            .iter()
            .map(|(key, value)| ((self.0)(key), *value))
            .collect();
        let mapped: Vec<(&str, &[u8])> = mapped
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        inner.set_many(&mapped, ttl).await
    }

    async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
        inner.delete_many(&borrowed(&self.all(keys))).await
    }

    async fn take(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
        inner.take(&(self.0)(key)).await
    }

    async fn replace(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Bytes>> {
        inner.replace(&(self.0)(key), value, expiry).await
    }

    async fn compare_and_delete(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        expected: &[u8],
    ) -> Result<bool> {
        inner.compare_and_delete(&(self.0)(key), expected).await
    }

    async fn scan_page(
        &self,
        inner: &ReferenceDriver,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        use store_core::Scan;
        inner.scan_page(&(self.0)(prefix), cursor, page_size).await
    }
}
