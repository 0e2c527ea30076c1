//! How a value becomes bytes and a value again.
//!
//! Separate from the handle so that a project can bring a codec of its own.

#[cfg(feature = "message-pack")]
mod depth;
#[cfg(feature = "message-pack")]
mod integer;
mod json;
#[cfg(test)]
#[cfg(all(feature = "json", feature = "message-pack"))]
mod limits;
#[cfg(feature = "message-pack")]
mod message_pack;
#[cfg(feature = "json")]
mod nonfinite;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::json::Json;
#[cfg(feature = "message-pack")]
pub use self::message_pack::MessagePack;
use crate::error::Result;

/// A way to write values as bytes.
///
/// Every codec keeps these laws, which the conformance suite checks:
///
/// - A value that was encoded decodes to itself, but for what is under [Limits](#limits).
/// - **A top-level integer is written as decimal ASCII**, because that is what
///   [`increment`](crate::StoreAdapter::increment) works on. So `get::<i64>` reads a counter, and
///   `increment` counts on from an integer that was `set`.
/// - Decoding is total: any bytes give a value or an error, without a panic and in bounded memory.
/// - Bytes behind the value are an error.
/// - A float that is not finite is kept or refused, never turned into another value.
/// - The same value gives the same bytes, as far as its own iteration order is the same. A
///   `HashMap` has none, so values that hold one are of no use with
///   [`compare_and_set`](crate::Store::compare_and_set).
///
/// # Limits
///
/// With the codecs that are here, some values can be written and do not come back as they were:
///
/// - **Deep ones.** More than 127 arrays and maps inside of each other are an error of decoding.
/// - **A `Some` of what is written like `None`**: `Some(())` and `Some(None)` are read as `None`.
/// - **An untagged enum** is read as its first variant that takes what was written: an integer as a
///   float, where a variant with a float stands before the one with the integer.
/// - **What serde holds before it is read**, that is an untagged or internally tagged enum and a
///   flattened field. In there, these are written and cannot be read:
///   - an `i128` or `u128`, however small;
///   - under `Json`, a map whose keys are integers, booleans or floats;
///   - under `MessagePack`, a type that has another form in formats for people, such as `IpAddr`, and
///     mostly a struct without fields.
///
///   Mostly that is an error of decoding, but an untagged enum may be read as another of its
///   variants, and a flattened `Option` as `None`. Under `Json` an `f32` is read as an `f64` first, which
///   makes one of them another: 7.038531e-26, and its negative, comes back as its neighbour.
/// - **A flattened map** takes every field that nothing else has. So an `Option` of one that is `None`
///   comes back as an empty map, and of two each has what both had. One that holds the name of another
///   field, or of the tag of its enum, is an error of decoding.
/// - **A field that is left out under `MessagePack::compact()`**, with `skip_serializing` or
///   `skip_serializing_if`: fields are told by their place, so the value is an error of decoding,
///   or the other fields have each other's values. One with `skip_deserializing`, and a struct with a
///   `tag`, are an error of decoding.
/// - **An enum that is told by names under `MessagePack::compact()`**: an untagged one with structs
///   in it, which is an error of decoding or is read as another of its variants; and a unit or
///   struct variant of an adjacently tagged one, which is an error of decoding.
/// - **A type that holds itself with nothing in between**, such as `struct Chain(Option<Box<Chain>>)`:
///   its layers are not written, so any value but null is read without end, until the stack is exhausted.
/// - **What writes itself otherwise the second time**, such as an iterator that is used up: a value may be
///   written more than once.
pub trait Codec: Clone + Debug + Send + Sync + 'static {
    /// The codec's name for messages, such as `"JSON"`.
    fn name(&self) -> &'static str;

    /// Writes `value` as bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode) if the format has no form for the value.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>>;

    /// Reads a value from all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) if the bytes are not exactly one `T`.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T>;
}

/// Room for a typical value, so that encoding it allocates once.
#[cfg(any(feature = "json", feature = "message-pack"))]
const TYPICAL_LEN: usize = 128;

#[cfg(any(feature = "json", feature = "message-pack"))]
fn encode_error<T: ?Sized>(codec: &str, source: impl std::fmt::Display) -> crate::Error {
    crate::Error::new(
        crate::ErrorKind::Encode,
        format!(
            "cannot write {} as {codec}: {source}",
            std::any::type_name::<T>()
        ),
    )
}

#[cfg(any(feature = "json", feature = "message-pack"))]
fn decode_error<T>(codec: &str, source: impl std::fmt::Display) -> crate::Error {
    crate::Error::new(
        crate::ErrorKind::Decode,
        format!(
            "the bytes are not {codec} of {}: {source}",
            std::any::type_name::<T>()
        ),
    )
}
