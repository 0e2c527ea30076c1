//! Tests of what the docs of [`Codec`] have under Limits, so that they say no more and no less.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Codec, Json, MessagePack};
use crate::error::ErrorKind;

#[track_caller]
fn read<T: Serialize + DeserializeOwned>(codec: &impl Codec, value: &T) -> crate::Result<T> {
    codec.decode(&codec.encode(value).unwrap())
}

#[track_caller]
fn comes_back<T>(codec: impl Codec, value: T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    assert_eq!(read(&codec, &value).unwrap(), value);
}

#[track_caller]
fn is_read_as<T>(codec: impl Codec, value: T, another: T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    assert_eq!(read(&codec, &value).unwrap(), another);
}

#[track_caller]
fn cannot_be_read<T>(codec: impl Codec, value: T)
where
    T: Serialize + DeserializeOwned + Debug,
{
    assert_eq!(read(&codec, &value).unwrap_err().kind(), ErrorKind::Decode);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal<T> {
    Holds { part: T },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content")]
enum Adjacent<T> {
    Unit,
    Newtype(T),
    Tuple(T, T),
    Struct { part: T },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Holds(T),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Part<T> {
    part: T,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flattened<T> {
    id: u8,
    #[serde(flatten)]
    rest: T,
}

fn by<K: Ord>(key: K) -> BTreeMap<K, u8> {
    BTreeMap::from([(key, 1)])
}

/// Expects that `part` is read wherever serde holds it.
fn comes_back_where_serde_holds_it<T>(codec: impl Codec, part: T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    comes_back(codec.clone(), Internal::Holds { part: part.clone() });
    comes_back(codec.clone(), Untagged::Holds(part.clone()));
    let rest = Part { part: part.clone() };
    comes_back(codec.clone(), Flattened { id: 1, rest });
    let rest = Some(Part { part });
    comes_back(codec, Flattened { id: 1, rest });
}

/// Expects that `part` is read by itself, and not where serde holds it.
fn cannot_be_read_where_serde_holds_it<T>(codec: impl Codec, part: T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    comes_back(codec.clone(), Part { part: part.clone() });
    comes_back(codec.clone(), Adjacent::Newtype(part.clone()));
    cannot_be_read(codec.clone(), Internal::Holds { part: part.clone() });
    cannot_be_read(codec.clone(), Untagged::Holds(Part { part: part.clone() }));
    let rest = Part { part: part.clone() };
    cannot_be_read(codec.clone(), Flattened { id: 1, rest });
    let (rest, none) = (Some(Part { part }), None);
    is_read_as(
        codec,
        Flattened { id: 1, rest },
        Flattened { id: 1, rest: none },
    );
}

#[test]
fn an_untagged_enum_is_its_first_variant_that_takes_the_bytes() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Float(f64),
        Integer(i64),
    }

    is_read_as(Json, vec![Number::Integer(5)], vec![Number::Float(5.0)]);
    for codec in [MessagePack::new(), MessagePack::compact()] {
        is_read_as(codec, vec![Number::Integer(5)], vec![Number::Float(5.0)]);
    }
}

#[test]
fn integers_of_128_bits_are_not_read_where_serde_holds_them() {
    cannot_be_read_where_serde_holds_it(MessagePack::new(), 5_u128);
    cannot_be_read_where_serde_holds_it(MessagePack::compact(), -5_i128);
    cannot_be_read_where_serde_holds_it(Json, 5_u128);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Wide(u128),
        Float(f64),
    }

    is_read_as(Json, Number::Wide(5), Number::Float(5.0));
}

#[test]
fn keys_that_are_no_text_are_not_read_where_serde_holds_them_in_json() {
    cannot_be_read_where_serde_holds_it(Json, by(7_i32));
    cannot_be_read_where_serde_holds_it(Json, by(true));
    comes_back_where_serde_holds_it(Json, by("7".to_owned()));
    comes_back_where_serde_holds_it(Json, by('7'));
    for codec in [MessagePack::new(), MessagePack::compact()] {
        comes_back_where_serde_holds_it(codec, by(7_i32));
        comes_back_where_serde_holds_it(codec, by(true));
    }
}

#[test]
fn types_with_a_form_for_people_are_not_read_where_serde_holds_them_in_message_pack() {
    let address = IpAddr::from([127, 0, 0, 1]);
    cannot_be_read_where_serde_holds_it(MessagePack::new(), address);
    cannot_be_read_where_serde_holds_it(MessagePack::compact(), address);
    comes_back_where_serde_holds_it(Json, address);
}

#[test]
fn untagged_structs_are_errors_or_others_in_compact_message_pack() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Size {
        w: u8,
        h: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: u8,
        y: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Held {
        Size(Size),
        Point(Point),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Variants {
        Size { w: u8, h: u8 },
        Point { x: u8, y: u8 },
    }

    let held = || Held::Point(Point { x: 1, y: 2 });
    comes_back(Json, held());
    comes_back(MessagePack::new(), held());
    is_read_as(
        MessagePack::compact(),
        held(),
        Held::Size(Size { w: 1, h: 2 }),
    );
    for variant in [
        || Variants::Size { w: 1, h: 2 },
        || Variants::Point { x: 1, y: 2 },
    ] {
        comes_back(Json, variant());
        comes_back(MessagePack::new(), variant());
        cannot_be_read(MessagePack::compact(), variant());
    }
}

#[test]
fn adjacently_tagged_units_and_structs_are_errors_in_compact_message_pack() {
    for variant in [|| Adjacent::Unit, || Adjacent::Struct { part: 5 }] {
        comes_back(Json, variant());
        comes_back(MessagePack::new(), variant());
        cannot_be_read(MessagePack::compact(), variant());
    }
    for variant in [|| Adjacent::Newtype(5), || Adjacent::Tuple(5, 6)] {
        comes_back(MessagePack::compact(), variant());
    }
}

#[test]
fn structs_without_fields_are_not_read_where_serde_holds_them_in_message_pack() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Unit(Unit),
        List(Vec<u8>),
    }

    for codec in [MessagePack::new(), MessagePack::compact()] {
        comes_back(codec, Part { part: Unit });
        cannot_be_read(codec, Untagged::Holds(Unit));
        cannot_be_read(codec, Untagged::Holds(Part { part: Unit }));
        let rest = BTreeMap::from([("a".to_owned(), Unit)]);
        cannot_be_read(codec, Flattened { id: 1, rest });
        is_read_as(codec, vec![Either::Unit(Unit)], vec![Either::List(vec![])]);
    }
    comes_back_where_serde_holds_it(Json, Unit);
    comes_back(Json, vec![Either::Unit(Unit)]);
}

