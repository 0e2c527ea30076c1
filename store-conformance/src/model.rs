//! The reference map: what every sequence of operations must answer.
//!
//! Pure, with a clock that counts milliseconds and moves only when told to, so that it is easy to
//! read as the specification that it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use store_core::{Bytes, ErrorKind, Ttl};

/// One operation, on names without scope.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Get(String),
    Set(String, Bytes, Expires, When),
    Delete(String),
    Has(String),
    Increment(String, i64, Option<u64>),
    Expire(String, u64),
    Persist(String),
    Ttl(String),
    GetMany(Vec<String>),
    SetMany(Vec<(String, Bytes)>, Option<u64>),
    DeleteMany(Vec<String>),
    Take(String),
    Replace(String, Bytes, Expires),
    CompareAndDelete(String, Expected),
    /// Everything that begins with a text, in pages of a size.
    Scan(String, usize),
    /// Milliseconds pass.
    Advance(u64),
}

impl Operation {
    /// Whether it moves the clock and asks no driver.
    pub(crate) fn is_time(&self) -> bool {
        matches!(self, Self::Advance(_))
    }
}

/// What a write does to the deadline; a ttl is in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expires {
    Never,
    After(u64),
    Keep,
}

/// When a set writes.
#[derive(Clone, Debug)]
pub(crate) enum When {
    Always,
    IfAbsent,
    IfPresent,
    IfEquals(Expected),
}

/// A value to compare with.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// The value that the key has then; the empty one where it has none.
    Current,
    /// This one.
    Is(Bytes),
}

/// What an operation answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Flag(bool),
    Value(Option<Bytes>),
    Values(Vec<Option<Bytes>>),
    Count(i64),
    Removed(u64),
    Ttl(Ttl),
    Keys(BTreeSet<String>),
    Error(ErrorKind),
}

impl Answer {
    /// Whether both say the same, where a remaining ttl may be lower by `late` or higher by `early`.
    pub(crate) fn agrees(&self, expected: &Self, late: Duration, early: Duration) -> bool {
        match (self, expected) {
            (Self::Ttl(Ttl::Left(left)), Self::Ttl(Ttl::Left(expected))) => {
                *left + late >= *expected && *left <= *expected + early
            }
            _ => self == expected,
        }
    }
}

/// The reference map.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    now: u64,
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    deadline: Option<u64>,
}

impl Model {
    /// The value that a comparison of `key` is made with.
    pub(crate) fn expected(&self, key: &str, expected: &Expected) -> Bytes {
        match expected {
            Expected::Is(value) => value.clone(),
            Expected::Current => self.value(key).unwrap_or_default(),
        }
    }

