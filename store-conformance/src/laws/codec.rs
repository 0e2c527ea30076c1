//! Codecs: a value comes back as it was or as an error, and an integer is a counter.
//!
//! Most of these laws need no driver; they are in the suite because a driver's users meet the
//! codecs through it. Which codecs they look at, the harness says.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::Index;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store_core::{Codec, ErrorKind, Json, MessagePack};

use crate::case::{CaseResult, Failure, ensure, ensure_eq, ensure_kind};
use crate::runner::{Outcome, Run};
use crate::strategies::count;

mod checks;
mod debris;
mod enums;
mod golden;
mod shapes;
mod stored;

pub(crate) use checks::{
    comes_back_in_every_shape, no_float_becomes_another, refuses_more_of_every_shape, tells_apart,
    writes_the_same_again,
};
pub(crate) use debris::{Debris, decodes_or_refuses};
pub(crate) use golden::reads_frozen_bytes;
pub(crate) use shapes::Shapes;
pub(crate) use stored::{is_counted_on, is_read_as_count, keeps_none};

use debris::debris;
use enums::{
    Adjacent, Exempt, Flattened, Tagged, Untagged, adjacent, flattened, tagged, told_by_keys,
    told_by_names, untagged,
};
use shapes::{Choice, Stamp, Wrapper, bits, shapes};

pub(super) async fn roundtrip(run: Run) -> Outcome {
    run.more(4)
        .for_all(shapes(), |case, shapes| async move {
            let codecs = case.harness().codecs();
            codecs.iter().try_for_each(|codec| codec.roundtrip(&shapes))
        })
        .await
}

pub(super) async fn decode_total(run: Run) -> Outcome {
    run.more(8)
        .for_all(debris(), |case, debris| async move {
            let codecs = case.harness().codecs();
            codecs
                .iter()
                .try_for_each(|codec| codec.decode_total(&debris))
        })
        .await
}

/// White space, an end of line, a terminator, a second value.
const TAILS: &[&[u8]] = &[
    b" ", b"\n", b"\r\n", b"\t", b"\0", b"\xc0", b"\xc2", b" 5", b"null", b"{}", b"\x05",
];

pub(super) async fn trailing_bytes_rejected(run: Run) -> Outcome {
    let inputs = (shapes(), vec(any::<u8>(), 1..8));
    run.for_all(inputs, |case, (shapes, tail)| async move {
        let codecs = case.harness().codecs();
        codecs.iter().try_for_each(|codec| {
            let mut tails = TAILS.iter().copied().chain([&tail[..]]);
            tails.try_for_each(|tail| codec.trailing_bytes_rejected(&shapes, tail))
        })
    })
    .await
}

pub(super) async fn deterministic(run: Run) -> Outcome {
    run.for_all(shapes(), |case, shapes| async move {
        let codecs = case.harness().codecs();
        codecs
            .iter()
            .try_for_each(|codec| codec.deterministic(&shapes))
    })
    .await
}

pub(super) async fn counter_reads_via_every_codec(run: Run) -> Outcome {
    run.more(2)
        .for_all(count(), |case, count| async move {
            let handle = case.open().await?;
            for (number, codec) in case.harness().codecs().iter().enumerate() {
                let key = case.key(&number.to_string());
                codec.counter_reads(&handle, &key, count).await?;
            }
            Ok(())
        })
        .await
}

pub(super) async fn typed_set_then_increment(run: Run) -> Outcome {
    run.for_all(count(), |case, count| async move {
        let handle = case.open().await?;
        for (number, codec) in case.harness().codecs().iter().enumerate() {
            let key = case.key(&number.to_string());
            codec.set_then_increment(&handle, &key, count).await?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn wrong_codec_is_error_where_the_format_can_tell(run: Run) -> Outcome {
    run.for_all(shapes(), |case, shapes| async move {
        let codecs = case.harness().codecs();
        codecs
            .iter()
            .try_for_each(|codec| codec.wrong_codec_is_error(&shapes))
    })
    .await
}

pub(super) async fn none_is_not_absent(run: Run) -> Outcome {
    run.once(|case| async move {
        let handle = case.open().await?;
        for (number, codec) in case.harness().codecs().iter().enumerate() {
            let key = case.key(&number.to_string());
            codec.none_is_not_absent(&handle, &key).await?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn nonfinite_floats(run: Run) -> Outcome {
    let floats = vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    run.for_each(floats, |case, float| async move {
        let codecs = case.harness().codecs();
        codecs
            .iter()
            .try_for_each(|codec| codec.nonfinite_floats(float))
    })
    .await
}

pub(super) async fn golden_bytes(run: Run) -> Outcome {
    run.once(|case| async move {
        let codecs = case.harness().codecs();
        codecs.iter().try_for_each(|codec| codec.golden_bytes())
    })
    .await
}

#[cfg(test)]
mod tests;
