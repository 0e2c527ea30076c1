//! Broken codecs: each of the laws that need no driver finds one.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use store_core::{Error, Result};

use super::*;

/// A codec over JSON, wrong by what it does to the bytes.
#[derive(Clone, Copy, Debug)]
struct Broken {
    write: fn(Vec<u8>) -> Vec<u8>,
    read: fn(&[u8]) -> Result<&[u8]>,
}

impl Codec for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Error::new(ErrorKind::Encode, error.to_string()))?;
        Ok((self.write)(bytes))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        let mut values = serde_json::Deserializer::from_slice((self.read)(bytes)?).into_iter();
        match values.next() {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(Error::new(ErrorKind::Decode, error.to_string())),
            None => Err(Error::new(ErrorKind::Decode, "nothing")),
        }
    }
}

/// Whether one of many inputs breaks the law.
fn finds(law: impl Fn(&Shapes) -> CaseResult) -> bool {
    let mut runner = TestRunner::deterministic();
    (0..100).any(|_| {
        let shapes = shapes().new_tree(&mut runner).unwrap().current();
        law(&shapes).is_err()
    })
}

const LENIENT: Broken = Broken {
    write: |bytes| bytes,
    read: |bytes| Ok(bytes),
};

#[test]
fn healthy_codecs_are_not_found() {
    each_codec!(codec => {
        assert!(!finds(|shapes| every_shape_comes_back(&codec, shapes)));
        assert!(!finds(|shapes| writes_the_same_again(&codec, shapes)));
        assert!(!finds(|shapes| refuses_more_of_every_shape(&codec, shapes, b" ")));
        assert!(no_float_becomes_another(&codec, f64::NAN).is_ok());
        assert!(golden::integers(&codec).is_ok());
    });
}

#[test]
fn a_codec_that_loses_characters_is_found() {
    let ascii = Broken {
        write: |mut bytes| {
            bytes
                .iter_mut()
                .filter(|byte| !byte.is_ascii())
                .for_each(|byte| *byte = b'?');
            bytes
        },
        ..LENIENT
    };
    assert!(finds(|shapes| every_shape_comes_back(&ascii, shapes)));
}

#[test]
fn a_codec_that_loses_the_sign_of_zero_is_found() {
    let unsigned_zero = Broken {
        write: |bytes| {
            String::from_utf8_lossy(&bytes)
                .replace("-0.0", "0.0")
                .into_bytes()
        },
        ..LENIENT
    };
    assert!(finds(|shapes| every_shape_comes_back(
        &unsigned_zero,
        shapes
    )));
}

#[test]
fn a_codec_that_passes_over_trailing_bytes_is_found() {
    for tail in TAILS {
        assert!(
            finds(|shapes| refuses_more_of_every_shape(&LENIENT, shapes, tail)),
            "{tail:?}"
        );
    }
}

#[test]
fn a_codec_that_writes_another_order_is_found() {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let restless = Broken {
        write: |mut bytes| {
            let spaces = WRITTEN.fetch_add(1, Ordering::Relaxed) % 2;
            bytes.splice(0..0, vec![b' '; spaces]);
            bytes
        },
        ..LENIENT
    };
    assert!(finds(|shapes| writes_the_same_again(&restless, shapes)));
}

#[test]
fn a_codec_with_another_kind_of_error_is_found() {
    let unkind = Broken {
        read: |_| Err(Error::new(ErrorKind::Backend, "no")),
        ..LENIENT
    };
    assert!(decode_everything(&unkind, b"x").is_err());
}

#[test]
#[should_panic(expected = "out of range")]
fn a_codec_that_panics_is_found() {
    let careless = Broken {
        read: |bytes| Ok(&bytes[1..]),
        ..LENIENT
    };
    let _ = decode_everything(&careless, b"");
}

#[test]
fn a_codec_that_writes_a_float_that_is_none_as_null_is_found() {
    assert!(no_float_becomes_another(&LENIENT, f64::NAN).is_err());
    assert!(no_float_becomes_another(&LENIENT, f64::INFINITY).is_err());
}

#[test]
fn a_codec_that_reads_what_another_wrote_is_found() {
    assert!(finds(|shapes| tells_apart(&LENIENT, &Json, shapes)));
}

#[test]
fn a_codec_that_writes_integers_in_its_own_way_is_found() {
    let quoted = Broken {
        write: |bytes| [b"\"", &bytes[..], b"\""].concat(),
        ..LENIENT
    };
    assert!(golden::integers(&quoted).is_err());
}
