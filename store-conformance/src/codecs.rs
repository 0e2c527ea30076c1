//! The codecs that the laws about codecs look at, and the harness of a codec without a driver.
//!
//! Separate because a [`Codec`] has generic methods and so no `dyn` form: what the laws ask of one
//! is a trait of its own here, which every codec has.

use std::fmt;
use std::sync::Arc;

use store_core::{Codec, Json, MessagePack, StoreAdapter, async_trait};

use crate::case::CaseResult;
use crate::clock::Clock;
use crate::handle::Handle;
use crate::harness::{Harness, HarnessResult};
use crate::laws::codec::{
    Debris, Shapes, comes_back_in_every_shape, decodes_or_refuses, is_counted_on, is_read_as_count,
    keeps_none, no_float_becomes_another, reads_frozen_bytes, refuses_more_of_every_shape,
    tells_apart, writes_the_same_again,
};
use crate::reference::ReferenceHarness;

/// The codecs that the laws of the group `codec` are about.
///
/// The default are those that come with the store. [`codec_suite!`](crate::codec_suite) takes
/// another one.
#[derive(Clone)]
pub struct Codecs(Vec<Arc<dyn AnyCodec>>);

impl Codecs {
    /// This codec alone.
    #[must_use]
    pub fn of(codec: impl Codec) -> Self {
        Self(vec![Arc::new(codec)])
    }

    /// These and one more.
    #[must_use]
    pub fn and(mut self, codec: impl Codec) -> Self {
        self.0.push(Arc::new(codec));
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn AnyCodec> {
        self.0.iter().map(|codec| &**codec)
    }
}

impl Default for Codecs {
    fn default() -> Self {
        Self::of(Json)
            .and(MessagePack::new())
            .and(MessagePack::compact())
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|codec| codec.name_of());
        f.debug_list().entries(names).finish()
    }
}

/// A codec as the laws see it: one method for each law.
#[async_trait]
pub(crate) trait AnyCodec: Send + Sync {
    fn name_of(&self) -> &'static str;
    fn roundtrip(&self, shapes: &Shapes) -> CaseResult;
    fn decode_total(&self, debris: &Debris) -> CaseResult;
    fn trailing_bytes_rejected(&self, shapes: &Shapes, tail: &[u8]) -> CaseResult;
    fn deterministic(&self, shapes: &Shapes) -> CaseResult;
    fn wrong_codec_is_error(&self, shapes: &Shapes) -> CaseResult;
    fn nonfinite_floats(&self, float: f64) -> CaseResult;
    fn golden_bytes(&self) -> CaseResult;
    async fn counter_reads(&self, handle: &Arc<Handle>, key: &str, count: i64) -> CaseResult;
    async fn set_then_increment(&self, handle: &Arc<Handle>, key: &str, count: i64) -> CaseResult;
    async fn none_is_not_absent(&self, handle: &Arc<Handle>, key: &str) -> CaseResult;
}

#[async_trait]
impl<C: Codec> AnyCodec for C {
    fn name_of(&self) -> &'static str {
        self.name()
    }

    fn roundtrip(&self, shapes: &Shapes) -> CaseResult {
        comes_back_in_every_shape(self, shapes)
    }

    fn decode_total(&self, debris: &Debris) -> CaseResult {
        decodes_or_refuses(self, debris)
    }

    fn trailing_bytes_rejected(&self, shapes: &Shapes, tail: &[u8]) -> CaseResult {
        refuses_more_of_every_shape(self, shapes, tail)
    }

    fn deterministic(&self, shapes: &Shapes) -> CaseResult {
        writes_the_same_again(self, shapes)
    }

    fn wrong_codec_is_error(&self, shapes: &Shapes) -> CaseResult {
        tells_apart(self, &Json, shapes)?;
        tells_apart(self, &MessagePack::new(), shapes)?;
        tells_apart(self, &MessagePack::compact(), shapes)
    }

    fn nonfinite_floats(&self, float: f64) -> CaseResult {
        no_float_becomes_another(self, float)
    }

    fn golden_bytes(&self) -> CaseResult {
        reads_frozen_bytes(self)
    }

    async fn counter_reads(&self, handle: &Arc<Handle>, key: &str, count: i64) -> CaseResult {
        is_read_as_count(self, handle, key, count).await
    }

    async fn set_then_increment(&self, handle: &Arc<Handle>, key: &str, count: i64) -> CaseResult {
        is_counted_on(self, handle, key, count).await
    }

    async fn none_is_not_absent(&self, handle: &Arc<Handle>, key: &str) -> CaseResult {
        keeps_none(self, handle, key).await
    }
}

/// The harness of a codec: the laws that need a driver get one that is healthy.
#[doc(hidden)]
#[derive(Debug)]
pub struct CodecHarness {
    reference: ReferenceHarness,
    codecs: Codecs,
}

impl CodecHarness {
    /// One for this codec.
    pub fn new(codec: impl Codec) -> Self {
        Self {
            reference: ReferenceHarness::default(),
            codecs: Codecs::of(codec),
        }
    }
}

#[async_trait]
impl Harness for CodecHarness {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        self.reference.open(scope).await
    }

    fn clock(&self) -> Clock {
        self.reference.clock()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.reference.close(scope).await
    }

    fn codecs(&self) -> Codecs {
        self.codecs.clone()
    }
}
