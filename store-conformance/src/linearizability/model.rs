//! What one key does, step by step: the sequential meaning of each call.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use store_core::{Bytes, ErrorKind};

/// What an operation asks of a key. Deadlines are not part of this model.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// The value.
    Get,
    /// Whether there is one.
    Has,
    /// Writes in any case.
    Set(Bytes),
    /// Writes where nothing is there.
    SetIfAbsent(Bytes),
    /// Writes where something is there.
    SetIfPresent(Bytes),
    /// Writes the second where the first is there.
    CompareAndSet(Bytes, Bytes),
    /// Removes where this is there.
    CompareAndDelete(Bytes),
    /// Removes.
    Delete,
    /// Removes and answers what was there.
    Take,
    /// Writes and answers what was there.
    Replace(Bytes),
    /// Adds to the counter.
    Increment(i64),
}

/// What came back.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A value, or that there is none.
    Value(Option<Bytes>),
    /// Whether something was there or was done.
    Did(bool),
    /// The new count.
    Count(i64),
    /// A refusal that changed nothing.
    Refused(ErrorKind),
}

impl Call {
    /// What the key holds after this call, and the answer.
    #[must_use]
    pub fn apply(&self, state: &Option<Bytes>) -> (Option<Bytes>, Answer) {
        let same = || state.clone();
        let is_there = state.is_some();
        let equals = |expected: &Bytes| state.as_ref() == Some(expected);
        let write_if = |condition: bool, value: &Bytes| {
            let after = if condition {
                Some(value.clone())
            } else {
                same()
            };
            (after, Answer::Did(condition))
        };
        match self {
            Self::Get => (same(), Answer::Value(same())),
            Self::Has => (same(), Answer::Did(is_there)),
            Self::Set(value) => write_if(true, value),
            Self::SetIfAbsent(value) => write_if(!is_there, value),
            Self::SetIfPresent(value) => write_if(is_there, value),
            Self::CompareAndSet(expected, value) => write_if(equals(expected), value),
            Self::CompareAndDelete(expected) if equals(expected) => (None, Answer::Did(true)),
            Self::CompareAndDelete(_) => (same(), Answer::Did(false)),
            Self::Delete => (None, Answer::Did(is_there)),
            Self::Take => (None, Answer::Value(same())),
            Self::Replace(value) => (Some(value.clone()), Answer::Value(same())),
            Self::Increment(delta) => match add(state.as_deref(), *delta) {
                Ok(sum) => (Some(Bytes::from(sum.to_string())), Answer::Count(sum)),
                Err(kind) => (same(), Answer::Refused(kind)),
            },
        }
    }
}

/// Values longer than this are known by their hash, so that a search need not compare them.
const LONGEST_KEPT: usize = 256;

fn condense(value: &Bytes) -> Bytes {
    if value.len() <= LONGEST_KEPT {
        return value.clone();
    }
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let head = value[..16].escape_ascii();
    let text = format!(
        "{} bytes from \"{head}\", hash {:016x}",
        value.len(),
        hasher.finish()
    );
    Bytes::from(text)
}

impl Call {
    /// The same call with long values replaced by their hash.
    pub(super) fn condensed(&self) -> Self {
        match self {
            Self::Set(value) => Self::Set(condense(value)),
            Self::SetIfAbsent(value) => Self::SetIfAbsent(condense(value)),
            Self::SetIfPresent(value) => Self::SetIfPresent(condense(value)),
            Self::CompareAndSet(expected, value) => {
                Self::CompareAndSet(condense(expected), condense(value))
            }
            Self::CompareAndDelete(expected) => Self::CompareAndDelete(condense(expected)),
            Self::Replace(value) => Self::Replace(condense(value)),
            other => other.clone(),
        }
    }
}

impl Answer {
    /// The same answer with a long value replaced by its hash.
    pub(super) fn condensed(&self) -> Self {
        match self {
            Self::Value(Some(value)) => Self::Value(Some(condense(value))),
            other => other.clone(),
        }
    }
}

fn add(value: Option<&[u8]>, delta: i64) -> Result<i64, ErrorKind> {
    let Some(value) = value else {
        return Ok(delta);
    };
    let text = std::str::from_utf8(value).map_err(|_| ErrorKind::WrongType)?;
    let count: i64 = text.parse().map_err(|_| ErrorKind::WrongType)?;
    if count.to_string() != text {
        return Err(ErrorKind::WrongType);
    }
    count.checked_add(delta).ok_or(ErrorKind::Overflow)
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get => write!(f, "get"),
            Self::Has => write!(f, "has"),
            Self::Set(value) => write!(f, "set {}", show_bytes(value)),
            Self::SetIfAbsent(value) => write!(f, "set if absent {}", show_bytes(value)),
            Self::SetIfPresent(value) => write!(f, "set if present {}", show_bytes(value)),
            Self::CompareAndSet(expected, value) => {
                write!(f, "set if {}: {}", show_bytes(expected), show_bytes(value))
            }
            Self::CompareAndDelete(expected) => write!(f, "delete if {}", show_bytes(expected)),
            Self::Delete => write!(f, "delete"),
            Self::Take => write!(f, "take"),
            Self::Replace(value) => write!(f, "replace by {}", show_bytes(value)),
            Self::Increment(delta) => write!(f, "increment by {delta}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(None) => write!(f, "nothing"),
            Self::Value(Some(value)) => write!(f, "{}", show_bytes(value)),
            Self::Did(did) => write!(f, "{did}"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Refused(kind) => write!(f, "{kind:?}"),
        }
    }
}

fn show_bytes(value: &[u8]) -> String {
    const SHOWN: usize = 40;
    match value.get(..SHOWN) {
        Some(head) => format!("\"{}…\" ({} bytes)", head.escape_ascii(), value.len()),
        None => format!("\"{}\"", value.escape_ascii()),
    }
}
