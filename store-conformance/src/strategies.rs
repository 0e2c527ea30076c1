//! The inputs that laws try: ordinary ones, and those on which drivers have been wrong.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use store_core::{Bytes, MAX_NAME_LEN};

/// Names on which drivers have been wrong: case, space, controls, globs, slots, normal forms.
pub(crate) const EDGE_NAMES: &[&str] = &[
    "a",
    "A",
    " a",
    "a ",
    "a\t",
    "a\n",
    "a\r\n",
    "\r\n",
    "\0",
    "a\0",
    "a\0b",
    "\0a",
    "ab",
    "abc",
    "*",
    "a*",
    "?",
    "[a]",
    "[ab]",
    "[^a]",
    "\\",
    "\\*",
    "a\\",
    "{a}",
    "{a}b",
    "}a{",
    "{}a",
    "a:",
    "a:b",
    ":a",
    "::",
    "/",
    "a b",
    "a+b",
    "a/b",
    "a%20b",
    "%",
    "\"",
    "'",
    "nil",
    "null",
    "$-1",
    "+OK",
    "-ERR",
    "0",
    "00",
    "-0",
    "\u{e9}",
    "e\u{301}",
    "\u{c5}",
    "\u{212b}",
    "ß",
    "ss",
    "ẞ",
    "İ",
    "i",
    "ı",
    "\u{feff}a",
    "\u{200b}a",
    "\u{1f980}",
    "\u{10ffff}",
    "\u{fffd}",
    "\u{7f}",
    "\u{80}",
    "~",
    "_",
    "__",
    ".",
    "..",
    "a.b",
    "select 1; drop",
    "$",
    "^a",
    "a|b",
    "\u{202e}a",
];

/// Values on which drivers have been wrong: empty, NUL, not UTF-8, texts that mean something in a
/// protocol, numbers.
pub(crate) const EDGE_VALUES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\0\0",
    b"\xff",
    b"\xff\xfe\xfd",
    b"\xc3\x28",
    b"\x80",
    b"nil",
    b"OK",
    b"null",
    b"none",
    b"$-1\r\n",
    b"\r\n",
    b"+OK\r\n",
    b"-ERR x\r\n",
    b" ",
    b"\n",
    b"a\0b",
    b"true",
    b"0",
    b"1",
    b"-1",
    b"007",
    b"9223372036854775807",
    b"9223372036854775808",
    b"1.5",
    b"\"\"",
    b"{}",
    b"[]",
    b"\xef\xbb\xbf",
    b"\x1f\x8b\x08",
    b"\xc0",
    b"a ",
    b" a",
    b"A",
    b"a",
];

/// A name: often an edge, otherwise any text of up to 24 characters.
pub(crate) fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(EDGE_NAMES).prop_map(str::to_owned),
        2 => "[a-c:*\\[\\]?]{1,6}",
        2 => vec(any::<char>(), 1..24).prop_map(|name| name.into_iter().collect()),
    ]
}

/// Different names, `count` of them.
pub(crate) fn names(
    count: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::btree_set(name(), count)
        .prop_map(|names| names.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

/// A name that is with `scope` exactly as long as a name may be.
pub(crate) fn longest_name(scope: &str, last: char) -> String {
    let mut name = "k".repeat(MAX_NAME_LEN - scope.len() - last.len_utf8());
    name.push(last);
    name
}

/// A value: often an edge, otherwise any bytes, sometimes some kilobytes.
pub(crate) fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => select(EDGE_VALUES).prop_map(Bytes::from_static),
        3 => vec(any::<u8>(), 0..64).prop_map(Bytes::from),
        1 => (any::<u8>(), 1_usize..5_000).prop_map(|(seed, len)| patterned(seed, len)),
    ]
}

/// `len` bytes without a period, so that a cut, a shift or a mixture is seen.
pub(crate) fn patterned(seed: u8, len: usize) -> Bytes {
    let mut state = u32::from(seed) | 0x5eed_0000;
    let mut bytes = Vec::with_capacity(len + 4);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// A counter's value: small ones, the edges of `i64`, and what a double cannot hold.
pub(crate) fn count() -> impl Strategy<Value = i64> {
    const DOUBLE: i64 = 1 << 53;
    prop_oneof![
        3 => -20_i64..20,
        2 => any::<i64>(),
        2 => select(&[
            0, 1, -1, 9, 10, -9, -10, DOUBLE, DOUBLE + 1, -DOUBLE - 1, 2_147_483_647,
            -2_147_483_648, 4_294_967_296, i64::MAX, i64::MAX - 1, i64::MIN,
            i64::MIN + 1,
        ][..]),
        1 => Just(0),
    ]
}

/// A ttl in milliseconds that does not end while a test runs: from an hour to the longest.
pub(crate) fn long_ttl() -> impl Strategy<Value = u64> {
    const HOUR: u64 = 3_600_000;
    prop_oneof![
        2 => HOUR..100 * HOUR,
        2 => select(&[
            HOUR,
            24 * HOUR,
            30 * 24 * HOUR,
            (1 << 31) - 1,
            1 << 31,
            (1 << 32) - 1,
            1 << 32,
            (1 << 32) + 1,
            365 * 24 * HOUR,
        ][..]),
    ]
}
