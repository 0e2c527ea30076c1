//! Sequences of operations: how they are generated, and how a driver is asked one.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::sample::select;
use proptest::strategy::Union;
use store_core::{Bytes, Condition, Expiry, StoreAdapter};

use crate::case::{Case, CaseResult, Failure, millis};
use crate::clock::Clock;
use crate::config::Config;
use crate::handle::Handle;
use crate::laws::scan_all;
use crate::model::{Answer, Expected, Expires, Model, Operation, When};
use crate::strategies::count;

/// Which operations a sequence is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surface {
    clock: Clock,
    ttl: bool,
    counter: bool,
    batch: bool,
    conditional: bool,
    scan: bool,
}

impl Surface {
    /// All that is not left out.
    pub(crate) fn of(config: &Config, clock: Clock) -> Self {
        let has = |group: &str| !config.without.contains_key(group);
        Self {
            clock,
            ttl: has("ttl"),
            counter: has("counter"),
            batch: has("batch"),
            conditional: has("conditional"),
            scan: has("scan"),
        }
    }
}

/// The names of a sequence: few, so that operations meet, and each a prefix or a neighbour of
/// another.
const NAMES: &[&str] = &["a", "ab", "A", "a*"];

/// The values of a sequence: empty, counters, what is nearly a counter, bytes.
const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"5",
    b"-3",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"05",
    b" 5",
    b"x",
    b"\xff\0",
    b"a rather longer value than all the others",
];

