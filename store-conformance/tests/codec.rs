//! The suite of a codec that is not of the store, as its author would have it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use store_conformance::{Codecs, codec_suite};
use store_core::{Codec, Json, MessagePack, Result};

/// JSON behind a version byte; integers have none, since they are counters.
#[derive(Clone, Debug)]
struct Versioned {
    version: u8,
}

impl Codec for Versioned {
    fn name(&self) -> &'static str {
        "versioned JSON"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let mut bytes = Json.encode(value)?;
        if Json.decode::<i128>(&bytes).is_err() && Json.decode::<u128>(&bytes).is_err() {
            bytes.insert(0, self.version);
        }
        Ok(bytes)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        match bytes.strip_prefix(&[self.version]) {
            Some(rest) => Json.decode(rest),
            // Without the version it can only be an integer.
            None => Json.decode::<i128>(bytes).and_then(|_| Json.decode(bytes)),
        }
    }
}

codec_suite!(versioned, Versioned { version: 1 });
codec_suite!(json, Json);
codec_suite!(message_pack, MessagePack::new());

#[test]
fn codecs_are_shown_by_their_names() {
    let codecs = Codecs::of(Json).and(MessagePack::compact());
    assert_eq!(format!("{codecs:?}"), r#"["JSON", "MessagePack"]"#);
}
