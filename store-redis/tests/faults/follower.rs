//! Numbered messages: what was published for certain, and whether a reader missed any in silence.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store_core::{ErrorKind, Gap, GapReason, RawEvent, Result};

/// What the only publisher of a channel knows of its numbers, from 0.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Published>);

#[derive(Debug, Default)]
struct Published {
    next: u64,
    doubtful: BTreeSet<u64>,
}

impl Ledger {
    /// The number to publish next.
    pub(crate) fn next(&self) -> u64 {
        self.published().next
    }

    /// How many numbers may or may not have been published.
    pub(crate) fn doubtful(&self) -> usize {
        self.published().doubtful.len()
    }

    /// Takes the outcome of publishing the next number. One that was certainly not published is
    /// used again, so that a message which appears all the same shows as a duplicate.
    pub(crate) fn record(&self, outcome: &Result<()>) -> Result<(), String> {
        let mut published = self.published();
        let number = published.next;
        match outcome {
            Ok(()) => published.next += 1,
            Err(error) => match error.kind() {
                ErrorKind::Unavailable | ErrorKind::PermissionDenied | ErrorKind::Closed => {}
                ErrorKind::Indeterminate => {
                    published.doubtful.insert(number);
                    published.next += 1;
                }
                _ => return Err(format!("publish {number}: {error:?}")),
            },
        }
        Ok(())
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader of one channel, from its first number on.
///
/// What is in doubt may come at any later time, so it proves neither order nor a hole: it must only
/// not come twice.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    next: u64,
    missing: BTreeSet<u64>,
    doubtful_seen: BTreeSet<u64>,
    /// Since the last message that is not in doubt.
    gaps: Vec<Gap>,
    pub(crate) seen: u64,
    pub(crate) gaps_seen: u64,
    /// Holes that gaps announced.
    pub(crate) holes: u64,
    pub(crate) silent_holes: u64,
    pub(crate) duplicates: u64,
    pub(crate) disorders: u64,
    /// Gaps whose number is wrong.
    pub(crate) miscounted: u64,
    /// Doubtful ones that came after later ones.
    pub(crate) late: u64,
    pub(crate) violations: Vec<String>,
}

impl Follower {
    /// The number after the last one that was seen and is not in doubt.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes an event. A message is its number, and may go on after a space.
    pub(crate) fn take(&mut self, event: &RawEvent, ledger: &Ledger) {
        match event {
            RawEvent::Gap(gap) => {
                self.gaps_seen += 1;
                self.gaps.push(*gap);
            }
            RawEvent::Message { message, .. } => {
                let text = String::from_utf8_lossy(message);
                let word = text.split(' ').next().unwrap_or_default();
                match word.parse() {
                    Ok(number) => self.message(number, &ledger.published()),
                    Err(_) => self.violations.push(format!("a message {word:?}")),
                }
            }
        }
    }

    fn message(&mut self, number: u64, published: &Published) {
        self.seen += 1;
        let is_doubtful = published.doubtful.contains(&number);
        let is_new = if is_doubtful {
            self.late += u64::from(number < self.next);
            self.doubtful_seen.insert(number)
        } else {
            number >= self.next || self.missing.remove(&number)
        };
        if !is_new {
            self.duplicates += 1;
            self.violations.push(format!("{number} came twice"));
        } else if is_doubtful {
            // Nothing follows from it.
        } else if number < self.next {
            self.disorders += 1;
            let last = self.next - 1;
            self.violations.push(format!("{number} came after {last}"));
        } else {
            self.advance(number, published);
        }
    }

    fn advance(&mut self, number: u64, published: &Published) {
        let hole: Vec<_> = (self.next..number)
            .filter(|missing| !published.doubtful.contains(missing))
            .collect();
        if !hole.is_empty() || !self.gaps.is_empty() {
            let doubtful = published.doubtful.range(..number);
            let unseen = doubtful.filter(|number| !self.doubtful_seen.contains(number));
            let sure = hole.len() as u64;
            self.check_gaps(number, sure, sure + unseen.count() as u64);
        }
        self.missing.extend(hole);
        self.next = number + 1;
        self.gaps.clear();
    }

