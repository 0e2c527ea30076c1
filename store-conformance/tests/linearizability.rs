//! Checks the linearizability checker: by known histories, and against two other checkers.

use std::collections::HashSet;

use proptest::prelude::*;
use store_conformance::linearizability::{Answer, Call, History, Operation, check};
use store_core::{Bytes, ErrorKind};
use todc_utils::linearizability::{WGLChecker, history as other};
use todc_utils::specifications::Specification;

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn set(value: &'static str) -> (Call, Answer) {
    (Call::Set(text(value)), Answer::Did(true))
}

fn get(value: &'static str) -> (Call, Answer) {
    (Call::Get, Answer::Value(Some(text(value))))
}

fn missing() -> (Call, Answer) {
    (Call::Get, Answer::Value(None))
}

fn count(sum: i64) -> (Call, Answer) {
    (Call::Increment(1), Answer::Count(sum))
}

fn done(called: u64, at: u64, (call, answer): (Call, Answer)) -> Operation {
    let answered = Some((at, answer));
    Operation {
        key: "k".to_owned(),
        call,
        called,
        answered,
    }
}

fn open(called: u64, call: Call) -> Operation {
    Operation {
        key: "k".to_owned(),
        call,
        called,
        answered: None,
    }
}

fn accepts(operations: &[Operation]) -> bool {
    check(operations).is_ok()
}

#[test]
fn a_sequential_history_follows_the_model() {
    let value = |value: &'static str| Answer::Value(Some(text(value)));
    let history = [
        (Call::SetIfPresent(text("a")), Answer::Did(false)),
        (Call::SetIfAbsent(text("a")), Answer::Did(true)),
        (Call::SetIfAbsent(text("b")), Answer::Did(false)),
        (
            Call::CompareAndSet(text("x"), text("b")),
            Answer::Did(false),
        ),
        (Call::CompareAndSet(text("a"), text("b")), Answer::Did(true)),
        (Call::Increment(1), Answer::Refused(ErrorKind::WrongType)),
        (Call::Replace(text("9223372036854775807")), value("b")),
        (Call::Increment(1), Answer::Refused(ErrorKind::Overflow)),
        (Call::Increment(-7), Answer::Count(i64::MAX - 7)),
        (Call::Has, Answer::Did(true)),
        (Call::Take, value("9223372036854775800")),
        (Call::Has, Answer::Did(false)),
        (Call::Delete, Answer::Did(false)),
        (Call::Increment(5), Answer::Count(5)),
        (Call::CompareAndDelete(text("6")), Answer::Did(false)),
        (Call::CompareAndDelete(text("5")), Answer::Did(true)),
        (Call::Get, Answer::Value(None)),
    ];
    let operations: Vec<_> = (0..)
        .zip(history)
        .map(|(at, step)| done(2 * at, 2 * at + 1, step))
        .collect();
    assert!(accepts(&operations));
    for wrong in 0..operations.len() {
        let mut operations = operations.clone();
        operations[wrong].answered = Some((2 * wrong as u64 + 1, Answer::Count(77)));
        assert!(!accepts(&operations), "step {wrong} may answer anything");
    }
}

#[test]
fn a_stale_read_is_rejected() {
    let history = [
        done(1, 2, set("a")),
        done(3, 4, set("b")),
        done(5, 6, get("a")),
    ];
    assert!(!accepts(&history));
    let overlapping = [
        done(1, 2, set("a")),
        done(3, 6, set("b")),
        done(4, 5, get("a")),
    ];
    assert!(accepts(&overlapping));
}

#[test]
fn a_value_that_was_seen_stays_seen() {
    let history = [
        done(1, 2, set("a")),
        done(3, 10, set("b")),
        done(4, 5, get("b")),
        done(6, 7, get("a")),
    ];
    assert!(!accepts(&history), "new, then old, while the write runs");
}

#[test]
fn a_lost_update_is_rejected() {
    assert!(accepts(&[done(1, 4, count(1)), done(2, 3, count(2))]));
    assert!(!accepts(&[done(1, 4, count(1)), done(2, 3, count(1))]));
}

