//! The only place that validates, prefixes and escapes keys and channels.
//!
//! A physical name is `prefix` + `scopes` + `name`, where each scope is `~kind:id:` with `%`, `:`
//! and `~` inside of kind and id written as `%25`, `%3A` and `%7E`, and a name that begins with
//! `~` gets one more. So the name behind the scopes never looks like a scope, and two different
//! (scopes, name) never give the same physical name.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use crate::MAX_NAME_LEN;
use crate::error::{Error, ErrorKind, Result};
use crate::pattern;

/// What begins a scope in a physical name.
const SCOPE_MARK: char = '~';
const SCOPE_MARK_BYTE: u8 = b'~';

/// The longest pattern, with its prefix: room for the longest name with every byte escaped.
const MAX_PATTERN_LEN: usize = 2 * MAX_NAME_LEN;

/// One kind of names of a store, keys or channels, with what stands in front of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    front: Arc<str>,
    what: &'static str,
}

impl Namespace {
    pub(crate) fn keys() -> Self {
        Self {
            front: Arc::from(""),
            what: "key",
        }
    }

    pub(crate) fn channels() -> Self {
        Self {
            front: Arc::from(""),
            what: "channel",
        }
    }

    /// What stands in front of every physical name.
    pub(crate) fn front(&self) -> &str {
        &self.front
    }

    /// The namespace with `prefix`, as it is, behind what it has.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Self {
        self.with_front(format!("{}{prefix}", self.front))
    }

    /// The namespace of a scope inside of this one.
    pub(crate) fn with_scope(&self, kind: &str, id: &str) -> Self {
        let (kind, id) = (escape_segment(kind), escape_segment(id));
        self.with_front(format!("{}{SCOPE_MARK}{kind}:{id}:", self.front))
    }

    /// The physical form of `name`; borrowed where it is the same.
    #[inline]
    pub(crate) fn physical<'a>(&self, name: &'a str) -> Result<Cow<'a, str>> {
        let is_its_own = self.front.is_empty() && !name.starts_with(SCOPE_MARK);
        if is_its_own && (1..=MAX_NAME_LEN).contains(&name.len()) {
            return Ok(Cow::Borrowed(name));
        }
        self.joined(name).map(Cow::Owned)
    }

    fn joined(&self, name: &str) -> Result<String> {
        if name.is_empty() {
            return Err(self.invalid("is empty; it must have at least one byte"));
        }
        let physical = self.join(name);
        if physical.len() > MAX_NAME_LEN {
            return Err(self.invalid(&format!(
                "has {} bytes with its prefix; at most {MAX_NAME_LEN} are possible",
                physical.len()
            )));
        }
        Ok(physical)
    }

    /// The physical form of the beginning of names, which may be empty.
    pub(crate) fn physical_prefix(&self, prefix: &str) -> Result<String> {
        if prefix.is_empty() {
            return Ok(self.front.to_string());
        }
        let physical = self.join(prefix);
        if physical.len() > MAX_NAME_LEN {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "the prefix to scan for has {} bytes with the prefix of the store; no key has \
                     more than {MAX_NAME_LEN}",
                    physical.len()
                ),
            ));
        }
        Ok(physical)
    }

    /// The name as the user gave it; `None` where the physical name is not of this namespace,
    /// which includes the names of scopes inside of it, and the bare prefix, which is no name.
    pub(crate) fn logical<'a>(&self, physical: &'a str) -> Option<&'a str> {
        let name = physical.strip_prefix(&*self.front)?;
        match name.strip_prefix(SCOPE_MARK) {
            None => (!name.is_empty()).then_some(name),
            Some(escaped) => escaped.starts_with(SCOPE_MARK).then_some(escaped),
        }
    }

    /// A pattern of physical names that matches at least what `pattern` does in this namespace.
    ///
    /// More may match, so [`logical`](Self::logical) and the pattern itself decide on each event.
    pub(crate) fn physical_pattern(&self, user_pattern: &str) -> Result<String> {
        if user_pattern.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the pattern is empty; `*` matches every channel",
            ));
        }
        if !pattern::has_ascii_ranges(user_pattern.as_bytes()) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a range in brackets of the pattern goes beyond ASCII, where servers differ; use \
                 `?` or `*` for such characters",
            ));
        }
        let front = pattern::escape(&self.front);
        // The first byte of a name may be the mark, which is doubled in the physical name.
        let after_mark = pattern::match_one(user_pattern.as_bytes(), SCOPE_MARK_BYTE);
        let physical = match (user_pattern.as_bytes(), after_mark) {
            ([b'*', ..], _) | (_, None) => format!("{front}{user_pattern}"),
            ([SCOPE_MARK_BYTE | b'\\', ..], Some(_)) => {
                format!("{front}{SCOPE_MARK}{user_pattern}")
            }
            (_, Some(rest)) => format!("{front}*{}", String::from_utf8_lossy(rest)),
        };
        if physical.len() > MAX_PATTERN_LEN {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "the pattern has {} bytes with its prefix; at most {MAX_PATTERN_LEN} are \
                     possible",
                    physical.len()
                ),
            ));
        }
        Ok(physical)
    }

    fn join(&self, name: &str) -> String {
        let marked = name.starts_with(SCOPE_MARK);
        let mut physical = String::with_capacity(self.front.len() + name.len() + 1);
        physical.push_str(&self.front);
        if marked {
            physical.push(SCOPE_MARK);
        }
        physical.push_str(name);
        physical
    }

    fn with_front(&self, front: String) -> Self {
        Self {
            front: Arc::from(front),
            what: self.what,
        }
    }

    fn invalid(&self, why: &str) -> Error {
        Error::new(ErrorKind::InvalidInput, format!("the {} {why}", self.what))
    }
}

