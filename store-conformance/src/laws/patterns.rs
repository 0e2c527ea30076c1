//! Patterns of channels: the same rules in every driver, against the reference matcher.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use store_core::{Bytes, RawEvent, RawSubscription, StoreAdapter, pattern};

use super::pubsub::{expect, expect_by_channel, expect_nothing_more, publish, show, subscribe};
use crate::case::{Case, CaseResult, Failure, ensure};
use crate::handle::Handle;
use crate::runner::{Outcome, Run};
use crate::strategies::{EDGE_NAMES, name, value};

/// Subscribes to a pattern within the case: its scope is literal.
pub(super) async fn subscribe_pattern(
    case: &Case,
    store: &Handle,
    pattern: &str,
) -> CaseResult<RawSubscription> {
    let Some(patterns) = store.as_patterns() else {
        return Err(Failure::new(
            "the driver offers no `as_patterns`; if that is meant, leave the group out with \
             `without: { patterns = \"reason\" }`",
        ));
    };
    let pattern = format!("{}{pattern}", pattern::escape(case.scope()));
    Ok(patterns.subscribe_pattern(&pattern).await?)
}

/// A part of a pattern, with texts that it may match.
fn element() -> impl Strategy<Value = (String, Vec<&'static str>)> {
    let literal = select(vec!["a", "b", "c", ":", "-", "^", "]", "é", "B", " "]);
    let classes = select(vec![
        ("[ab]", vec!["a", "b", "c"]),
        ("[^ab]", vec!["c", "a", ":", "^"]),
        ("[a-c]", vec!["b", "d", "-", "B"]),
        ("[c-a]", vec!["b", "a", "d"]),
        ("[^a-c]", vec!["d", "b", "-"]),
        ("[a-]", vec!["a", "-", "]", "b", "_"]),
        ("[]", vec!["", "]", "a"]),
        ("[^]", vec!["a", "]", "^"]),
        ("[]a]", vec!["]a]", "a]", "a"]),
        ("[\\]]", vec!["]", "\\", "a"]),
        ("[\\^a]", vec!["^", "a", "b", "\\"]),
        ("[a\\-c]", vec!["-", "a", "b", "c", "\\"]),
        ("[*]", vec!["*", "a", ""]),
        ("[?]", vec!["?", "a"]),
        ("[^", vec!["a", "[", "^"]),
        ("[ab", vec!["a", "b", "[", "c"]),
        ("[a-", vec!["a", "-", "b"]),
        ("[", vec!["[", "", "a"]),
        ("[\\", vec!["\\", "[", "a"]),
    ]);
    prop_oneof![
        5 => literal.prop_map(|text| (text.to_owned(), vec![text, text, "x"])),
        4 => Just(("*".to_owned(), vec!["", "a", "bc", "*", "é"])),
        2 => Just(("?".to_owned(), vec!["a", "", "?", "é"])),
        5 => classes.prop_map(|(class, texts)| (class.to_owned(), texts)),
        2 => select(vec!["*", "?", "[", "]", "\\", "^", "a"])
            .prop_map(|text| (format!("\\{text}"), vec![text, text, "\\", "a", ""])),
    ]
}

/// A pattern, and texts near the border between those that match and those that do not.
fn pattern_and_texts() -> impl Strategy<Value = (String, Vec<String>)> {
    let picks = vec(vec(any::<Index>(), 6), 4);
    let trailing = prop_oneof![6 => Just(""), 1 => Just("\\")];
    (vec(element(), 1..6), picks, trailing).prop_map(|(elements, picks, trailing)| {
        let pattern: String = elements
            .iter()
            .map(|(pattern, _)| pattern.as_str())
            .collect();
        let text = |pick: Vec<Index>| -> String {
            let parts = elements.iter().zip(pick);
            parts
                .map(|((_, texts), index)| texts[index.index(texts.len())])
                .collect()
        };
        let mut texts: Vec<String> = picks.into_iter().map(text).collect();
        texts.push(pattern.clone());
        (pattern + trailing, texts)
    })
}

pub(super) async fn pattern_matches_reference_glob(run: Run) -> Outcome {
    run.more(4)
        .for_all(vec(pattern_and_texts(), 1..5), |case, inputs| async move {
            let [store, publisher] = [case.open().await?, case.open().await?];
            let mut subscriptions = Vec::new();
            let mut texts = Vec::new();
            for (pattern, matching) in inputs {
                subscriptions.push((subscribe_pattern(&case, &store, &pattern).await?, pattern));
                texts.extend(matching);
            }
            texts.sort();
            texts.dedup();
            let mut done = subscribe(&case, &store, "done").await?;
            // The last round is the sentinel of whoever matches anything.
            let rounds = [0, 1].into_iter().flat_map(|round| {
                let numbered = texts.iter().enumerate();
                numbered.map(move |(number, text)| (text, format!("{round} {number}")))
            });
            let sent: Vec<(&String, String)> = rounds.collect();
            for (text, payload) in &sent {
                publish(&case, &publisher, text, payload).await?;
            }
            publish(&case, &publisher, "done", "done").await?;
            expect(&case, &mut done, "done", "done").await?;
            for (subscription, pattern) in &mut subscriptions {
                let full = format!("{}{pattern}", pattern::escape(case.scope()));
                let mut due: Vec<(String, Bytes)> = sent
                    .iter()
                    .map(|(text, payload)| ((*text).clone(), Bytes::from(payload.clone())))
                    .collect();
                due.push(("done".to_owned(), Bytes::from_static(b"done")));
                due.retain(|(text, _)| {
                    pattern::matches(full.as_bytes(), case.key(text).as_bytes())
                });
                let what = format!("the pattern {pattern:?}");
                expect_by_channel(&case, subscription, due, &what).await?;
                expect_nothing_more(&case, subscription, &what)?;
            }
            Ok(())
        })
        .await
}