#[test]
fn a_torn_read_modify_write_is_rejected() {
    let both_win = [
        done(1, 3, (Call::SetIfAbsent(text("a")), Answer::Did(true))),
        done(2, 4, (Call::SetIfAbsent(text("b")), Answer::Did(true))),
    ];
    assert!(!accepts(&both_win));
    let absent_in_between = [
        done(1, 2, set("a")),
        done(3, 6, set("b")),
        done(4, 5, missing()),
    ];
    assert!(!accepts(&absent_in_between), "a set that deletes first");
    let taken_twice = [
        done(1, 2, set("a")),
        done(3, 5, (Call::Take, Answer::Value(Some(text("a"))))),
        done(4, 6, (Call::Take, Answer::Value(Some(text("a"))))),
    ];
    assert!(!accepts(&taken_twice));
}

#[test]
fn an_open_operation_may_take_effect_late_once_or_never() {
    let increment = Call::Increment(1);
    let late = [
        open(1, increment.clone()),
        done(2, 3, count(1)),
        done(4, 5, count(3)),
    ];
    assert!(accepts(&late));
    let never = [
        open(1, increment.clone()),
        done(2, 3, count(1)),
        done(4, 5, count(2)),
    ];
    assert!(accepts(&never));
    let twice = [
        open(1, increment.clone()),
        done(2, 3, count(1)),
        done(4, 5, count(4)),
    ];
    assert!(!accepts(&twice));
    let before_its_call = [done(1, 2, count(2)), open(3, increment)];
    assert!(!accepts(&before_its_call));
}

#[test]
fn keys_are_checked_apart_and_the_violation_is_cut_short() {
    let mut history = vec![
        done(1, 2, set("a")),
        done(3, 4, get("b")),
        done(5, 6, set("c")),
    ];
    let mut other = history[0].clone();
    other.key = "other".to_owned();
    history.push(other);
    let violation = check(&history).unwrap_err();
    assert_eq!(violation.operations, history[..2]);
    let text = violation.to_string();
    assert!(
        text.contains("get -> \"b\"") && text.contains("on \"k\""),
        "{text}"
    );
}

#[test]
fn a_recorder_knows_open_from_unapplied() {
    let history = History::new();
    let one = history.begin("k", Call::Increment(1));
    history.begin("k", Call::Increment(1)).leave_open();
    history.begin("k", Call::Increment(1)).end_unapplied();
    one.end(Answer::Count(2));
    assert_eq!(history.operations().len(), 2);
    assert!(history.check().is_ok());
    history.begin("k", Call::Increment(1)).end(Answer::Count(4));
    assert!(
        history.check().is_err(),
        "the third increment was never applied"
    );
}

/// Three hundred operations of eight tasks are decided, not searched for ever.
#[test]
fn a_long_history_is_decided() {
    let mut operations = Vec::new();
    for step in 0..300_u64 {
        let called = 10 * step;
        operations.push(done(
            called,
            called + 75,
            (Call::Increment(1), Answer::Count(step as i64 + 1)),
        ));
    }
    for step in 0..12 {
        operations.push(open(40 * step, Call::Increment(1_000)));
    }
    assert!(accepts(&operations));
    operations[299].answered = Some((5_000, Answer::Count(299)));
    assert!(!accepts(&operations));
}

fn calls() -> impl Strategy<Value = Call> {
    let value = || prop_oneof![Just(text("1")), Just(text("2")), Just(text("x"))];
    prop_oneof![
        3 => Just(Call::Get),
        1 => Just(Call::Has),
        2 => value().prop_map(Call::Set),
        1 => value().prop_map(Call::SetIfAbsent),
        1 => value().prop_map(Call::SetIfPresent),
        1 => (value(), value()).prop_map(|(expected, value)| Call::CompareAndSet(expected, value)),
        1 => value().prop_map(Call::CompareAndDelete),
        1 => Just(Call::Delete),
        1 => Just(Call::Take),
        1 => value().prop_map(Call::Replace),
        2 => (1..3_i64).prop_map(Call::Increment),
    ]
}

