//! Top-level integers as decimal ASCII, for binary formats.
//!
//! A counter is decimal text in the backend, so every codec writes an integer like that where it
//! is the whole value. Inside of other values a codec writes integers in its own way.

use std::fmt::{self, Display};

use serde::de::value::Error as ValueError;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{Impossible, Serialize, Serializer};

/// The decimal text of `value`, if it is an integer and nothing around it.
///
/// Ends at the first thing that is none, so for any other value it costs next to nothing.
pub(super) fn to_decimal<T: Serialize + ?Sized>(value: &T) -> Option<String> {
    value.serialize(IntegerText).ok()
}

/// Whether `bytes` are the decimal text of an integer, to be read by [`Decimal`].
pub(super) fn is_decimal(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'0'..=b'9' | b'-'))
}

/// A deserializer of one integer.
#[derive(Clone, Copy)]
pub(super) enum Decimal {
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
}

impl Decimal {
    /// Reads canonical decimal text; `None` for anything else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let canonical = text == "0"
            || digits.starts_with(|digit: char| ('1'..='9').contains(&digit))
                && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !canonical {
            return None;
        }
        text.parse()
            .map(Self::I64)
            .or_else(|_| text.parse().map(Self::U64))
            .or_else(|_| text.parse().map(Self::I128))
            .or_else(|_| text.parse().map(Self::U128))
            .ok()
    }
}

impl<'de> Deserializer<'de> for Decimal {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::I64(integer) => visitor.visit_i64(integer),
            Self::U64(integer) => visitor.visit_u64(integer),
            Self::I128(integer) => visitor.visit_i128(integer),
            Self::U128(integer) => visitor.visit_u128(integer),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, ValueError> {
        Err(ValueError::custom(format!(
            "an integer, expected enum {name}"
        )))
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A serializer that accepts integers and nothing else.
struct IntegerText;

#[derive(Debug)]
struct NotAnInteger;

impl Display for NotAnInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an integer")
    }
}

impl std::error::Error for NotAnInteger {}

impl serde::ser::Error for NotAnInteger {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

type Text = Result<String, NotAnInteger>;
type Never = Impossible<String, NotAnInteger>;

macro_rules! integers {
    ($($method:ident: $integer:ty),*) => {
        $(fn $method(self, value: $integer) -> Text {
            Ok(value.to_string())
        })*
    };
}

macro_rules! others {
    ($($method:ident($($argument:ty),*) -> $answer:ty),* $(,)?) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$answer, NotAnInteger> {
            Err(NotAnInteger)
        })*
    };
}

impl Serializer for IntegerText {
    type Ok = String;
    type Error = NotAnInteger;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_u128: u128
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Text {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Text {
        value.serialize(self)
    }

    others! {
        serialize_bool(bool) -> String,
        serialize_f32(f32) -> String,
        serialize_f64(f64) -> String,
        serialize_char(char) -> String,
        serialize_str(&str) -> String,
        serialize_bytes(&[u8]) -> String,
        serialize_none() -> String,
        serialize_unit() -> String,
        serialize_unit_struct(&'static str) -> String,
        serialize_unit_variant(&'static str, u32, &'static str) -> String,
        serialize_seq(Option<usize>) -> Never,
        serialize_tuple(usize) -> Never,
        serialize_tuple_struct(&'static str, usize) -> Never,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never,
        serialize_map(Option<usize>) -> Never,
        serialize_struct(&'static str, usize) -> Never,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never,
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Text {
        Err(NotAnInteger)
    }

    fn collect_str<T: Display + ?Sized>(self, _value: &T) -> Text {
        Err(NotAnInteger)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
