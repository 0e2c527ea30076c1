//! The bytes that values had when they were first released. They are in people's databases.

use std::any::Any;

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    roles: Vec<String>,
    nickname: Option<String>,
    score: f64,
}

fn user() -> User {
    User {
        id: 300,
        name: "Zoë".to_owned(),
        roles: vec!["admin".to_owned(), String::new()],
        nickname: None,
        score: -0.5,
    }
}

fn frozen<C, T>(codec: &C, value: &T, bytes: &[u8]) -> CaseResult
where
    C: Codec,
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let written = codec.encode(value)?;
    ensure_eq!(
        written.escape_ascii().to_string(),
        bytes.escape_ascii().to_string(),
        "{value:?} in {}",
        codec.name()
    );
    let read: T = codec.decode(bytes)?;
    ensure_eq!(
        read,
        *value,
        "what {} reads from frozen bytes",
        codec.name()
    );
    Ok(())
}

/// Integers are the same text in every codec.
fn integers<C: Codec>(codec: &C) -> CaseResult {
    frozen(codec, &5_i64, b"5")?;
    frozen(codec, &-10_i8, b"-10")?;
    frozen(codec, &i64::MIN, b"-9223372036854775808")?;
    frozen(codec, &u64::MAX, b"18446744073709551615")?;
    frozen(codec, &Wrapper(53), b"53")
}

pub(crate) fn reads_frozen_bytes<C: Codec>(codec: &C) -> CaseResult {
    integers(codec)?;
    let codec: &dyn Any = codec;
    if let Some(json) = codec.downcast_ref() {
        frozen_json(json)?;
    }
    if let Some(message_pack) = codec.downcast_ref() {
        frozen_message_pack(message_pack)?;
    }
    Ok(())
}

fn frozen_json(json: &Json) -> CaseResult {
    frozen(json, &true, b"true")?;
    frozen(json, &None::<i64>, b"null")?;
    frozen(
        json,
        &"a\"\n\u{e9}".to_owned(),
        "\"a\\\"\\n\u{e9}\"".as_bytes(),
    )?;
    frozen(json, &1.5_f64, b"1.5")?;
    frozen(json, &vec![1_u8, 2], b"[1,2]")?;
    frozen(json, &(1_u8, "a".to_owned()), b"[1,\"a\"]")?;
    frozen(json, &Choice::Nothing, b"\"Nothing\"")?;
    frozen(
        json,
        &Choice::Named { at: 1.5 },
        b"{\"Named\":{\"at\":1.5}}",
    )?;
    frozen(json, &BTreeMap::from([(7_i64, true)]), b"{\"7\":true}")?;
    frozen(
        json,
        &user(),
        "{\"id\":300,\"name\":\"Zoë\",\"roles\":[\"admin\",\"\"],\"nickname\":null,\"score\":-0.5}"
            .as_bytes(),
    )
}

fn frozen_message_pack(codec: &MessagePack) -> CaseResult {
    frozen(codec, &true, b"\xc3")?;
    frozen(codec, &None::<i64>, b"\xc0")?;
    frozen(codec, &"abc".to_owned(), b"\xa3abc")?;
    frozen(codec, &1.5_f64, b"\xcb\x3f\xf8\0\0\0\0\0\0")?;
    frozen(codec, &vec![1_u8, 200], b"\x92\x01\xcc\xc8")?;
    frozen(codec, &(-1_i8, "a".to_owned()), b"\x92\xff\xa1a")?;
    frozen(codec, &Choice::Nothing, b"\xa7Nothing")?;
    frozen(codec, &BTreeMap::from([(7_i64, true)]), b"\x81\x07\xc3")?;
    let bytes: &[u8] = if *codec == MessagePack::compact() {
        b"\x95\xcd\x01\x2c\xa4Zo\xc3\xab\x92\xa5admin\xa0\xc0\xcb\xbf\xe0\0\0\0\0\0\0"
    } else {
        b"\x85\xa2id\xcd\x01\x2c\xa4name\xa4Zo\xc3\xab\xa5roles\x92\xa5admin\xa0\xa8nickname\
          \xc0\xa5score\xcb\xbf\xe0\0\0\0\0\0\0"
    };
    frozen(codec, &user(), bytes)
}
