//! Patterns that match otherwise, and events that do not say what they belong to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use store_core::{Patterns, RawEvent, RawSubscription, Result, StoreAdapter, pattern};

use super::twist::{Twist, drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    pattern_event_names_the_pattern: "a message of a pattern names the pattern",
        ["patterns::pattern_event_names_channel"], NamesPattern::default();
    star_stops_at_a_colon: "a star does not match a colon",
        ["patterns::pattern_matches_reference_glob"],
        Matched(|pattern, text| {
            let colons = |text: &str| text.matches(':').count();
            pattern::matches(pattern.as_bytes(), text.as_bytes()) && (!pattern.contains('*') || colons(pattern) == colons(text))
        });
    question_mark_is_a_character: "patterns match characters, not bytes",
        ["patterns::pattern_matches_reference_glob"],
        Matched(|pattern, text| {
            let narrow = |text: &str| -> String { text.chars().map(|c| if c.is_ascii() { c } else { '\u{1}' }).collect() };
            pattern::matches(narrow(pattern).as_bytes(), narrow(text).as_bytes())
        });
    question_mark_may_be_nothing: "a question mark also matches nothing",
        ["patterns::pattern_matches_reference_glob"],
        Matched(|pattern, text| {
            pattern::matches(pattern.as_bytes(), text.as_bytes())
                || pattern::matches(pattern.replacen('?', "", 1).as_bytes(), text.as_bytes())
        });
    negation_is_an_exclamation_mark: "a bracket is negated by !, as in a shell",
        ["patterns::pattern_matches_reference_glob"],
        Matched(|pattern, text| pattern::matches(pattern.replace("[^", "[\\^").replace("[!", "[^").as_bytes(), text.as_bytes()));
    ranges_run_one_way: "a range from the larger to the smaller byte is empty",
        ["patterns::pattern_matches_reference_glob"],
        Matched(|pattern, text| pattern::matches(pattern.replace("c-a", "").as_bytes(), text.as_bytes()));
    no_ranges: "a range is its two ends and a hyphen",
        ["patterns::pattern_matches_reference_glob"],
        Matched(|pattern, text| pattern::matches(pattern.replace("a-c", "a\\-c").as_bytes(), text.as_bytes()));
    open_bracket_is_literal: "a bracket that is not closed is a character",
        ["patterns::pattern_matches_reference_glob"],
        Matched(|pattern, text| {
            let open = pattern.rfind('[').filter(|at| !pattern[*at..].contains(']'));
            let literal = open.map_or_else(|| pattern.to_owned(), |at| format!("{}\\{}", &pattern[..at], &pattern[at..]));
            pattern::matches(literal.as_bytes(), text.as_bytes())
        });
    escapes_are_ignored: "a backslash escapes nothing",
        ["patterns::escape_is_literal"],
        Matched(|pattern, text| pattern::matches(pattern.replace('\\', "").as_bytes(), text.as_bytes()));
    escaped_star_alone: "only a star can be escaped",
        ["patterns::escape_is_literal"],
        Matched(|pattern, text| pattern::matches(pattern.replace("\\?", "?").as_bytes(), text.as_bytes()));
    patterns_ignore_case: "patterns ignore the case of letters",
        ["patterns::pattern_matches_reference_glob"],
        Matched(|pattern, text| pattern::matches(pattern.to_lowercase().as_bytes(), text.to_lowercase().as_bytes()));
    patterns_match_a_beginning: "a pattern matches whatever begins with a match",
        ["patterns::escape_is_literal"],
        Matched(|pattern, text| pattern::matches(format!("{pattern}*").as_bytes(), text.as_bytes()));
    overlapping_patterns_once: "a message that two patterns of a handle match is delivered to one of them",
        ["patterns::exact_plus_pattern_semantics"], OncePerHandle::default();
    pattern_hides_channel: "while a pattern matches it, a channel's own subscriptions get nothing",
        ["patterns::exact_plus_pattern_semantics"], HidesChannel::default();
    equal_patterns_share: "the second subscription of a pattern ends the first",
        ["patterns::exact_plus_pattern_semantics"], OneEach::default();
}

/// Another idea of what matches.
#[derive(Debug)]
struct Matched(fn(&str, &str) -> bool);

#[store_core::async_trait]
impl Twist for Matched {
    async fn subscribe_pattern(
        &self,
        inner: &ReferenceDriver,
        pattern: &str,
    ) -> Result<RawSubscription> {
        let (matches, pattern) = (self.0, pattern.to_owned());
        let events = inner.subscribe_pattern("*").await?;
        Ok(RawSubscription::new(events.filter(move |event| {
            std::future::ready(match event {
                RawEvent::Message { channel, .. } => matches(&pattern, channel),
                RawEvent::Gap(_) => true,
            })
        })))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

twists! {
    NamesPattern => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let name: Arc<str> = pattern.into();
            let events = inner.subscribe_pattern(pattern).await?;
            Ok(RawSubscription::new(events.map(move |event| match event {
                RawEvent::Message { message, .. } => RawEvent::Message { channel: Arc::clone(&name), message },
                gap => gap,
            })))
        }
    }
    OncePerHandle { seen: Arc<Mutex<HashMap<usize, Vec<RawEvent>>>> } => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let (seen, id) = (Arc::clone(&self.seen), std::ptr::from_ref(inner).addr());
            let events = inner.subscribe_pattern(pattern).await?;
            Ok(RawSubscription::new(events.filter(move |event| {
                let mut seen = lock(&seen);
                let seen = seen.entry(id).or_default();
                let new = !seen.contains(event);
                seen.push(event.clone());
                std::future::ready(new)
            })))
        }
    }
    HidesChannel { patterns: Arc<Mutex<Vec<String>>> } => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            lock(&self.patterns).push(pattern.to_owned());
            inner.subscribe_pattern(pattern).await
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let (patterns, channel) = (Arc::clone(&self.patterns), channel.to_owned());
            let events = inner.subscribe(&channel).await?;
            Ok(RawSubscription::new(events.filter(move |_| {
                let hidden = lock(&patterns).iter().any(|pattern| pattern::matches(pattern.as_bytes(), channel.as_bytes()));
                std::future::ready(!hidden)
            })))
        }
    }
    OneEach { current: Arc<Mutex<HashMap<String, u64>>> } => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let place = format!("{pattern}/{}", std::ptr::from_ref(inner).addr());
            let own = {
                let mut current = lock(&self.current);
                let current = current.entry(place.clone()).or_default();
                *current += 1;
                *current
            };
            let current = Arc::clone(&self.current);
            let events = inner.subscribe_pattern(pattern).await?;
            Ok(RawSubscription::new(events.filter(move |_| {
                std::future::ready(lock(&current).get(&place) == Some(&own))
            })))
        }
    }
}
