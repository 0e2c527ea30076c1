//! The JSON codec, through serde_json.

/// JSON, readable by people and by every language. The default codec.
///
/// A float that is not finite is refused: JSON has no form for it. Map keys must be strings,
/// integers, booleans, characters or finite floats; others are refused. In an untagged or internally
/// tagged enum or a flattened field, keys that are integers, booleans or floats are written and
/// cannot be read. An `Option` inside of an `Option` loses its inner layer: `Some(None)` and `None`
/// are both `null`.
///
/// White space behind a value is a decode error, such as the end of line of a file that another
/// program stored. So is a value of no bytes, which is what Igniter.js stores for `undefined`.
///
/// It is a [`Codec`](super::Codec) with the feature `json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

#[cfg(feature = "json")]
mod implementation {
    use std::cell::Cell;
    use std::io;

    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::Serializer;
    use serde_json::ser::Formatter;

    use super::Json;
    use crate::codec::nonfinite::has_nonfinite_float;
    use crate::codec::{Codec, TYPICAL_LEN, decode_error, encode_error};
    use crate::error::Result;

    impl Codec for Json {
        fn name(&self) -> &'static str {
            "JSON"
        }

        fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
            let mut bytes = Vec::with_capacity(TYPICAL_LEN);
            let has_null = Cell::new(false);
            let formatter = NoticeNull(&has_null);
            let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
            value
                .serialize(&mut serializer)
                .map_err(|error| encode_error::<T>("JSON", error))?;
            // serde_json writes NaN and the infinities as null, so without a null there is none.
            if has_null.get() && has_nonfinite_float(value) {
                return Err(encode_error::<T>(
                    "JSON",
                    "it holds a float that is not finite, which JSON has no form for",
                ));
            }
            Ok(bytes)
        }

        fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
            // serde_json passes over white space, which a codec here does not.
            if let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.last() {
                return Err(decode_error::<T>(
                    "JSON",
                    "there are bytes behind the value",
                ));
            }
            // Checked as a whole, which is faster than string by string.
            let text =
                std::str::from_utf8(bytes).map_err(|error| decode_error::<T>("JSON", error))?;
            serde_json::from_str(text).map_err(|error| decode_error::<T>("JSON", error))
        }
    }

    /// Writes JSON without white space, and notices a null.
    struct NoticeNull<'a>(&'a Cell<bool>);

    impl Formatter for NoticeNull<'_> {
        fn write_null<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
            self.0.set(true);
            writer.write_all(b"null")
        }
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::codec::Codec;
    use crate::error::ErrorKind;

    #[test]
    fn integers_are_decimal_text() {
        assert_eq!(Json.name(), "JSON");
        assert_eq!(Json.encode(&i64::MIN).unwrap(), b"-9223372036854775808");
        assert_eq!(Json.decode::<i64>(b"53").unwrap(), 53);
    }

    #[test]
    fn a_float_that_is_not_finite_is_refused_wherever_it_stands() {
        for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Json.encode(&float).unwrap_err().kind(), ErrorKind::Encode);
            let nested = BTreeMap::from([("a", vec![(Some(1.0), 1_u8), (Some(float), 2)])]);
            assert_eq!(Json.encode(&nested).unwrap_err().kind(), ErrorKind::Encode);
        }
        assert_eq!(Json.encode(&[Some(1.5), None]).unwrap(), b"[1.5,null]");
    }

    #[test]
    fn white_space_behind_the_value_is_an_error() {
        for bytes in [&b"5 "[..], b"5\n", b"{}\t", b"5 6", b"5x"] {
            assert_eq!(
                Json.decode::<serde_json::Value>(bytes).unwrap_err().kind(),
                ErrorKind::Decode
            );
        }
    }

    #[test]
    fn a_value_of_no_bytes_is_an_error() {
        assert_eq!(
            Json.decode::<Option<u8>>(b"").unwrap_err().kind(),
            ErrorKind::Decode
        );
    }

    #[test]
    fn a_decode_error_names_the_type_and_the_place() {
        let error = Json.decode::<Vec<u8>>(b"[1,\"x\"]").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the bytes are not JSON of alloc::vec::Vec<u8>: invalid type: string \"x\", \
             expected u8 at line 1 column 6"
        );
    }
}
