//! One type with every shape that serde knows.

use serde::de::Error as _;
use serde::{Deserializer, Serializer};

use super::*;

/// Every shape of serde's data model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shapes {
    pub(super) flag: bool,
    pub(super) signed: i64,
    pub(super) unsigned: u64,
    pub(super) float: f32,
    pub(super) double: f64,
    pub(super) letter: char,
    pub(super) text: String,
    pub(super) bytes: Vec<u8>,
    pub(super) maybe: Option<String>,
    pub(super) nothing: (),
    pub(super) pair: (i16, String),
    pub(super) doubles: Vec<f64>,
    pub(super) by_name: BTreeMap<String, Vec<Option<u32>>>,
    pub(super) by_number: BTreeMap<i64, bool>,
    pub(super) choice: Choice,
    pub(super) wrapped: Wrapper,
    pub(super) tagged: Tagged,
    pub(super) adjacent: Adjacent,
    pub(super) untagged: Untagged,
    pub(super) flattened: Flattened,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Box<Choice>>,
}

/// Every shape of a variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Choice {
    Nothing,
    One(f64),
    Two(i8, String),
    Named { at: f64 },
}

/// A newtype of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wrapper(pub(super) i64);

/// An integer for formats that are not for people, a text for those that are, as moments and
/// addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) i64);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map(Self).map_err(D::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

impl Shapes {
    /// A form in which equal means the same, down to the sign of zero.
    pub(super) fn comparable(&self) -> String {
        format!(
            "{self:?} {:x} {:x} {:x?}",
            self.float.to_bits(),
            self.double.to_bits(),
            bits(&self.doubles)
        )
    }
}

pub(super) fn bits(doubles: &[f64]) -> Vec<u64> {
    doubles.iter().map(|double| double.to_bits()).collect()
}

pub(super) fn double() -> impl Strategy<Value = f64> {
    let any_finite = any::<f64>().prop_filter("not finite", |double| double.is_finite());
    proptest::prop_oneof![
        2 => any_finite,
        1 => proptest::sample::select(&[
            0.0, -0.0, 1.0, -1.5, f64::MIN_POSITIVE, 5e-324, -5e-324, f64::MAX, f64::MIN, f64::EPSILON,
            0.1, 1e21, 1e-7, 9_007_199_254_740_993.0, 123_456_789.123_456_79,
        ][..]),
    ]
}

fn float() -> impl Strategy<Value = f32> {
    let any_finite = any::<f32>().prop_filter("not finite", |float| float.is_finite());
    proptest::prop_oneof![2 => any_finite, 1 => Just(-0.0_f32), 1 => Just(1e-45_f32)]
}

pub(super) fn text() -> impl Strategy<Value = String> {
    proptest::prop_oneof![
        2 => vec(any::<char>(), 0..12).prop_map(|text| text.into_iter().collect()),
        1 => proptest::sample::select(&["", "5", "null", "\0", "\u{2028}", "\"\\", "-1"][..])
            .prop_map(str::to_owned),
        1 => "[a-z]{30,40}",
    ]
}

fn unsigned() -> impl Strategy<Value = u64> {
    proptest::prop_oneof![
        2 => any::<u64>(),
        1 => proptest::sample::select(&[0, 127, 128, 255, 256, 65_535, 65_536, u64::MAX, 1 << 63][..]),
    ]
}

pub(super) fn choice() -> impl Strategy<Value = Choice> {
    proptest::prop_oneof![
        Just(Choice::Nothing),
        double().prop_map(Choice::One),
        (any::<i8>(), text()).prop_map(|(number, text)| Choice::Two(number, text)),
        double().prop_map(|at| Choice::Named { at }),
    ]
}

pub(super) fn shapes() -> impl Strategy<Value = Shapes> {
    let scalars = (
        any::<bool>(),
        count(),
        unsigned(),
        float(),
        double(),
        any::<char>(),
    );
    let lists = (
        text(),
        vec(any::<u8>(), 0..20),
        proptest::option::of(text()),
        (any::<i16>(), text()),
        vec(double(), 0..5),
    );
    let maps = (
        btree_map(text(), vec(proptest::option::of(any::<u32>()), 0..3), 0..4),
        btree_map(any::<i64>(), any::<bool>(), 0..4),
        choice(),
        proptest::option::of(choice()),
    );
    let enums = (tagged(), adjacent(), untagged(), flattened());
    (scalars, lists, maps, enums).prop_map(|(scalars, lists, maps, enums)| {
        let (flag, signed, unsigned, float, double, letter) = scalars;
        let (text, bytes, maybe, pair, doubles) = lists;
        let (by_name, by_number, choice, last) = maps;
        let (tagged, adjacent, untagged, flattened) = enums;
        Shapes {
            flag,
            signed,
            unsigned,
            float,
            double,
            letter,
            text,
            bytes,
            maybe,
            nothing: (),
            pair,
            doubles,
            by_name,
            by_number,
            choice,
            wrapped: Wrapper(signed),
            tagged,
            adjacent,
            untagged,
            flattened,
            last: last.map(Box::new),
        }
    })
}