/// Histories near the edge: made by a real order of steps, then perhaps with one answer exchanged.
fn histories(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let operation = (
        calls(),
        0..12_u64,
        0..4_u64,
        0..4_u64,
        prop::bool::weighted(0.2),
    );
    (
        prop::collection::vec(operation, 1..=most),
        any::<(prop::sample::Index, prop::sample::Index)>(),
        prop::bool::ANY,
    )
        .prop_map(|(steps, (one, other), spoil)| {
            let mut steps: Vec<_> = steps;
            steps.sort_by_key(|(_, at, ..)| *at);
            let mut state = None;
            let mut operations: Vec<Operation> = (0..)
                .zip(steps)
                .map(|(index, (call, at, before, after, is_open))| {
                    let (next, answer) = call.apply(&state);
                    state = next;
                    // The point of effect is `at`; distinct times keep the order of events total.
                    let called = (at + 4 - before) * 100 + index;
                    let answered =
                        Some(((at + 5 + after) * 100 + index, answer)).filter(|_| !is_open);
                    Operation {
                        key: "k".to_owned(),
                        call,
                        called,
                        answered,
                    }
                })
                .collect();
            if spoil {
                let (one, other) = (one.index(operations.len()), other.index(operations.len()));
                let answer = operations[other]
                    .answered
                    .as_ref()
                    .map(|(_, answer)| answer.clone());
                if let (Some((_, own)), Some(answer)) = (&mut operations[one].answered, answer) {
                    *own = answer;
                }
            }
            operations
        })
}

/// Tries every order of every choice of operations, without any cleverness.
fn brute_force(operations: &[Operation], placed: &mut Vec<usize>, state: &Option<Bytes>) -> bool {
    let is_placed: HashSet<_> = placed.iter().copied().collect();
    let all_answers = (0..operations.len())
        .all(|index| is_placed.contains(&index) || operations[index].answered.is_none());
    if all_answers {
        return true;
    }
    for index in 0..operations.len() {
        let returned_before = |other: &Operation| {
            other
                .answered
                .as_ref()
                .is_some_and(|(at, _)| *at < operations[index].called)
        };
        let too_early = (0..operations.len())
            .any(|other| !is_placed.contains(&other) && returned_before(&operations[other]));
        if is_placed.contains(&index) || too_early {
            continue;
        }
        let (next, answer) = operations[index].call.apply(state);
        if operations[index]
            .answered
            .as_ref()
            .is_some_and(|(_, given)| *given != answer)
        {
            continue;
        }
        placed.push(index);
        let found = brute_force(operations, placed, &next);
        placed.pop();
        if found {
            return true;
        }
    }
    false
}

/// The same model for the checker of another crate.
struct KeySpecification;

impl Specification for KeySpecification {
    type State = Option<Bytes>;
    type Operation = (Call, Option<Answer>);

    fn init() -> Self::State {
        None
    }

    fn apply((call, given): &Self::Operation, state: &Self::State) -> (bool, Self::State) {
        let (next, answer) = call.apply(state);
        (given.as_ref().is_none_or(|given| *given == answer), next)
    }
}

fn other_checker(operations: &[Operation]) -> bool {
    let mut events = Vec::new();
    for (process, operation) in operations.iter().enumerate() {
        let answered = operation.answered.clone();
        let step = (
            operation.call.clone(),
            answered.clone().map(|(_, answer)| answer),
        );
        // An open operation that ends after all others may take effect there, which nobody sees.
        let returned = answered.map_or(u64::MAX, |(at, _)| at);
        events.push((
            (operation.called, process),
            (process, other::Action::Call(step.clone())),
        ));
        events.push((
            (returned, process),
            (process, other::Action::Response(step)),
        ));
    }
    events.sort_by_key(|(at, _)| *at);
    let events = events.into_iter().map(|(_, event)| event).collect();
    WGLChecker::<KeySpecification>::is_linearizable(other::History::from_actions(events))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_trying_every_order(history in histories(6)) {
        prop_assert_eq!(accepts(&history), brute_force(&history, &mut Vec::new(), &None));
    }

    #[test]
    fn it_agrees_with_another_checker(history in histories(9)) {
        prop_assert_eq!(accepts(&history), other_checker(&history));
    }
}

/// The two comparisons above are worth something only if both answers occur.
#[test]
fn generated_histories_are_of_both_kinds() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let total = 1_000;
    let accepted = (0..total)
        .filter(|_| accepts(&histories(24).new_tree(&mut runner).unwrap().current()))
        .count();
    assert!(
        (200..=950).contains(&accepted),
        "{accepted} of {total} accepted"
    );
}