pub(super) async fn pattern_event_names_channel(run: Run) -> Outcome {
    let inputs = vec((name(), value()), 1..8);
    run.for_all(inputs, |case, sent| async move {
        let [store, publisher] = [case.open().await?, case.open().await?];
        let mut subscription = subscribe_pattern(&case, &store, "*").await?;
        for (channel, payload) in &sent {
            publish(&case, &publisher, channel, payload).await?;
        }
        expect_by_channel(&case, &mut subscription, sent, "the pattern").await?;
        expect_nothing_more(&case, &mut subscription, "the pattern")
    })
    .await
}

pub(super) async fn exact_plus_pattern_semantics(run: Run) -> Outcome {
    // Which of the subscriptions leaves half way.
    run.for_all(0..6_usize, |case, leaver| async move {
        let [store, other] = [case.open().await?, case.open().await?];
        let mut subscriptions = vec![
            subscribe(&case, &store, "news:1").await?,
            subscribe_pattern(&case, &store, "news:*").await?,
            subscribe_pattern(&case, &store, "news:?").await?,
            subscribe_pattern(&case, &store, "news:*").await?,
            subscribe_pattern(&case, &other, "news:*").await?,
            // The pattern's own text is a channel like any other.
            subscribe(&case, &store, "news:*").await?,
        ];
        for number in ["1", "2"] {
            publish(&case, &other, "news:1", number).await?;
        }
        publish(&case, &other, "news:*", "3").await?;
        let due = |index: usize, sent: &[(&str, &'static str)]| -> Vec<(String, Bytes)> {
            let wanted = sent.iter().filter(|(channel, _)| match index {
                0 => *channel == "news:1",
                5 => *channel == "news:*",
                _ => true,
            });
            wanted
                .map(|(channel, payload)| {
                    (
                        (*channel).to_owned(),
                        Bytes::from_static(payload.as_bytes()),
                    )
                })
                .collect()
        };
        let first = [("news:1", "1"), ("news:1", "2"), ("news:*", "3")];
        for (index, subscription) in subscriptions.iter_mut().enumerate() {
            let what = format!("subscription {index}");
            expect_by_channel(&case, subscription, due(index, &first), &what).await?;
        }
        drop(subscriptions.swap_remove(leaver));
        let mut order = vec![0, 1, 2, 3, 4, 5];
        order.swap_remove(leaver);
        tokio::task::yield_now().await;
        publish(&case, &other, "news:1", "4").await?;
        publish(&case, &other, "news:*", "5").await?;
        for (index, subscription) in order.into_iter().zip(&mut subscriptions) {
            let (what, second) = (
                format!("subscription {index}"),
                [("news:1", "4"), ("news:*", "5")],
            );
            expect_by_channel(&case, subscription, due(index, &second), &what).await?;
            expect_nothing_more(&case, subscription, &what)?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn escape_is_literal(run: Run) -> Outcome {
    let text = prop_oneof![
        2 => "[ab*?\\[\\]\\\\^-]{1,8}",
        1 => name(),
        1 => select(EDGE_NAMES).prop_map(str::to_owned),
    ];
    run.more(2)
        .for_all(text, |case, text| async move {
            let [store, publisher] = [case.open().await?, case.open().await?];
            let escaped = pattern::escape(&text);
            let mut subscription = subscribe_pattern(&case, &store, &escaped).await?;
            let mut others = vec![
                escaped.clone(),
                format!("{text}a"),
                format!("a{text}"),
                text.replace(['*', '?'], "a"),
                text.replace(['[', ']', '\\', '^', '*'], ""),
                text.replace('*', "ab"),
            ];
            others.retain(|other| *other != text && !other.is_empty());
            for other in &others {
                publish(&case, &publisher, other, "other").await?;
            }
            publish(&case, &publisher, &text, "literal").await?;
            let event = case.next_event(&mut subscription).await?;
            let is_literal =
                matches!(&event, RawEvent::Message { message, .. } if message == "literal");
            ensure!(
                is_literal,
                "the escaped text must match itself alone, was {}",
                show(&case, &event)
            );
            expect_nothing_more(&case, &mut subscription, "the escaped text")
        })
        .await
}
