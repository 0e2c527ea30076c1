//! Codecs: a value comes back as it was or as an error, and an integer is a counter.
//!
//! Most of these laws need no driver; they are in the suite because a driver's users meet the
//! codecs through it.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use store_core::{Codec, ErrorKind, Json, MessagePack};

use crate::case::{CaseResult, Failure, ensure, ensure_eq, ensure_kind};
use crate::runner::{Outcome, Run};
use crate::strategies::count;

mod golden;
mod shapes;
mod stored;

pub(super) use golden::golden_bytes;
use shapes::{Choice, Shapes, Wrapper, bits, shapes};
pub(super) use stored::{
    counter_reads_via_every_codec, none_is_not_absent, typed_set_then_increment,
};

/// Runs a block with each codec that comes with the store.
macro_rules! each_codec {
    ($codec:ident => $body:expr) => {{
        {
            let $codec = Json;
            $body
        }
        {
            let $codec = MessagePack::new();
            $body
        }
        {
            let $codec = MessagePack::compact();
            $body
        }
    }};
}

use each_codec;

/// Expects that `value` comes back; `form` is what makes two of them comparable.
fn comes_back<C, T, K>(codec: &C, value: &T, form: impl Fn(&T) -> K) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned,
    K: PartialEq + std::fmt::Debug,
{
    let bytes = codec.encode(value)?;
    let back: T = codec.decode(&bytes)?;
    ensure_eq!(
        form(&back),
        form(value),
        "a {} that went through {} as {:?}",
        std::any::type_name::<T>(),
        codec.name(),
        bytes.escape_ascii().to_string()
    );
    Ok(())
}

fn plain<C, T>(codec: &C, value: &T) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug,
{
    comes_back(codec, value, T::clone)
}

fn every_shape_comes_back<C: Codec>(codec: &C, shapes: &Shapes) -> CaseResult {
    comes_back(codec, shapes, Shapes::comparable)?;
    // Each part by itself as well: at the top a codec may treat it differently.
    plain(codec, &shapes.signed)?;
    plain(codec, &shapes.unsigned)?;
    plain(codec, &(shapes.signed as i8))?;
    plain(codec, &(shapes.unsigned as u16))?;
    plain(codec, &i128::from(shapes.signed))?;
    plain(codec, &shapes.flag)?;
    plain(codec, &shapes.letter)?;
    plain(codec, &shapes.text)?;
    plain(codec, &shapes.bytes)?;
    plain(codec, &shapes.maybe)?;
    plain(codec, &shapes.pair)?;
    plain(codec, &shapes.by_number)?;
    plain(codec, &shapes.choice)?;
    plain(codec, &shapes.wrapped)?;
    plain(codec, &())?;
    comes_back(codec, &shapes.double, |double| double.to_bits())?;
    comes_back(codec, &shapes.float, |float| float.to_bits())?;
    comes_back(codec, &shapes.doubles, |doubles| bits(doubles))?;
    // A key that is no text is kept, or refused by name.
    let by_pair = BTreeMap::from([(shapes.pair.clone(), shapes.flag)]);
    match codec.encode(&by_pair) {
        Ok(_) => plain(codec, &by_pair)?,
        Err(error) => ensure_eq!(
            error.kind(),
            ErrorKind::Encode,
            "the refusal of a map whose keys are pairs"
        ),
    }
    Ok(())
}

pub(super) async fn roundtrip(run: Run) -> Outcome {
    run.more(4)
        .for_all(shapes(), |_, shapes| async move {
            each_codec!(codec => every_shape_comes_back(&codec, &shapes)?);
            Ok(())
        })
        .await
}

