//! Enums that are not told by the name of their variant alone, and structs within structs.
//!
//! Serde reads a part of these before it knows the type, so a codec must say by itself what is there.
//! What some formats cannot do then, [`Exempt`] says.

use super::shapes::{choice, double, text};
use super::*;

/// An enum with its tag among the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Tagged {
    Nothing,
    Held(Held),
    Named { at: f64, list: Vec<i64> },
    Keyed { by_number: BTreeMap<i64, bool> },
}

/// An enum with its tag beside the content. By name the content is the first of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content")]
pub(super) enum Adjacent {
    Nothing,
    One(f64),
    Two(i8, String),
    Named { at: f64 },
    Held(Held),
    Keyed(BTreeMap<i64, bool>),
}

/// An enum without a tag, whose variants are told by what they hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Untagged {
    Nothing,
    Whole(i64),
    Float(f64),
    Text(String),
    List(Vec<i64>),
    Size { width: i64, height: i64 },
    Point { x: i64, y: i64 },
    Keyed(BTreeMap<i64, bool>),
}

/// A struct with the fields of another in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Flattened<T = Held> {
    pub(super) flag: bool,
    #[serde(flatten)]
    pub(super) held: T,
}

/// What the others hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    letter: char,
    float: f32,
    maybe: Option<String>,
    choice: Choice,
    by_name: BTreeMap<String, Vec<Option<u32>>>,
}

/// The limits that the docs of [`Codec`] have for some formats, as a codec's own bytes show them.
///
/// So a codec of somebody else over such a format is not asked for more than the format can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exempt {
    /// Fields have no names, so nothing tells variants by them.
    pub(super) names: bool,
    /// A key is a text in the bytes, and so for serde, where it holds one.
    pub(super) keys: bool,
}

impl Exempt {
    pub(super) fn of<C: Codec>(codec: &C) -> Self {
        #[derive(Serialize)]
        struct Named {
            at: bool,
        }

        let named = codec.encode(&Named { at: true }).unwrap_or_default();
        let keyed = codec.encode(&by_number(7, true)).unwrap_or_default();
        Self {
            names: codec.decode::<[bool; 1]>(&named).is_ok(),
            keys: codec.decode::<BTreeMap<String, bool>>(&keyed).is_ok(),
        }
    }
}

fn by_number(number: i64, flag: bool) -> BTreeMap<i64, bool> {
    BTreeMap::from([(number, flag)])
}

/// The values that need names of fields.
pub(super) fn told_by_names(shapes: &Shapes) -> (Vec<Adjacent>, Vec<Untagged>) {
    let (one, other) = (shapes.signed, shapes.signed.wrapping_neg());
    let adjacent = vec![Adjacent::Nothing, Adjacent::Named { at: shapes.double }];
    let size = Untagged::Size {
        width: one,
        height: other,
    };
    (adjacent, vec![size, Untagged::Point { x: one, y: other }])
}

/// The values that need keys that are no text.
pub(super) fn told_by_keys(shapes: &Shapes) -> (Tagged, Untagged, Flattened<BTreeMap<i64, bool>>) {
    let held = by_number(shapes.signed, shapes.flag);
    let tagged = Tagged::Keyed {
        by_number: held.clone(),
    };
    let untagged = Untagged::Keyed(held.clone());
    let flag = shapes.flag;
    (tagged, untagged, Flattened { flag, held })
}

fn held() -> impl Strategy<Value = Held> {
    let by_name = btree_map(text(), vec(proptest::option::of(any::<u32>()), 0..3), 0..3);
    let float = any::<f32>().prop_filter("not finite", |float| float.is_finite());
    let maybe = proptest::option::of(text());
    (any::<char>(), float, maybe, choice(), by_name).prop_map(
        |(letter, float, maybe, choice, by_name)| Held {
            letter,
            float,
            maybe,
            choice,
            by_name,
        },
    )
}

pub(super) fn tagged() -> impl Strategy<Value = Tagged> {
    proptest::prop_oneof![
        Just(Tagged::Nothing),
        held().prop_map(Tagged::Held),
        (double(), vec(any::<i64>(), 0..3)).prop_map(|(at, list)| Tagged::Named { at, list }),
    ]
}

pub(super) fn adjacent() -> impl Strategy<Value = Adjacent> {
    proptest::prop_oneof![
        double().prop_map(Adjacent::One),
        (any::<i8>(), text()).prop_map(|(number, text)| Adjacent::Two(number, text)),
        held().prop_map(Adjacent::Held),
        btree_map(any::<i64>(), any::<bool>(), 0..4).prop_map(Adjacent::Keyed),
    ]
}

pub(super) fn untagged() -> impl Strategy<Value = Untagged> {
    proptest::prop_oneof![
        Just(Untagged::Nothing),
        any::<i64>().prop_map(Untagged::Whole),
        double().prop_map(Untagged::Float),
        text().prop_map(Untagged::Text),
        vec(any::<i64>(), 0..4).prop_map(Untagged::List),
    ]
}

pub(super) fn flattened() -> impl Strategy<Value = Flattened> {
    (any::<bool>(), held()).prop_map(|(flag, held)| Flattened { flag, held })
}
