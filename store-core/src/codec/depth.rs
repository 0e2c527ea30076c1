//! How deep a value of MessagePack nests, told without reading it.
//!
//! Separate since rmp-serde cannot be asked to: it counts the arrays and maps that it reads as such,
//! but not the map that is a variant of an enum, and an enum that holds itself could be nested until
//! the stack is exhausted.

/// How many arrays and maps may be inside of each other, as in JSON.
pub(super) const MAX_DEPTH: usize = 127;

/// Whether more than [`MAX_DEPTH`] arrays and maps are inside of each other in the value that `bytes`
/// begin with.
pub(super) fn is_too_deep(bytes: &[u8]) -> bool {
    // Each of them takes a byte at least.
    if bytes.len() <= MAX_DEPTH {
        return false;
    }
    // Of those that are open, how many values are still to come.
    let mut open = [0_u64; MAX_DEPTH];
    let mut depth = 0;
    let mut rest = bytes;
    while let Some((length, values)) = head(rest) {
        rest = rest.get(length..).unwrap_or_default();
        if let Some(values) = values {
            let Some(place) = open.get_mut(depth) else {
                return true;
            };
            if values > 0 {
                *place = values;
                depth += 1;
                continue;
            }
        }
        // A value is complete, and with it those that it was the last one of.
        loop {
            let Some(innermost) = depth.checked_sub(1) else {
                return false;
            };
            open[innermost] -= 1;
            if open[innermost] > 0 {
                break;
            }
            depth = innermost;
        }
    }
    false
}

/// The length of what `bytes` begin with, and for an array or a map how many values come next and
/// are inside of it. `None` where the bytes end too early.
fn head(bytes: &[u8]) -> Option<(usize, Option<u64>)> {
    let number = |length: usize| {
        let bytes = bytes.get(1..=length)?;
        let number = bytes
            .iter()
            .fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        Some(number)
    };
    let data = |width: usize, more: usize| {
        let length = number(width)? as usize;
        Some((length.saturating_add(1 + width + more), None))
    };
    let array = |width: usize| Some((1 + width, Some(u64::from(number(width)?))));
    let map = |width: usize| Some((1 + width, Some(2 * u64::from(number(width)?))));
    let marker = *bytes.first()?;
    match marker {
        0x80..=0x8f => Some((1, Some(2 * u64::from(marker & 0x0f)))),
        0x90..=0x9f => Some((1, Some(u64::from(marker & 0x0f)))),
        0xa0..=0xbf => Some((1 + usize::from(marker & 0x1f), None)),
        // Bytes and text.
        0xc4 | 0xd9 => data(1, 0),
        0xc5 | 0xda => data(2, 0),
        0xc6 | 0xdb => data(4, 0),
        // Extensions, which have a byte for their type.
        0xc7 => data(1, 1),
        0xc8 => data(2, 1),
        0xc9 => data(4, 1),
        0xd4..=0xd8 => Some((2 + (1 << (marker - 0xd4)), None)),
        // Numbers.
        0xcc | 0xd0 => Some((2, None)),
        0xcd | 0xd1 => Some((3, None)),
        0xca | 0xce | 0xd2 => Some((5, None)),
        0xcb | 0xcf | 0xd3 => Some((9, None)),
        0xdc => array(2),
        0xdd => array(4),
        0xde => map(2),
        0xdf => map(4),
        // Small integers, nil, booleans, and the one that is never used.
        _ => Some((1, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is nested in itself, and what the innermost one holds.
    fn nested(depth: usize, outer: &[u8], inner: &[u8]) -> Vec<u8> {
        [outer.repeat(depth), inner.to_vec()].concat()
    }

    #[test]
    fn arrays_and_maps_of_every_form_count() {
        for outer in [
            b"\x91".as_slice(),
            b"\x81\x01",
            b"\x82\x01\x02\xa1x",
            b"\xdc\0\x01",
            b"\xdd\0\0\0\x01",
            b"\xde\0\x01\xa3key",
            b"\xdf\0\0\0\x01\x07",
            // Behind others, of which none is left open.
            b"\x94\x05\xc0\xa1x",
        ] {
            assert!(!is_too_deep(&nested(MAX_DEPTH, outer, &[7])), "{outer:x?}");
            assert!(
                is_too_deep(&nested(MAX_DEPTH + 1, outer, &[7])),
                "{outer:x?}"
            );
            let empty = nested(MAX_DEPTH, outer, &[0x90]);
            assert!(is_too_deep(&empty), "{outer:x?} and an empty one");
            // As where a length is a lie and the end is missing.
            assert!(is_too_deep(&nested(60_000, outer, &[])), "{outer:x?}");
        }
    }

    #[test]
    fn what_is_beside_each_other_is_not_deep() {
        let many = nested(1, b"\xdd\0\0\xff\xff", &b"\x91\x81\x01\x90".repeat(0xffff));
        assert!(!is_too_deep(&many));
        // What comes behind the value is no part of it.
        assert!(!is_too_deep(&nested(1, b"\x07", &[0x91; 1_000])));
    }

    #[test]
    fn what_is_in_texts_and_bytes_is_not_looked_into() {
        let inside = [0x91_u8; 0xff];
        for head in [
            b"\xd9\xff".as_slice(),
            b"\xda\0\xff",
            b"\xdb\0\0\0\xff",
            b"\xc4\xff",
            b"\xc5\0\xff",
            b"\xc6\0\0\0\xff",
            b"\xc7\xff\x05",
            b"\xc8\0\xff\x05",
            b"\xc9\0\0\0\xff\x05",
        ] {
            let value = [b"\x92".as_slice(), head, &inside, &[0x91; 126], &[7]].concat();
            assert!(!is_too_deep(&value), "{head:x?}");
            let value = [b"\x92".as_slice(), head, &inside, &[0x91; 127], &[7]].concat();
            assert!(is_too_deep(&value), "{head:x?}");
        }
    }

    #[test]
    fn every_value_without_others_inside_has_its_length() {
        let with_zeroes = |marker: u8, zeroes: usize| [vec![marker], vec![0; zeroes]].concat();
        let lengths = [
            (0x00, 0),
            (0x7f, 0),
            (0xc0, 0),
            (0xc2, 0),
            (0xc3, 0),
            (0xe0, 0),
            (0xff, 0),
            (0xa0, 0),
            (0xa5, 5),
            (0xbf, 31),
            (0xcc, 1),
            (0xcd, 2),
            (0xce, 4),
            (0xcf, 8),
            (0xd0, 1),
            (0xd1, 2),
            (0xd2, 4),
            (0xd3, 8),
            (0xca, 4),
            (0xcb, 8),
            (0xd4, 2),
            (0xd5, 3),
            (0xd6, 5),
            (0xd7, 9),
            (0xd8, 17),
        ];
        for (marker, zeroes) in lengths {
            let scalar = with_zeroes(marker, zeroes);
            assert_eq!(head(&scalar), Some((scalar.len(), None)), "{marker:#x}");
        }
    }
}