/// Bytes that are nearly something: cut, changed, or only headers.
fn debris() -> impl Strategy<Value = Vec<u8>> {
    let changed = (
        shapes(),
        any::<[(proptest::sample::Index, u8); 3]>(),
        any::<bool>(),
    );
    let changed = changed.prop_map(|(shapes, changes, json)| {
        let encoded = if json {
            Json.encode(&shapes)
        } else {
            MessagePack::new().encode(&shapes)
        };
        let mut bytes = encoded.unwrap_or_default();
        for (index, byte) in changes {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let (cut, _) = changes[0];
        bytes.truncate(cut.index(bytes.len() + 1).max(1));
        bytes
    });
    proptest::prop_oneof![
        3 => vec(any::<u8>(), 0..40),
        3 => changed,
        // Lengths of gigabytes, of which nothing follows.
        1 => (0xc0_u8..=0xdf, vec(Just(0xff_u8), 0..9)).prop_map(|(head, tail)| [vec![head], tail].concat()),
        // Nesting without end.
        1 => proptest::sample::select(&[b'[', b'{', 0x91, 0x81, 0xdd, 0xc1, b'-', b'"'][..])
            .prop_flat_map(|byte| (1_usize..60_000).prop_map(move |len| vec![byte; len])),
    ]
}

fn decode_everything<C: Codec>(codec: &C, bytes: &[u8]) -> CaseResult {
    macro_rules! as_each {
        ($($type:ty),* $(,)?) => {
            $(if let Err(error) = codec.decode::<$type>(bytes) {
                ensure_eq!(
                    error.kind(),
                    ErrorKind::Decode,
                    "the kind of error of bytes that are no {}",
                    stringify!($type)
                );
            })*
        };
    }
    as_each!(
        Shapes, Choice, Wrapper, i64, u8, i128, f64, bool, char, String, (), Vec<u64>, Vec<String>,
        Option<String>, (u8, String), BTreeMap<String, i64>, BTreeMap<i64, Vec<u8>>, [u16; 3],
        serde_json::Value, IgnoredAny,
    );
    Ok(())
}

pub(super) async fn decode_total(run: Run) -> Outcome {
    run.more(8)
        .for_all(debris(), |_, bytes| async move {
            each_codec!(codec => decode_everything(&codec, &bytes)?);
            Ok(())
        })
        .await
}

fn refuses_more<C, T>(codec: &C, value: &T, tail: &[u8]) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned + std::fmt::Debug,
{
    let mut bytes = codec.encode(value)?;
    bytes.extend_from_slice(tail);
    ensure_kind(
        codec.decode::<T>(&bytes),
        ErrorKind::Decode,
        &format!("{} of a value with {tail:?} behind it", codec.name()),
    )
}

/// White space, an end of line, a terminator, a second value.
const TAILS: &[&[u8]] = &[
    b" ", b"\n", b"\r\n", b"\t", b"\0", b"\xc0", b"\xc2", b" 5", b"null", b"{}", b"\x05",
];

fn refuses_more_of_every_shape<C: Codec>(codec: &C, shapes: &Shapes, tail: &[u8]) -> CaseResult {
    refuses_more(codec, shapes, tail)?;
    refuses_more(codec, &shapes.text, tail)?;
    refuses_more(codec, &shapes.flag, tail)?;
    refuses_more(codec, &shapes.bytes, tail)?;
    refuses_more(codec, &shapes.choice, tail)?;
    refuses_more(codec, &shapes.by_number, tail)?;
    refuses_more(codec, &None::<String>, tail)?;
    // Digits and what belongs to numbers make another number, which is none of these.
    if !matches!(tail[0], b'0'..=b'9' | b'.' | b'e' | b'E') {
        refuses_more(codec, &shapes.signed, tail)?;
        refuses_more(codec, &shapes.unsigned, tail)?;
        refuses_more(codec, &shapes.double, tail)?;
    }
    Ok(())
}

pub(super) async fn trailing_bytes_rejected(run: Run) -> Outcome {
    let tail = proptest::prop_oneof![
        2 => proptest::sample::select(TAILS).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..8),
    ];
    run.for_all((shapes(), tail), |_, (shapes, tail)| async move {
        each_codec!(codec => refuses_more_of_every_shape(&codec, &shapes, &tail)?);
        Ok(())
    })
    .await
}

fn writes_the_same_again<C: Codec>(codec: &C, shapes: &Shapes) -> CaseResult {
    let first = codec.encode(shapes)?;
    ensure_eq!(
        codec.encode(shapes)?,
        first,
        "the same value, written again"
    );
    ensure_eq!(codec.encode(&shapes.clone())?, first, "a clone, written");
    let back: Shapes = codec.decode(&first)?;
    ensure_eq!(codec.encode(&back)?, first, "what was read, written again");
    Ok(())
}