#[test]
fn one_float_of_32_bits_is_another_where_serde_holds_it_in_json() {
    let float = f32::from_bits(0x15ae_43fd);
    let neighbour = f32::from_bits(0x15ae_43fe);
    for sign in [1.0, -1.0] {
        let held = |part| Internal::Holds { part: sign * part };
        is_read_as(Json, held(float), held(neighbour));
        comes_back(Json, sign * float);
        comes_back(MessagePack::new(), held(float));
    }
    comes_back_where_serde_holds_it(Json, 0.1_f32);
}

#[test]
fn a_flattened_map_takes_every_field_that_nothing_else_has() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Two {
        #[serde(flatten)]
        first: BTreeMap<String, u8>,
        #[serde(flatten)]
        second: BTreeMap<String, u8>,
    }

    fn check(codec: impl Codec) {
        let of = |names: &[&str]| -> BTreeMap<String, u8> {
            names.iter().map(|name| ((*name).to_owned(), 1)).collect()
        };
        comes_back(
            codec.clone(),
            Flattened {
                id: 1,
                rest: of(&["a", "b"]),
            },
        );
        let (none, empty) = (None, Some(of(&[])));
        is_read_as(
            codec.clone(),
            Flattened { id: 1, rest: none },
            Flattened { id: 1, rest: empty },
        );
        let two = Two {
            first: of(&["a"]),
            second: of(&["b"]),
        };
        let both = of(&["a", "b"]);
        let twice = Two {
            first: both.clone(),
            second: both,
        };
        is_read_as(codec.clone(), two, twice);
        let rest = of(&["id"]);
        cannot_be_read(codec, Flattened { id: 1, rest });
    }

    check(Json);
    check(MessagePack::new());
    check(MessagePack::compact());
}

#[test]
fn fields_that_are_left_out_are_others_or_errors_in_compact_message_pack() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unwritten {
        #[serde(skip_serializing, default)]
        a: u8,
        b: u8,
        #[serde(default)]
        c: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unread {
        #[serde(skip_deserializing)]
        a: u8,
        b: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    struct Tagged {
        a: u8,
    }

    let (written, read) = (
        Unwritten { a: 0, b: 2, c: 3 },
        Unwritten { a: 2, b: 3, c: 0 },
    );
    is_read_as(MessagePack::compact(), written, read);
    let unread = || Unread {
        a: 0,
        b: "b".to_owned(),
    };
    cannot_be_read(MessagePack::compact(), unread());
    cannot_be_read(MessagePack::compact(), Tagged { a: 1 });
    fn by_name(codec: impl Codec, unread: Unread) {
        comes_back(codec.clone(), Unwritten { a: 0, b: 2, c: 3 });
        comes_back(codec.clone(), unread);
        comes_back(codec, Tagged { a: 1 });
    }
    by_name(Json, unread());
    by_name(MessagePack::new(), unread());
}
