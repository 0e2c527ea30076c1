//! The MessagePack codec, through rmp-serde.

use std::io;

use rmp_serde::Deserializer;
use rmp_serde::decode::Error as DecodeError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::depth::{MAX_DEPTH, is_too_deep};
use super::integer::{Decimal, is_decimal, to_decimal};
use super::{Codec, TYPICAL_LEN, decode_error, encode_error};
use crate::error::Result;

/// MessagePack, smaller and faster than JSON, not readable by people.
///
/// A struct is written as a map with the names of its fields, so that fields can be added and left
/// out later. An integer that is the whole value is written as decimal ASCII, so that it is a
/// counter; no other value of MessagePack begins with a digit or `-` then. Floats that are not
/// finite are kept. An `Option` inside of an `Option` loses its inner layer. In an untagged or
/// internally tagged enum or a flattened field, a type that has another form in formats for people,
/// such as `IpAddr`, is written and cannot be read, and so is mostly a struct without fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessagePack {
    compact: bool,
}

impl MessagePack {
    /// Structs as maps with the names of their fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Structs as arrays without names: smaller, and unreadable after any change of the fields'
    /// number or order. Both forms are read.
    ///
    /// Not for types with `skip_serializing`, `skip_serializing_if` or `skip_deserializing`: a field that
    /// is left out moves those behind it to other places, so that the value is an error or another one
    /// when it is read. A struct with a `tag` is an error.
    ///
    /// Nor for enums that are told by names. An untagged enum with structs in it is an error when it
    /// is read, or another of its variants: `Point { x, y }` comes back as `Size { w, h }`. A unit or
    /// struct variant of an adjacently tagged enum (`tag` and `content`) is an error.
    #[must_use]
    pub fn compact() -> Self {
        Self { compact: true }
    }
}

impl Codec for MessagePack {
    fn name(&self) -> &'static str {
        "MessagePack"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        if let Some(text) = to_decimal(value) {
            return Ok(text.into_bytes());
        }
        let mut bytes = Vec::with_capacity(TYPICAL_LEN);
        let written = if self.compact {
            rmp_serde::encode::write(&mut bytes, value)
        } else {
            rmp_serde::encode::write_named(&mut bytes, value)
        };
        written.map_err(|error| encode_error::<T>("MessagePack", error))?;
        Ok(bytes)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        if is_decimal(bytes) {
            let Some(decimal) = Decimal::parse(bytes) else {
                return Err(decode_error::<T>(
                    "MessagePack",
                    "they begin like an integer's decimal text and are none",
                ));
            };
            return T::deserialize(decimal)
                .map_err(|error| decode_error::<T>("MessagePack", error));
        }
        // So that no input exhausts the stack.
        if is_too_deep(bytes) {
            return Err(decode_error::<T>(
                "MessagePack",
                format_args!("more than {MAX_DEPTH} arrays and maps are inside of each other"),
            ));
        }
        let mut deserializer = Deserializer::from_read_ref(bytes);
        let value = T::deserialize(&mut deserializer)
            .map_err(|error| decode_error::<T>("MessagePack", error))?;
        // A scalar is asked for, so that only the very end can answer with a missing marker.
        match u8::deserialize(&mut deserializer) {
            Err(DecodeError::InvalidMarkerRead(error))
                if error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                Ok(value)
            }
            _ => Err(decode_error::<T>(
                "MessagePack",
                "there are bytes behind the value",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Count(i64);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct User {
        id: u32,
        name: String,
    }

    fn codec() -> MessagePack {
        MessagePack::new()
    }

    #[test]
    fn a_top_level_integer_is_decimal_text() {
        assert_eq!(codec().name(), "MessagePack");
        assert_eq!(codec().encode(&5_u8).unwrap(), b"5");
        assert_eq!(codec().encode(&i64::MIN).unwrap(), b"-9223372036854775808");
        assert_eq!(codec().encode(&Some(Count(53))).unwrap(), b"53");
        assert_eq!(codec().decode::<i64>(b"5").unwrap(), 5);
        assert_eq!(
            codec().decode::<Option<Count>>(b"-7").unwrap(),
            Some(Count(-7))
        );
        assert_eq!(
            codec().decode::<u64>(b"18446744073709551615").unwrap(),
            u64::MAX
        );
        let largest = u128::MAX.to_string();
        assert_eq!(
            codec().decode::<u128>(largest.as_bytes()).unwrap(),
            u128::MAX
        );
    }

    #[test]
    fn text_that_is_no_canonical_integer_is_an_error() {
        for bytes in [&b"05"[..], b"-0", b"-", b"5 ", b"5.0", b"1e3", b"5\x80"] {
            let error = codec().decode::<i64>(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{bytes:?}");
        }
    }

    #[test]
    fn a_struct_is_a_map_and_both_forms_are_read() {
        let user = User {
            id: 7,
            name: "Ada".to_owned(),
        };
        let named = codec().encode(&user).unwrap();
        assert_eq!(named, b"\x82\xa2id\x07\xa4name\xa3Ada");
        let compact = MessagePack::compact().encode(&user).unwrap();
        assert_eq!(compact, b"\x92\x07\xa3Ada");
        for bytes in [named, compact] {
            assert_eq!(codec().decode::<User>(&bytes).unwrap(), user);
        }
    }

    #[test]
    fn a_value_that_is_nested_too_deeply_is_an_error() {
        #[derive(Debug, Deserialize)]
        struct Nested(Vec<Nested>);

        #[derive(Debug, Deserialize)]
        enum Expression {
            Leaf,
            Not(Box<Expression>),
        }

        let nested =
            |depth: usize, outer: &[u8], inner: u8| [outer.repeat(depth), vec![inner]].concat();
        let arrays = |depth| codec().decode::<Nested>(&nested(depth, b"\x91", 0x90));
        assert_eq!(arrays(MAX_DEPTH - 1).unwrap().0.len(), 1);
        let variants = |depth| codec().decode::<Expression>(&nested(depth, b"\x81\x01", 0));
        let Expression::Not(inner) = variants(MAX_DEPTH).unwrap() else {
            panic!("the outermost one has one inside");
        };
        assert!(matches!(*inner, Expression::Not(_)));
        assert!(matches!(variants(0).unwrap(), Expression::Leaf));
        for error in [
            arrays(MAX_DEPTH).unwrap_err(),
            arrays(1_000_000).unwrap_err(),
            variants(MAX_DEPTH + 1).unwrap_err(),
            variants(1_000_000).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.to_string().contains("more than 127"), "{error}");
        }
    }

    #[test]
    fn bytes_behind_the_value_are_an_error() {
        let value = codec().encode(&vec![1, 2]).unwrap();
        for behind in 0..=255_u8 {
            let mut bytes = value.clone();
            bytes.push(behind);
            let error = codec().decode::<Vec<i32>>(&bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{behind:#x}");
        }
    }
}
