//! Channel patterns: the reference matcher, and how to make a text literal.
//!
//! The rules are those of Redis's `PSUBSCRIBE`, on bytes. Drivers without a matcher of their own
//! use this one; the others are checked against it.

/// Answers whether `pattern` matches all of `text`.
///
/// | pattern | matches |
/// |---|---|
/// | `*` | any bytes, also none |
/// | `?` | one byte |
/// | `[ab]` | one byte out of these |
/// | `[a-c]` | one byte of this range, in either order |
/// | `[^a]` | one byte that is none of these |
/// | `\*` | the byte after the backslash, also inside of brackets |
///
/// As in Redis, a bracket that is not closed ends with the pattern, and a backslash at the end
/// stands for itself. `?` is one byte, not one character. What a range with an end beyond ASCII
/// matches depends on the machine that Redis runs on, so a store refuses such a pattern.
///
/// ```
/// use store_core::pattern::matches;
///
/// assert!(matches(b"user:*", b"user:1"));
/// assert!(matches(b"user:[0-9]", b"user:1"));
/// assert!(!matches(b"user:?", b"user:10"));
/// ```
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut text) = (pattern, text);
    // Everything but a star takes exactly one byte, so only the last star needs another try.
    let mut last_star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', after @ ..] = rest {
            last_star = Some((after, text));
            rest = after;
            continue;
        }
        if let [byte, after_byte @ ..] = text
            && let Some(after) = match_one(rest, *byte)
        {
            (rest, text) = (after, after_byte);
            continue;
        }
        if rest.is_empty() && text.is_empty() {
            return true;
        }
        let Some((after, [_, shorter @ ..])) = last_star else {
            return false;
        };
        last_star = Some((after, shorter));
        (rest, text) = (after, shorter);
    }
}

/// Makes `text` a pattern that matches `text` alone.
///
/// ```
/// use store_core::pattern::{escape, matches};
///
/// assert!(matches(escape("a*[b]").as_bytes(), b"a*[b]"));
/// assert!(!matches(escape("a*").as_bytes(), b"ab"));
/// ```
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Matches `byte` against the first element of `pattern`, which is not a star; answers the rest of
/// the pattern.
pub(crate) fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', b'^', rest @ ..] => {
            let (found, rest) = match_class(rest, byte);
            (!found).then_some(rest)
        }
        [b'[', rest @ ..] => {
            let (found, rest) = match_class(rest, byte);
            found.then_some(rest)
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// Looks for `byte` in the bracket whose inside begins at `class`; answers the rest behind it.
fn match_class(mut class: &[u8], byte: u8) -> (bool, &[u8]) {
    let mut found = false;
    loop {
        class = match class {
            [] => return (found, class),
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (found, rest),
            [from, b'-', to, rest @ ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    }
}

/// Whether every range in a bracket goes from ASCII to ASCII.
pub(crate) fn has_ascii_ranges(mut pattern: &[u8]) -> bool {
    let mut is_in_bracket = false;
    loop {
        pattern = match pattern {
            [] => return true,
            [b'\\', _, rest @ ..] => rest,
            [b'[', b'^', rest @ ..] | [b'[', rest @ ..] if !is_in_bracket => {
                is_in_bracket = true;
                rest
            }
            [b']', rest @ ..] if is_in_bracket => {
                is_in_bracket = false;
                rest
            }
            [from, b'-', to, rest @ ..] if is_in_bracket => {
                if !(from.is_ascii() && to.is_ascii()) {
                    return false;
                }
                rest
            }
            [_, rest @ ..] => rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn stars_match_any_run_of_bytes() {
        assert!(check("*", "a"));
        assert!(check("a*", "a"));
        assert!(check("a**c", "abc"));
        assert!(check("*b*d*", "abcd"));
        assert!(check("*ab", "aab"));
        assert!(!check("a*c", "abd"));
        assert!(!check("a*", "ba"));
    }

    #[test]
    fn a_bracket_matches_one_byte() {
        assert!(check("[ab]c", "bc"));
        assert!(check("[a-c]", "b"));
        assert!(check("[c-a]", "b"));
        assert!(check("[^a]", "b"));
        assert!(!check("[^a-c]", "b"));
        assert!(check("[\\]]", "]"));
        assert!(!check("[]", "a"));
    }

    #[test]
    fn unfinished_elements_are_read_as_redis_reads_them() {
        assert!(check("[ab", "b"));
        assert!(!check("[", "["));
        assert!(check("[^", "x"));
        assert!(check("[a-", "-"));
        assert!(check("[a-]", "_"), "the range from `]` to `a`");
        assert!(check("a\\", "a\\"));
    }

    #[test]
    fn a_long_row_of_stars_ends_soon() {
        assert!(!check(
            &"a*".repeat(60),
            &"a".repeat(4_000).replace("aaaa", "aaab")[1..59]
        ));
    }

    #[test]
    fn ranges_are_told_from_what_looks_like_them() {
        let has = |pattern: &str| has_ascii_ranges(pattern.as_bytes());
        for fine in [
            "é-é",
            "[a-z]é-é",
            "[é]",
            "[a-z]-é",
            "[]é-é",
            "\\[a-é]",
            "[é",
        ] {
            assert!(has(fine), "{fine}");
        }
        for not in ["[a-é]", "[^é-z]", "x[ab-é", "[[-é]", "[a-zé-é]"] {
            assert!(!has(not), "{not}");
        }
    }

    #[test]
    fn bytes_are_matched_not_characters() {
        assert!(check("??", "é"));
        assert!(!check("?", "é"));
    }
}