pub(super) async fn deterministic(run: Run) -> Outcome {
    run.for_all(shapes(), |_, shapes| async move {
        each_codec!(codec => writes_the_same_again(&codec, &shapes)?);
        Ok(())
    })
    .await
}

fn not_read<A, B, T>(writer: &A, reader: &B, value: &T) -> CaseResult
where
    A: Codec,
    B: Codec,
    T: Serialize + DeserializeOwned + std::fmt::Debug,
{
    let bytes = writer.encode(value)?;
    ensure_kind(
        reader.decode::<T>(&bytes),
        ErrorKind::Decode,
        &format!("{} read as {}", writer.name(), reader.name()),
    )
}

/// Expects that `reader` finds out what `writer` wrote.
fn tells_apart<A: Codec, B: Codec>(writer: &A, reader: &B, shapes: &Shapes) -> CaseResult {
    not_read(writer, reader, shapes)?;
    not_read(writer, reader, &shapes.text)?;
    not_read(writer, reader, &shapes.flag)?;
    not_read(writer, reader, &shapes.bytes)?;
    not_read(writer, reader, &shapes.pair)?;
    not_read(writer, reader, &shapes.by_number)?;
    not_read(writer, reader, &shapes.choice)?;
    not_read(writer, reader, &shapes.double)?;
    not_read(writer, reader, &None::<Vec<i64>>)?;
    // An integer is the same in all of them, on purpose.
    let text = writer.encode(&shapes.signed)?;
    ensure_eq!(reader.encode(&shapes.signed)?, text, "an integer");
    Ok(())
}

pub(super) async fn wrong_codec_is_error_where_the_format_can_tell(run: Run) -> Outcome {
    run.for_all(shapes(), |_, shapes| async move {
        for message_pack in [MessagePack::new(), MessagePack::compact()] {
            tells_apart(&Json, &message_pack, &shapes)?;
            tells_apart(&message_pack, &Json, &shapes)?;
        }
        Ok(())
    })
    .await
}

/// Expects that a value with a float that is no number comes back, or is refused by name.
fn kept_or_refused<C, T>(codec: &C, value: &T, text: impl Fn(&T) -> String) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned,
{
    match codec.encode(value) {
        Err(error) if error.kind() == ErrorKind::Encode => Ok(()),
        Err(error) => Err(Failure::new(format!(
            "a float that is not finite was refused with {:?}",
            error.kind()
        ))),
        Ok(bytes) => {
            let back = codec.decode(&bytes).map(|back| text(&back));
            ensure!(
                back.as_ref().is_ok_and(|back| *back == text(value)),
                "{} wrote {} as {:?}, and read {back:?}",
                codec.name(),
                text(value),
                bytes.escape_ascii().to_string()
            );
            Ok(())
        }
    }
}

fn no_float_becomes_another<C: Codec>(codec: &C, float: f64) -> CaseResult {
    // The sign and payload of a NaN are nothing that anybody reads.
    kept_or_refused(codec, &float, |value| format!("{value:?}"))?;
    kept_or_refused(codec, &(float as f32), |value| format!("{value:?}"))?;
    kept_or_refused(codec, &Some(float), |value| format!("{value:?}"))?;
    kept_or_refused(codec, &vec![1.0, float, 2.0], |value| format!("{value:?}"))?;
    kept_or_refused(codec, &(1_u8, float), |value| format!("{value:?}"))?;
    kept_or_refused(codec, &vec![Some(float), None], |value| {
        format!("{value:?}")
    })?;
    let map = BTreeMap::from([("a".to_owned(), float)]);
    kept_or_refused(codec, &map, |value| format!("{value:?}"))?;
    kept_or_refused(codec, &Choice::Named { at: float }, |value| {
        format!("{value:?}")
    })?;
    kept_or_refused(codec, &Choice::One(float), |value| format!("{value:?}"))?;
    Ok(())
}

pub(super) async fn nonfinite_floats(run: Run) -> Outcome {
    let floats = vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    run.for_each(floats, |_, float| async move {
        each_codec!(codec => no_float_becomes_another(&codec, float)?);
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests;
