//! Decides whether a concurrent history of single keys has an order that explains its answers.
//!
//! The search is Wing and Gong's with Lowe's memo, for each key by itself: linearizability is
//! local, so keys need no common order.

mod history;
mod model;

pub use history::{History, Pending};
pub use model::{Answer, Call};

use std::collections::{BTreeMap, HashSet};
use std::error::Error as StdError;
use std::fmt;

use store_core::Bytes;

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The key that it was about.
    pub key: String,
    /// What was asked.
    pub call: Call,
    /// When it was asked, in the steps of the history's clock.
    pub called: u64,
    /// The answer and when it came. An operation without one may take effect at any time after its
    /// call, or never.
    pub answered: Option<(u64, Answer)>,
}

impl Operation {
    fn returned(&self) -> u64 {
        self.answered.as_ref().map_or(u64::MAX, |(at, _)| *at)
    }
}

/// Proof that no order of a key's operations explains all answers.
#[derive(Clone, Debug)]
pub struct NotLinearizable {
    /// The operations of the key, up to the first answer that cannot be explained.
    pub operations: Vec<Operation>,
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.operations.first().map_or("", |first| &first.key);
        writeln!(
            f,
            "no order of the operations on {key:?} explains the last of these answers:"
        )?;
        let mut operations: Vec<_> = self.operations.iter().collect();
        operations.sort_by_key(|operation| operation.returned());
        for operation in operations {
            let Operation { call, called, .. } = operation;
            match &operation.answered {
                Some((at, answer)) => writeln!(f, "  [{called:>4} .. {at:>4}] {call} -> {answer}")?,
                None => writeln!(f, "  [{called:>4} ..     ] {call} -> (open)")?,
            }
        }
        Ok(())
    }
}

impl StdError for NotLinearizable {}

/// Checks the history of every key, each starting absent.
///
/// # Errors
///
/// [`NotLinearizable`] for the first key whose answers have no explanation.
pub fn check(operations: &[Operation]) -> Result<(), NotLinearizable> {
    let mut keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        let of_key = keys.entry(&operation.key).or_default();
        of_key.push(operation.clone());
    }
    for mut of_key in keys.into_values() {
        of_key.sort_by_key(|operation| operation.called);
        if !is_linearizable(&of_key) {
            return Err(NotLinearizable {
                operations: shortest_violation(&of_key),
            });
        }
    }
    Ok(())
}

/// The history as it was when the first unexplainable answer came.
///
/// Every beginning of a linearizable history is linearizable, so the cut can be halved for.
fn shortest_violation(operations: &[Operation]) -> Vec<Operation> {
    let mut answers: Vec<u64> = operations
        .iter()
        .filter_map(|operation| operation.answered.as_ref().map(|(at, _)| *at))
        .collect();
    answers.sort_unstable();
    let explained = answers.partition_point(|at| is_linearizable(&until(operations, *at)));
    match answers.get(explained) {
        Some(at) => until(operations, *at),
        None => operations.to_vec(),
    }
}

/// What was known at a time: later calls are not there, later answers are open.
fn until(operations: &[Operation], end: u64) -> Vec<Operation> {
    let called = operations
        .iter()
        .filter(|operation| operation.called <= end);
    let seen = called.cloned().map(|mut operation| {
        operation.answered = operation.answered.filter(|(at, _)| *at <= end);
        operation
    });
    seen.collect()
}

/// Whether the operations of one key, in the order of their calls, have an order.
fn is_linearizable(operations: &[Operation]) -> bool {
    let answered = operations
        .iter()
        .filter(|operation| operation.answered.is_some());
    let mut search = Search {
        operations,
        placed: Placed::new(operations.len()),
        answers_left: answered.count(),
        seen: HashSet::new(),
    };
    search.explains(&None)
}

struct Search<'a> {
    operations: &'a [Operation],
    placed: Placed,
    answers_left: usize,
    /// What was tried: the same operations in another order with the same result lead nowhere else.
    seen: HashSet<(Placed, Option<Bytes>)>,
}

impl Search<'_> {
    /// Whether the operations that are not placed yet can follow a key in this state.
    fn explains(&mut self, state: &Option<Bytes>) -> bool {
        if self.answers_left == 0 {
            return true;
        }
        if !self.seen.insert((self.placed.clone(), state.clone())) {
            return false;
        }
        for index in self.candidates() {
            let operation = &self.operations[index];
            let (after, answer) = operation.call.apply(state);
            let is_answered = match &operation.answered {
                Some((_, given)) if *given != answer => continue,
                given => given.is_some(),
            };
            self.placed.insert(index);
            self.answers_left -= usize::from(is_answered);
            if self.explains(&after) {
                return true;
            }
            self.placed.remove(index);
            self.answers_left += usize::from(is_answered);
        }
        false
    }

    /// What may come next: nothing that was called after an operation not placed yet had returned,
    /// and of equal open calls the oldest, since it could take the place of the others.
    fn candidates(&self) -> Vec<usize> {
        let mut first_return = u64::MAX;
        let mut open_calls = HashSet::new();
        let mut candidates = Vec::new();
        for (index, operation) in self.operations.iter().enumerate() {
            if self.placed.contains(index) {
                continue;
            }
            if operation.called > first_return {
                break;
            }
            first_return = first_return.min(operation.returned());
            if operation.answered.is_some() || open_calls.insert(&operation.call) {
                candidates.push(index);
            }
        }
        candidates
    }
}

/// A set of indices of operations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Placed(Vec<u64>);

impl Placed {
    fn new(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }

    fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }
}
