//! Finds floats that JSON has no form for.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize, Serializer};

/// Whether there is a NaN or an infinity anywhere in `value`.
pub(super) fn has_nonfinite_float<T: Serialize + ?Sized>(value: &T) -> bool {
    value.serialize(Finite).is_err()
}

/// A serializer that writes nothing and fails at the first float that is not finite.
#[derive(Clone, Copy)]
struct Finite;

#[derive(Debug)]
struct NonFinite;

impl Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a float is not finite")
    }
}

impl std::error::Error for NonFinite {}

impl ser::Error for NonFinite {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

type Outcome = Result<(), NonFinite>;

macro_rules! scalars {
    ($($method:ident($($argument:ty),*)),* $(,)?) => {
        $(fn $method(self, $(_: $argument),*) -> Outcome {
            Ok(())
        })*
    };
}

macro_rules! compounds {
    ($($method:ident($($argument:ty),*)),* $(,)?) => {
        $(fn $method(self, $(_: $argument),*) -> Result<Self, NonFinite> {
            Ok(self)
        })*
    };
}

impl Serializer for Finite {
    type Ok = ();
    type Error = NonFinite;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_f32(self, float: f32) -> Outcome {
        self.serialize_f64(float.into())
    }

    fn serialize_f64(self, float: f64) -> Outcome {
        if float.is_finite() {
            Ok(())
        } else {
            Err(NonFinite)
        }
    }

    scalars! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32),
        serialize_i64(i64), serialize_i128(i128), serialize_u8(u8), serialize_u16(u16),
        serialize_u32(u32), serialize_u64(u64), serialize_u128(u128), serialize_char(char),
        serialize_str(&str), serialize_bytes(&[u8]), serialize_none(), serialize_unit(),
        serialize_unit_struct(&'static str),
        serialize_unit_variant(&'static str, u32, &'static str),
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Outcome {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Outcome {
        value.serialize(self)
    }

    compounds! {
        serialize_seq(Option<usize>), serialize_tuple(usize),
        serialize_tuple_struct(&'static str, usize),
        serialize_tuple_variant(&'static str, u32, &'static str, usize),
        serialize_map(Option<usize>), serialize_struct(&'static str, usize),
        serialize_struct_variant(&'static str, u32, &'static str, usize),
    }

    fn collect_str<T: Display + ?Sized>(self, _value: &T) -> Outcome {
        Ok(())
    }
}

macro_rules! elements {
    ($($compound:ident::$method:ident),* $(,)?) => {
        $(impl ser::$compound for Finite {
            type Ok = ();
            type Error = NonFinite;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
                value.serialize(*self)
            }

            fn end(self) -> Outcome {
                Ok(())
            }
        })*
    };
}

macro_rules! fields {
    ($($compound:ident),* $(,)?) => {
        $(impl ser::$compound for Finite {
            type Ok = ();
            type Error = NonFinite;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _name: &'static str,
                value: &T,
            ) -> Outcome {
                value.serialize(*self)
            }

            fn end(self) -> Outcome {
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Finite {
    type Ok = ();
    type Error = NonFinite;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Outcome {
        key.serialize(*self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        value.serialize(*self)
    }

    fn end(self) -> Outcome {
        Ok(())
    }
}
