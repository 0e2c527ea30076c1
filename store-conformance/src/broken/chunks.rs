//! Batches in chunks that are put together wrongly, where one chunk alone is right.

use futures_util::future::join_all;
use store_core::{Bytes, Result, StoreAdapter, TtlMillis};

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

/// How many keys these drivers send at once.
const CHUNK: usize = 1_000;

drivers! {
    delete_many_loses_the_border: "delete_many leaves the last key of a full chunk",
        ["batch::batch_large"], DeleteLosesBorder::default();
    delete_many_counts_one_chunk: "delete_many answers how many of the last chunk it removed",
        ["batch::batch_large"], CountsOneChunk::default();
    delete_many_counts_a_key_in_each_chunk: "delete_many counts a key once for each chunk that it comes in",
        ["batch::batch_large"], CountsInEachChunk::default();
    get_many_exchanges_chunks: "get_many answers the last chunk first",
        ["batch::batch_large"], ExchangesChunks::default();
    set_many_writes_the_last_chunk_first: "of a key that comes in two chunks of set_many the first value stays",
        ["batch::batch_large"], LastChunkFirst::default();
}

twists! {
    DeleteLosesBorder => {
        async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
            let mut removed = 0;
            for chunk in keys.chunks(CHUNK) {
                removed += inner.delete_many(&chunk[..chunk.len().min(CHUNK - 1)]).await?;
            }
            Ok(removed)
        }
    }
    CountsOneChunk => {
        async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
            let mut removed = 0;
            for chunk in keys.chunks(CHUNK) {
                removed = inner.delete_many(chunk).await?;
            }
            Ok(removed)
        }
    }
    CountsInEachChunk => {
        async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
            // Each chunk is asked before one of them has removed anything.
            let mut live = 0;
            for chunk in keys.chunks(CHUNK) {
                let mut chunk = chunk.to_vec();
                chunk.sort_unstable();
                chunk.dedup();
                live += inner.get_many(&chunk).await?.into_iter().flatten().count() as u64;
            }
            inner.delete_many(keys).await.map(|_| live)
        }
    }
    ExchangesChunks => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            let chunks = keys.chunks(CHUNK).rev().map(|chunk| inner.get_many(chunk));
            let chunks: Result<Vec<_>> = join_all(chunks).await.into_iter().collect();
            Ok(chunks?.into_iter().flatten().collect())
        }
    }
    LastChunkFirst => {
        async fn set_many(&self, inner: &ReferenceDriver, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
            for chunk in entries.chunks(CHUNK).rev() {
                inner.set_many(chunk, ttl).await?;
            }
            Ok(())
        }
    }
}