    /// From `least` to `most` messages are missing before `number`.
    fn check_gaps(&mut self, number: u64, least: u64, most: u64) {
        let counted: u64 = self.gaps.iter().filter_map(|gap| gap.missed).sum();
        let is_open = self.gaps.iter().any(|gap| gap.reason != GapReason::Lagged);
        if least > 0 && self.gaps.is_empty() {
            self.silent_holes += 1;
            self.violations
                .push(format!("{least} messages before {number} are missing"));
        } else if counted > most || (!is_open && counted < least) {
            self.miscounted += 1;
            self.violations.push(format!(
                "{counted} messages are said to be missing before {number}, it is {least} to {most}"
            ));
        } else if least > 0 {
            self.holes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use store_core::Error;

    use super::*;

    /// What a reader makes of these events, when of the numbers 0 to 9 these are in doubt: a number
    /// is a message, `gap` one after a new connection, `lagged n` one of a slow reader.
    fn follow(doubtful: &[u64], events: &str) -> Follower {
        let ledger = Ledger::default();
        for number in 0..10 {
            let in_doubt = || Err(Error::new(ErrorKind::Indeterminate, ""));
            let outcome = if doubtful.contains(&number) {
                in_doubt()
            } else {
                Ok(())
            };
            ledger.record(&outcome).unwrap();
        }
        let mut follower = Follower::default();
        for event in events.split(", ") {
            let event = match event.strip_prefix("lagged ") {
                Some(count) => {
                    RawEvent::Gap(Gap::counted(GapReason::Lagged, count.parse().unwrap()))
                }
                None if event == "gap" => RawEvent::Gap(Gap::uncounted(GapReason::Reconnected)),
                None => RawEvent::Message {
                    channel: "c".into(),
                    message: event.as_bytes().to_vec().into(),
                },
            };
            follower.take(&event, &ledger);
        }
        follower
    }

    #[test]
    fn what_is_announced_is_no_violation() {
        for (doubtful, events) in [
            (&[][..], "0, 1, 2"),
            (&[], "0, gap, 1"),
            (&[], "gap, 3, 4"),
            (&[], "0, lagged 3, 4"),
            (&[], "0, gap, lagged 1, 4"),
            (&[1], "0, 2, 1"),
            (&[1], "0, lagged 1, 3"),
            (&[1], "0, lagged 2, 3"),
            // The late one must not use up the gap of the others.
            (&[1], "0, gap, 1, 5"),
            (&[1], "0, lagged 3, 1, 5"),
        ] {
            let follower = follow(doubtful, events);
            assert_eq!(follower.violations, [""; 0], "{events}");
        }
    }

    #[test]
    fn what_is_wrong_is_counted_by_its_kind() {
        let counts = |follower: Follower| {
            [
                follower.silent_holes,
                follower.duplicates,
                follower.disorders,
                follower.miscounted,
            ]
        };
        for (events, expected) in [
            ("0, 2", [1, 0, 0, 0]),
            ("0, gap, 2, 4", [1, 0, 0, 0]),
            ("0, 5, 7", [1, 0, 0, 0]),
            ("0, 0", [0, 1, 0, 0]),
            ("5, 5", [0, 1, 0, 0]),
            ("0, gap, 2, 1", [0, 0, 1, 0]),
            ("0, lagged 1, 1", [0, 0, 0, 1]),
            ("0, lagged 1, 3", [0, 0, 0, 1]),
            ("0, gap, lagged 4, 3", [0, 0, 0, 1]),
        ] {
            let follower = follow(&[5], events);
            assert!(!follower.violations.is_empty());
            assert_eq!(counts(follower), expected, "{events}");
        }
    }
}