/// Sequences of up to `length` operations, each with the number of the handle that is asked.
pub(crate) fn sequences(
    surface: Surface,
    length: RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<(usize, Operation)>> {
    vec((0_usize..2, operation(surface)), length)
}

fn key() -> impl Strategy<Value = String> + Clone {
    select(NAMES).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Bytes> + Clone {
    select(VALUES).prop_map(Bytes::from_static)
}

fn ttl(clock: Clock) -> impl Strategy<Value = u64> + Clone {
    // On a real clock nothing may expire while the sequence runs.
    const LONG: &[u64] = &[3_600_000, 86_400_000, 5_000_000_000, 1 << 62];
    const ANY: &[u64] = &[1, 2, 3, 10, 999, 1_000, 3_600_000, 5_000_000_000, 1 << 62];
    select(if clock.is_virtual() { ANY } else { LONG })
}

fn expires(surface: Surface) -> BoxedStrategy<Expires> {
    if !surface.ttl {
        return Just(Expires::Never).boxed();
    }
    Union::new_weighted(vec![
        (2, Just(Expires::Never).boxed()),
        (2, ttl(surface.clock).prop_map(Expires::After).boxed()),
        (1, Just(Expires::Keep).boxed()),
    ])
    .boxed()
}

fn maybe_ttl(surface: Surface) -> BoxedStrategy<Option<u64>> {
    if !surface.ttl {
        return Just(None).boxed();
    }
    proptest::option::of(ttl(surface.clock)).boxed()
}

fn expected() -> BoxedStrategy<Expected> {
    Union::new_weighted(vec![
        (2, Just(Expected::Current).boxed()),
        (1, value().prop_map(Expected::Is).boxed()),
    ])
    .boxed()
}

fn when(surface: Surface) -> BoxedStrategy<When> {
    if !surface.conditional {
        return Just(When::Always).boxed();
    }
    Union::new_weighted(vec![
        (3, Just(When::Always).boxed()),
        (1, Just(When::IfAbsent).boxed()),
        (1, Just(When::IfPresent).boxed()),
        (1, expected().prop_map(When::IfEquals).boxed()),
    ])
    .boxed()
}

fn operation(surface: Surface) -> impl Strategy<Value = Operation> {
    let set = (key(), value(), expires(surface), when(surface))
        .prop_map(|(key, value, expires, when)| Operation::Set(key, value, expires, when));
    let mut choices: Vec<(u32, BoxedStrategy<Operation>)> = vec![
        (8, set.boxed()),
        (3, key().prop_map(Operation::Get).boxed()),
        (2, key().prop_map(Operation::Delete).boxed()),
        (2, key().prop_map(Operation::Has).boxed()),
    ];
    if surface.counter {
        let increment = (key(), count(), maybe_ttl(surface))
            .prop_map(|(key, delta, initial)| Operation::Increment(key, delta, initial));
        choices.push((5, increment.boxed()));
    }
    if surface.ttl {
        let expire = (key(), ttl(surface.clock)).prop_map(|(key, ttl)| Operation::Expire(key, ttl));
        choices.push((2, expire.boxed()));
        choices.push((2, key().prop_map(Operation::Persist).boxed()));
        choices.push((3, key().prop_map(Operation::Ttl).boxed()));
    }
    if surface.ttl && surface.clock.is_virtual() {
        let steps = select(&[0, 1, 1, 2, 3, 10, 999, 1_000, 3_600_000][..]);
        choices.push((4, steps.prop_map(Operation::Advance).boxed()));
    }
    if surface.batch {
        let keys = vec(key(), 0..6);
        let entries = vec((key(), value()), 0..6);
        let set_many = (entries, maybe_ttl(surface))
            .prop_map(|(entries, ttl)| Operation::SetMany(entries, ttl));
        choices.push((2, keys.clone().prop_map(Operation::GetMany).boxed()));
        choices.push((2, set_many.boxed()));
        choices.push((2, keys.prop_map(Operation::DeleteMany).boxed()));
    }
    if surface.conditional {
        let replace = (key(), value(), expires(surface))
            .prop_map(|(key, value, expires)| Operation::Replace(key, value, expires));
        let compare = (key(), expected())
            .prop_map(|(key, expected)| Operation::CompareAndDelete(key, expected));
        choices.push((2, key().prop_map(Operation::Take).boxed()));
        choices.push((2, replace.boxed()));
        choices.push((2, compare.boxed()));
    }
    if surface.scan {
        let prefix = select(&["", "a", "ab", "a*", "A", "b", "*"][..]);
        let scan = (prefix, 1_usize..5, any::<bool>()).prop_map(|(prefix, page, large)| {
            Operation::Scan(prefix.to_owned(), if large { 1_000 } else { page })
        });
        choices.push((2, scan.boxed()));
    }
    Union::new_weighted(choices)
}

/// What shows the whole state at the end of a sequence.
pub(crate) fn closing(surface: Surface) -> Vec<Operation> {
    let names = || NAMES.iter().map(|name| (*name).to_owned());
    let mut operations: Vec<Operation> = names().map(Operation::Get).collect();
    if surface.ttl {
        operations.extend(names().map(Operation::Ttl));
    }
    if surface.scan {
        operations.push(Operation::Scan(String::new(), 1_000));
    }
    operations
}

/// Asks `store` one operation. `model` is the state before it, for comparisons with what is there.
///
/// # Errors
///
/// What breaks the case whatever the model says: an answer of the wrong shape, such as a key that
/// does not begin with the prefix of a scan.
pub(crate) async fn ask(
    case: &Case,
    store: &Handle,
    model: &Model,
    operation: &Operation,
) -> CaseResult<Answer> {
    let physical = |name: &String| case.key(name);
    let answer = match operation {
        Operation::Get(key) => store.get(&physical(key)).await.map(Answer::Value),
        Operation::Set(key, value, expires, when) => {
            let expected;
            let condition = match when {
                When::Always => Condition::Always,
                When::IfAbsent => Condition::IfAbsent,
                When::IfPresent => Condition::IfPresent,
                When::IfEquals(value) => {
                    expected = model.expected(key, value);
                    Condition::IfEquals(&expected)
                }
            };
            let expiry = expiry(*expires)?;
            let answer = store.set(&physical(key), value, expiry, condition).await;
            answer.map(Answer::Flag)
        }
        Operation::Delete(key) => store.delete(&physical(key)).await.map(Answer::Flag),
        Operation::Has(key) => store.has(&physical(key)).await.map(Answer::Flag),
        Operation::Increment(key, delta, initial) => {
            let initial = initial.map(millis).transpose()?;
            let answer = store.increment(&physical(key), *delta, initial).await;
            answer.map(Answer::Count)
        }
        Operation::Expire(key, ttl) => {
            let answer = store.expire(&physical(key), millis(*ttl)?).await;
            answer.map(Answer::Flag)
        }
        Operation::Persist(key) => store.persist(&physical(key)).await.map(Answer::Flag),
        Operation::Ttl(key) => store.ttl(&physical(key)).await.map(Answer::Ttl),
        Operation::GetMany(keys) => {
            let keys = case.keys(keys);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            store.get_many(&keys).await.map(Answer::Values)
        }
        Operation::SetMany(entries, ttl) => {
            let entries: Vec<(String, &Bytes)> = entries
                .iter()
                .map(|(key, value)| (physical(key), value))
                .collect();
            let entries: Vec<(&str, &[u8])> = entries
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_ref()))
                .collect();
            let ttl = ttl.map(millis).transpose()?;
            let answer = store.set_many(&entries, ttl).await;
            answer.map(|()| Answer::Done)
        }
        Operation::DeleteMany(keys) => {
            let keys = case.keys(keys);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            store.delete_many(&keys).await.map(Answer::Removed)
        }
        Operation::Take(key) => store.take(&physical(key)).await.map(Answer::Value),
        Operation::Replace(key, value, expires) => {
            let expiry = expiry(*expires)?;
            let answer = store.replace(&physical(key), value, expiry).await;
            answer.map(Answer::Value)
        }
        Operation::CompareAndDelete(key, expected) => {
            let expected = model.expected(key, expected);
            let answer = store.compare_and_delete(&physical(key), &expected).await;
            answer.map(Answer::Flag)
        }
        Operation::Scan(prefix, page) => {
            let keys = scan_all(store, &physical(prefix), *page).await?;
            return logical(case, keys).map(Answer::Keys);
        }
        Operation::Advance(step) => {
            case.pass(std::time::Duration::from_millis(*step)).await;
            Ok(Answer::Done)
        }
    };
    Ok(answer.unwrap_or_else(|error| Answer::Error(error.kind())))
}

fn expiry(expires: Expires) -> CaseResult<Expiry> {
    Ok(match expires {
        Expires::Never => Expiry::Never,
        Expires::Keep => Expiry::Keep,
        Expires::After(ttl) => Expiry::After(millis(ttl)?),
    })
}

fn logical(case: &Case, keys: Vec<String>) -> CaseResult<BTreeSet<String>> {
    let own = |key: String| {
        key.strip_prefix(case.scope())
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("a scan answered {key:?}, which is not ours")))
    };
    keys.into_iter().map(own).collect()
}