    /// Applies `operation` and answers what a driver must answer.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Get(key) => Answer::Value(self.value(key)),
            Operation::Set(key, value, expires, when) => {
                let old = self.value(key);
                let holds = match when {
                    When::Always => true,
                    When::IfAbsent => old.is_none(),
                    When::IfPresent => old.is_some(),
                    When::IfEquals(expected) => {
                        old.is_some() && old == Some(self.expected(key, expected))
                    }
                };
                if holds {
                    self.write(key, value, *expires);
                }
                Answer::Flag(holds)
            }
            Operation::Delete(key) => Answer::Flag(self.remove(key).is_some()),
            Operation::Has(key) => Answer::Flag(self.value(key).is_some()),
            Operation::Increment(key, delta, initial) => self.increment(key, *delta, *initial),
            Operation::Expire(key, ttl) => {
                let deadline = self.now + ttl;
                let entry = self.live(key);
                Answer::Flag(entry.map(|entry| entry.deadline = Some(deadline)).is_some())
            }
            Operation::Persist(key) => {
                let entry = self.live(key);
                Answer::Flag(entry.is_some_and(|entry| entry.deadline.take().is_some()))
            }
            Operation::Ttl(key) => Answer::Ttl(self.ttl(key)),
            Operation::GetMany(keys) => {
                Answer::Values(keys.iter().map(|key| self.value(key)).collect())
            }
            Operation::SetMany(entries, ttl) => {
                let expires = ttl.map_or(Expires::Never, Expires::After);
                for (key, value) in entries {
                    self.write(key, value, expires);
                }
                Answer::Done
            }
            Operation::DeleteMany(keys) => {
                let removed = keys.iter().filter(|key| self.remove(key).is_some());
                Answer::Removed(removed.count() as u64)
            }
            Operation::Take(key) => Answer::Value(self.remove(key)),
            Operation::Replace(key, value, expires) => {
                let old = self.value(key);
                self.write(key, value, *expires);
                Answer::Value(old)
            }
            Operation::CompareAndDelete(key, expected) => {
                let expected = self.expected(key, expected);
                let equal = self.value(key) == Some(expected);
                if equal {
                    self.remove(key);
                }
                Answer::Flag(equal)
            }
            Operation::Scan(prefix, _) => Answer::Keys(self.keys(prefix)),
            Operation::Advance(millis) => {
                self.now += millis;
                Answer::Done
            }
        }
    }

    fn is_live(&self, entry: &Entry) -> bool {
        entry.deadline.is_none_or(|deadline| self.now < deadline)
    }

    fn value(&self, key: &str) -> Option<Bytes> {
        let entry = self.entries.get(key)?;
        self.is_live(entry).then(|| entry.value.clone())
    }

    fn live(&mut self, key: &str) -> Option<&mut Entry> {
        let now = self.now;
        let entry = self.entries.get_mut(key)?;
        entry
            .deadline
            .is_none_or(|deadline| now < deadline)
            .then_some(entry)
    }

    fn write(&mut self, key: &str, value: &Bytes, expires: Expires) {
        let deadline = match expires {
            Expires::Never => None,
            Expires::After(ttl) => Some(self.now + ttl),
            Expires::Keep => self.live(key).and_then(|entry| entry.deadline),
        };
        let value = value.clone();
        self.entries
            .insert(key.to_owned(), Entry { value, deadline });
    }

    fn remove(&mut self, key: &str) -> Option<Bytes> {
        let value = self.value(key);
        self.entries.remove(key);
        value
    }

    fn increment(&mut self, key: &str, delta: i64, initial: Option<u64>) -> Answer {
        let Some(old) = self.value(key) else {
            let expires = initial.map_or(Expires::Never, Expires::After);
            self.write(key, &decimal(delta), expires);
            return Answer::Count(delta);
        };
        let Some(count) = parse_counter(&old) else {
            return Answer::Error(ErrorKind::WrongType);
        };
        let Some(sum) = count.checked_add(delta) else {
            return Answer::Error(ErrorKind::Overflow);
        };
        self.write(key, &decimal(sum), Expires::Keep);
        Answer::Count(sum)
    }

    fn ttl(&self, key: &str) -> Ttl {
        let Some(entry) = self.entries.get(key).filter(|entry| self.is_live(entry)) else {
            return Ttl::Missing;
        };
        entry.deadline.map_or(Ttl::Forever, |deadline| {
            Ttl::Left(Duration::from_millis(deadline - self.now))
        })
    }

    fn keys(&self, prefix: &str) -> BTreeSet<String> {
        let live = self.entries.iter().filter(|(_, entry)| self.is_live(entry));
        live.filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

/// How a counter is stored.
pub(crate) fn decimal(count: i64) -> Bytes {
    Bytes::from(count.to_string())
}

/// Reads a counter: `0`, or digits without a leading zero, with at most a minus before them.
pub(crate) fn parse_counter(value: &[u8]) -> Option<i64> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let canonical = match digits {
        [b'0'] => value.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let text = std::str::from_utf8(value).ok().filter(|_| canonical)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_canonical_decimal() {
        for (text, count) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("10", Some(10)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+5", None),
            ("05", None),
            (" 5", None),
            ("5 ", None),
        ] {
            assert_eq!(parse_counter(text.as_bytes()), count, "{text:?}");
        }
    }

    #[test]
    fn an_entry_is_gone_at_its_deadline() {
        let mut model = Model::default();
        let key = || "k".to_owned();
        let set = Operation::Set(key(), Bytes::new(), Expires::After(5), When::Always);
        assert_eq!(model.apply(&set), Answer::Flag(true));
        model.apply(&Operation::Advance(4));
        assert_eq!(model.apply(&Operation::Has(key())), Answer::Flag(true));
        model.apply(&Operation::Advance(1));
        assert_eq!(model.apply(&Operation::Has(key())), Answer::Flag(false));
        assert_eq!(
            model.apply(&Operation::Ttl(key())),
            Answer::Ttl(Ttl::Missing)
        );
    }
}
