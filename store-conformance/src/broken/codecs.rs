//! Codecs that lose, invent or mistake something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store_core::{Codec, Error, ErrorKind, Json, MessagePack, Result};

use super::Broken;
use crate::codecs::CodecHarness;

/// A codec over JSON, wrong by what it does to the bytes.
#[derive(Clone, Copy, Debug)]
struct Twisted {
    write: fn(Vec<u8>) -> Result<Vec<u8>>,
    read: fn(&[u8]) -> Result<Vec<u8>>,
}

impl Codec for Twisted {
    fn name(&self) -> &'static str {
        "broken JSON"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        (self.write)(Json.encode(value)?)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        Json.decode(&(self.read)(bytes)?)
    }
}

/// JSON as it comes from serde_json, which passes over what is behind a value and writes floats
/// that are none as null.
#[derive(Clone, Copy, Debug)]
struct Lenient;

impl Codec for Lenient {
    fn name(&self) -> &'static str {
        "lenient JSON"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        serde_json::to_vec(value).map_err(|error| Error::new(ErrorKind::Encode, error.to_string()))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter();
        let value = values.next().and_then(std::result::Result::ok);
        value.ok_or_else(|| Error::new(ErrorKind::Decode, "no value"))
    }
}

/// JSON, but a text is its own bytes.
#[derive(Clone, Copy, Debug)]
struct RawText;

impl Codec for RawText {
    fn name(&self) -> &'static str {
        "JSON with raw text"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let bytes = Json.encode(value)?;
        match Json.decode(&bytes) {
            Ok(Value::String(text)) => Ok(text.into_bytes()),
            _ => Ok(bytes),
        }
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        let text = Value::String(String::from_utf8_lossy(bytes).into_owned());
        match Json.encode(&text).and_then(|quoted| Json.decode(&quoted)) {
            Ok(value) => Ok(value),
            Err(_) => Json.decode(bytes),
        }
    }
}

/// JSON with the members of an object in the order of their names, as canonical JSON has them.
#[derive(Clone, Copy, Debug)]
struct Sorted;

impl Codec for Sorted {
    fn name(&self) -> &'static str {
        "sorted JSON"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let bytes = Json.encode(value)?;
        match Json.decode::<BTreeMap<String, Value>>(&bytes) {
            Ok(members) => Json.encode(&members),
            Err(_) => Ok(bytes),
        }
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        Json.decode(bytes)
    }
}

/// MessagePack that writes integers at the top in its own form as well.
#[derive(Clone, Copy, Debug)]
struct OwnIntegers;

impl Codec for OwnIntegers {
    fn name(&self) -> &'static str {
        "MessagePack with its own integers"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        // In a list of one an integer is not at the top.
        Ok(MessagePack::new().encode(&[value])?.split_off(1))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        let list = [&[0x91], bytes].concat();
        let [value] = MessagePack::new().decode::<[Box<T>; 1]>(&list)?;
        Ok(*value)
    }
}

fn same(bytes: Vec<u8>) -> Result<Vec<u8>> {
    Ok(bytes)
}

fn all(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(bytes.to_vec())
}

fn is_integer(bytes: &[u8]) -> bool {
    Json.decode::<i128>(bytes).is_ok()
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    text.replace(from, to).into_bytes()
}

fn spaced_now_and_then(mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let spaces = WRITTEN.fetch_add(1, Ordering::Relaxed) % 2;
    bytes.splice(0..0, vec![b' '; spaces]);
    Ok(bytes)
}

macro_rules! codecs {
    ($($name:ident: $flaw:literal, [$($law:literal),+ $(,)?], $codec:expr;)*) => {
        pub(super) const DRIVERS: &[Broken] = &[$(
            Broken {
                name: stringify!($name),
                flaw: $flaw,
                killed_by: &[$($law),+],
                without: &[],
                make: || Arc::new(CodecHarness::new($codec)),
            },
        )*];
    };
}