fn escape_segment(segment: &str) -> String {
    if segment.is_empty() {
        // A lone `%` is the escape of nothing else, and keeps `~:` free for other kinds of names.
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(segment.len());
    for character in segment.chars() {
        match character {
            '%' | ':' | SCOPE_MARK => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "%{:02X}", u32::from(character));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn physical(namespace: &Namespace, name: &str) -> String {
        namespace.physical(name).unwrap().into_owned()
    }

    #[test]
    fn a_name_without_prefix_is_borrowed() {
        let keys = Namespace::keys();
        assert!(matches!(
            keys.physical("user:1"),
            Ok(Cow::Borrowed("user:1"))
        ));
    }

    #[test]
    fn scopes_and_names_never_meet() {
        let keys = Namespace::keys();
        let mut seen = std::collections::HashMap::new();
        let segments = ["", "a", "a:", ":b", "b", "~", "a:kv", "%", "%3A", "~a:b:"];
        let mut check = |namespace: &Namespace, path: String| {
            for name in ["a", ":b", "b", "kv:b", "~", "~a:b:x", "~~a:b:x", "%3A", "x"] {
                let name_path = format!("{path} name={name:?}");
                if let Some(other) = seen.insert(physical(namespace, name), name_path.clone()) {
                    panic!("{name_path} and {other} are one physical key");
                }
                let own = physical(namespace, name);
                assert_eq!(namespace.logical(&own), Some(name));
            }
        };
        check(&keys, "root".to_owned());
        for kind in segments {
            for id in segments {
                let outer = keys.with_scope(kind, id);
                check(&outer, format!("{kind:?}={id:?}"));
                for inner in segments {
                    check(
                        &outer.with_scope("w", inner),
                        format!("{kind:?}={id:?} w={inner:?}"),
                    );
                }
            }
        }
    }

    #[test]
    fn a_scope_inside_is_not_of_the_outer_namespace() {
        let outer = Namespace::keys().with_scope("organization", "1");
        let inner = physical(&outer.with_scope("workspace", "2"), "k");
        assert_eq!(inner, "~organization:1:~workspace:2:k");
        assert_eq!(outer.logical(&inner), None);
    }

    #[test]
    fn the_length_counts_the_prefix() {
        let keys = Namespace::keys().with_prefix("p:");
        assert!(keys.physical(&"k".repeat(MAX_NAME_LEN - 2)).is_ok());
        let error = keys.physical(&"k".repeat(MAX_NAME_LEN - 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            "the key has 4097 bytes with its prefix; at most 4096 are possible"
        );
    }

    #[test]
    fn an_empty_name_is_told_as_a_key_or_a_channel() {
        for (names, what) in [
            (Namespace::keys(), "key"),
            (Namespace::channels(), "channel"),
        ] {
            assert_eq!(
                names.physical("").unwrap_err().to_string(),
                format!("the {what} is empty; it must have at least one byte")
            );
        }
    }

    #[test]
    fn a_physical_pattern_covers_every_logical_match_and_little_more() {
        let channels = Namespace::channels().with_prefix("p*").with_scope("o", "1");
        for (user_pattern, channel) in [
            ("*", "~x"),
            ("?x", "~x"),
            ("?x", "ax"),
            ("[~]x", "~x"),
            ("[^a]x", "~x"),
            ("\\~x", "~x"),
            ("~*", "~x"),
            ("a*", "ab"),
            ("[ab]*", "ab"),
            ("\\*x", "*x"),
        ] {
            let physical_pattern = channels.physical_pattern(user_pattern).unwrap();
            let matches = |channel| {
                let physical = physical(&channels, channel);
                pattern::matches(physical_pattern.as_bytes(), physical.as_bytes())
            };
            assert!(pattern::matches(
                user_pattern.as_bytes(),
                channel.as_bytes()
            ));
            assert!(matches(channel), "{user_pattern} as {physical_pattern}");
            let takes_all = user_pattern == "*";
            assert_eq!(matches("other"), takes_all, "{physical_pattern}");
        }
    }

    #[test]
    fn any_name_may_be_escaped_to_a_pattern() {
        let channels = Namespace::channels().with_prefix("[");
        let name = "*".repeat(MAX_NAME_LEN - 1);
        assert!(channels.physical(&name).is_ok());
        assert!(channels.physical_pattern(&pattern::escape(&name)).is_ok());
        let error = channels.physical_pattern(&"a".repeat(MAX_PATTERN_LEN - 1));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_range_beyond_ascii_is_refused() {
        let error = Namespace::channels().physical_pattern("x[b-é]");
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(Namespace::channels().physical_pattern("é[éa-z]").is_ok());
    }

    #[test]
    fn the_bare_prefix_is_no_name() {
        let keys = Namespace::keys().with_prefix("p:");
        assert_eq!(keys.logical("p:"), None);
        assert_eq!(keys.logical("p:k"), Some("k"));
    }
}
