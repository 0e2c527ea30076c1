//! Bytes that are nearly something, and what a codec makes of them.

use serde::de::IgnoredAny;

use super::*;

/// Bytes that may or may not be a value.
#[derive(Clone, Debug)]
pub(crate) enum Debris {
    /// These.
    Bytes(Vec<u8>),
    /// What the codec itself writes, with some bytes changed and then cut.
    Changed(Box<Shapes>, [(Index, u8); 3]),
    /// The beginning of an enum that is in itself so many times.
    Nested(usize),
}

/// An enum that holds itself, which is deep without an array.
#[derive(Serialize, Deserialize)]
enum Nested {
    End,
    In(Box<Nested>),
}

pub(super) fn debris() -> impl Strategy<Value = Debris> {
    let changed = (shapes(), any::<[(Index, u8); 3]>());
    let bytes = proptest::prop_oneof![
        3 => vec(any::<u8>(), 0..40),
        // Lengths of gigabytes, of which nothing follows.
        1 => (0xc0_u8..=0xdf, vec(Just(0xff_u8), 0..9)).prop_map(|(head, tail)| [vec![head], tail].concat()),
        // Nesting without end.
        1 => proptest::sample::select(&[b'[', b'{', 0x91, 0x81, 0xdd, 0xc1, b'-', b'"'][..])
            .prop_flat_map(|byte| (1_usize..60_000).prop_map(move |len| vec![byte; len])),
    ];
    proptest::prop_oneof![
        5 => bytes.prop_map(Debris::Bytes),
        3 => changed.prop_map(|(shapes, changes)| Debris::Changed(Box::new(shapes), changes)),
        1 => (0_usize..60_000).prop_map(Debris::Nested),
    ]
}

impl Debris {
    fn of<C: Codec>(&self, codec: &C) -> Vec<u8> {
        let (shapes, changes) = match self {
            Self::Bytes(bytes) => return bytes.clone(),
            Self::Changed(shapes, changes) => (shapes, changes),
            Self::Nested(levels) => return begun(codec).repeat(*levels),
        };
        // What a codec does not write is no debris of it.
        let mut bytes = codec.encode(&**shapes).unwrap_or_default();
        for (index, byte) in changes {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
        }
        let (cut, _) = changes[0];
        bytes.truncate(cut.index(bytes.len() + 1).max(1));
        bytes
    }
}

/// What a codec writes before the content of a [`Nested`]: all that two have in common, of which one
/// has an end where the other has one more.
fn begun<C: Codec>(codec: &C) -> Vec<u8> {
    let encode = |value: &Nested| codec.encode(value).unwrap_or_default();
    let once = Nested::In(Box::new(Nested::End));
    let (once, twice) = (encode(&once), encode(&Nested::In(Box::new(once))));
    let both = once.iter().zip(&twice);
    let common = both.take_while(|(one, other)| one == other);
    common.map(|(byte, _)| *byte).collect()
}

pub(crate) fn decodes_or_refuses<C: Codec>(codec: &C, debris: &Debris) -> CaseResult {
    let bytes = &debris.of(codec)[..];
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
        Shapes, Nested, Choice, Tagged, Adjacent, Untagged, Flattened, Wrapper, i64, u8, i128, f64, bool, char, String, (), Vec<u64>, Vec<String>,
        Option<String>, (u8, String), BTreeMap<String, i64>, BTreeMap<i64, Vec<u8>>, [u16; 3],
        serde_json::Value, IgnoredAny,
    );
    Ok(())
}