codecs! {
    codec_replaces_characters: "a codec writes characters that are not ASCII as a question mark",
        ["codec::roundtrip"],
        Twisted { write: |bytes| Ok(String::from_utf8_lossy(&bytes).replace(|c: char| !c.is_ascii(), "?").into_bytes()), read: all };
    codec_loses_the_sign_of_zero: "a codec writes -0.0 as 0.0",
        ["codec::roundtrip"],
        Twisted { write: |bytes| Ok(replaced(&bytes, "-0.0", "0.0")), read: all };
    codec_rounds_large_integers: "a codec keeps integers of more than 53 bits as floats",
        ["codec::roundtrip", "codec::counter_reads_via_every_codec"],
        Twisted { write: same, read: |bytes| match Json.decode::<i128>(bytes) {
            Ok(integer) => Ok((integer as f64 as i128).to_string().into_bytes()),
            Err(_) => all(bytes),
        } };
    codec_refuses_empty_text: "a codec refuses what is empty",
        ["codec::roundtrip"],
        Twisted { write: |bytes| if bytes == b"\"\"" { Err(Error::new(ErrorKind::Encode, "empty")) } else { Ok(bytes) }, read: all };
    codec_sorts_members: "a codec writes the members of an object by name, and so a content before its tag",
        ["codec::roundtrip"], Sorted;
    codec_writes_whole_floats_as_integers: "a codec writes 1.0 as 1, which only tells an enum without a tag that it is another value",
        ["codec::roundtrip"],
        Twisted { write: |bytes| Ok(bytes.strip_suffix(b".0").map(<[u8]>::to_vec).unwrap_or(bytes)), read: all };
    codec_has_a_tag_of_its_own: "a codec takes a member `type` for its own, and leaves it out when it reads",
        ["codec::roundtrip"],
        Twisted { write: same, read: |bytes| match Json.decode::<BTreeMap<String, Value>>(bytes) {
            Ok(mut members) => match members.remove("type") {
                Some(_) => Json.encode(&members),
                None => all(bytes),
            },
            Err(_) => all(bytes),
        } };
    codec_panics_on_nothing: "a codec panics when there are no bytes",
        ["codec::decode_total"],
        Twisted { write: same, read: |bytes| { let _ = bytes[0]; all(bytes) } };
    codec_errors_are_of_the_backend: "a codec answers Backend for bytes that are no value",
        ["codec::decode_total"],
        Twisted { write: same, read: |bytes| match Json.decode::<Value>(bytes) {
            Ok(_) => all(bytes),
            Err(error) => Err(Error::new(ErrorKind::Backend, error.to_string())),
        } };
    codec_passes_over_trailing_bytes: "a codec reads the first value and leaves the rest",
        ["codec::trailing_bytes_rejected"], Lenient;
    codec_trims: "a codec passes over white space behind a value",
        ["codec::trailing_bytes_rejected"],
        Twisted { write: same, read: |bytes| all(bytes.trim_ascii_end()) };
    codec_trims_nuls: "a codec passes over NULs behind a value",
        ["codec::trailing_bytes_rejected"],
        Twisted { write: same, read: |bytes| {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            all(&bytes[..end])
        } };
    codec_writes_in_two_ways: "a codec writes the same value with and without a space",
        ["codec::deterministic"], Twisted { write: spaced_now_and_then, read: all };
    codec_takes_any_text: "a codec writes a text as its bytes, and reads any bytes as a text",
        ["codec::wrong_codec_is_error_where_the_format_can_tell"], RawText;
    codec_reads_codes_as_flags: "a codec takes the flags of another format for its own",
        ["codec::wrong_codec_is_error_where_the_format_can_tell"],
        Twisted { write: same, read: |bytes| match bytes {
            [0xc2 | 0xc3] => all(b"true"),
            _ => all(bytes),
        } };
    codec_writes_nan_as_null: "a codec writes a float that is not finite as null",
        ["codec::nonfinite_floats"], Lenient;
    codec_has_its_own_integers: "a codec writes an integer in its binary form, also where it is the whole value",
        ["codec::golden_bytes", "codec::counter_reads_via_every_codec", "codec::typed_set_then_increment"], OwnIntegers;
    codec_quotes_integers: "a codec writes an integer as a quoted text",
        ["codec::golden_bytes", "codec::typed_set_then_increment"],
        Twisted {
            write: |bytes| Ok(if is_integer(&bytes) { [b"\"", &bytes[..], b"\""].concat() } else { bytes }),
            read: |bytes| match bytes {
                [b'"', integer @ .., b'"'] if is_integer(integer) => all(integer),
                _ => all(bytes),
            },
        };
    codec_marks_integers: "a codec writes a plus sign before an integer, and reads both forms",
        ["codec::golden_bytes", "codec::typed_set_then_increment"],
        Twisted {
            write: |bytes| Ok(if is_integer(&bytes) { [b"+", &bytes[..]].concat() } else { bytes }),
            read: |bytes| all(bytes.strip_prefix(b"+").unwrap_or(bytes)),
        };
    codec_reads_counters_only_unsigned: "a codec reads integers of its own, and no negative counter",
        ["codec::counter_reads_via_every_codec"],
        Twisted { write: same, read: |bytes| match bytes {
            [b'-', ..] => Err(Error::new(ErrorKind::Decode, "no counter")),
            _ => all(bytes),
        } };
    codec_reads_null_as_zero: "a codec reads null as 0 where an integer is asked for",
        ["codec::none_is_not_absent"],
        NullIsZero;
}

/// JSON that has a default for what is null.
#[derive(Clone, Copy, Debug)]
struct NullIsZero;

impl Codec for NullIsZero {
    fn name(&self) -> &'static str {
        "JSON with defaults"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        Json.encode(value)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        Json.decode(bytes).or_else(|error| match bytes {
            b"null" => Json.decode(b"0").map_err(|_| error),
            _ => Err(error),
        })
    }
}
