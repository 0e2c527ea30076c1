//! The record of what a case did: every call with its answer, in order of their beginning.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many entries are kept; older ones are counted only.
const KEPT: usize = 2_000;
/// How many entries a failure shows.
const SHOWN: usize = 80;

/// What the handles of one case were asked and answered.
#[derive(Debug)]
pub(crate) struct Timeline {
    begun: Instant,
    scope: String,
    inner: Mutex<Inner>,
}

/// How far a case has come: equal as long as no call begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    begun: Instant,
    entries: usize,
    ended: usize,
    pub(crate) is_running: bool,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    forgotten: usize,
    ended: usize,
    hung: Option<String>,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    who: String,
    what: String,
    answer: Option<(Duration, String)>,
}

impl Timeline {
    pub(crate) fn new(scope: &str) -> Self {
        Self {
            begun: Instant::now(),
            scope: scope.to_owned(),
            inner: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, who: &str, what: String, answer: Option<(Duration, String)>) -> usize {
        let mut inner = self.inner();
        if inner.entries.len() == KEPT {
            inner.entries.pop_front();
            inner.forgotten += 1;
        }
        inner.entries.push_back(Entry {
            at: self.begun.elapsed(),
            who: who.to_owned(),
            what,
            answer,
        });
        inner.forgotten + inner.entries.len() - 1
    }

    /// Notes what is no call, such as an event that arrived.
    pub(crate) fn note(&self, who: &str, what: impl Into<String>) {
        self.push(who, what.into(), Some((Duration::ZERO, String::new())));
    }

    /// Notes the beginning of a call.
    pub(crate) fn begin(&self, who: &str, what: String) -> Running<'_> {
        let id = self.push(who, what, None);
        Running {
            timeline: self,
            id,
            ended: false,
        }
    }

    fn end(&self, id: usize, answer: String) {
        let ended = self.begun.elapsed();
        let mut inner = self.inner();
        inner.ended += 1;
        let Some(index) = id.checked_sub(inner.forgotten) else {
            return;
        };
        if let Some(entry) = inner.entries.get_mut(index) {
            entry.answer = Some((ended.saturating_sub(entry.at), answer));
        }
    }

    /// Remembers that a call did not answer in time.
    pub(crate) fn hang(&self, what: &str) {
        self.inner().hung.get_or_insert_with(|| what.to_owned());
    }

    /// The first call that did not answer in time.
    pub(crate) fn hung(&self) -> Option<String> {
        self.inner().hung.clone()
    }

    /// How far the case has come.
    pub(crate) fn progress(&self) -> Progress {
        let inner = self.inner();
        Progress {
            begun: self.begun,
            entries: inner.forgotten + inner.entries.len(),
            ended: inner.ended,
            is_running: inner.entries.iter().any(|entry| entry.answer.is_none()),
        }
    }

    /// The calls that are running now.
    pub(crate) fn running(&self) -> Vec<String> {
        let inner = self.inner();
        let open = inner.entries.iter().filter(|entry| entry.answer.is_none());
        open.map(|entry| format!("{} {}", entry.who, entry.what))
            .collect()
    }

    /// How a name looks without the scope of the case.
    pub(crate) fn name(&self, name: &str) -> String {
        match name.strip_prefix(&self.scope) {
            Some(rest) => show_bytes(rest.as_bytes()),
            None => format!("(foreign) {}", show_bytes(name.as_bytes())),
        }
    }

    /// How a driver's cursor looks, which may or may not be a name.
    pub(crate) fn cursor(&self, cursor: Option<&str>) -> String {
        cursor.map_or_else(
            || "none".to_owned(),
            |cursor| {
                show_bytes(
                    cursor
                        .strip_prefix(&self.scope)
                        .unwrap_or(cursor)
                        .as_bytes(),
                )
            },
        )
    }

    /// The latest entries as text, one a line.
    pub(crate) fn render(&self) -> String {
        let inner = self.inner();
        let hidden = inner.entries.len().saturating_sub(SHOWN);
        let mut text = String::new();
        if hidden + inner.forgotten > 0 {
            let _ = writeln!(text, "    … {} earlier", hidden + inner.forgotten);
        }
        for entry in inner.entries.iter().skip(hidden) {
            let at = entry.at.as_secs_f64() * 1_000.0;
            let _ = write!(text, "    {at:>10.3} ms  {:<2} {}", entry.who, entry.what);
            let _ = match &entry.answer {
                None => writeln!(text, " -> (no answer)"),
                Some((_, answer)) if answer.is_empty() => writeln!(text),
                Some((took, answer)) => {
                    let took = took.as_secs_f64() * 1_000.0;
                    writeln!(text, " -> {answer}  ({took:.3} ms)")
                }
            };
        }
        text
    }
}

/// A call that has begun. Dropped without an answer, it was cancelled or panicked.
pub(crate) struct Running<'a> {
    timeline: &'a Timeline,
    id: usize,
    ended: bool,
}

impl Running<'_> {
    pub(crate) fn end(mut self, answer: String) {
        self.ended = true;
        self.timeline.end(self.id, answer);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let answer = if std::thread::panicking() {
            "(panicked)"
        } else {
            "(dropped)"
        };
        self.timeline.end(self.id, answer.to_owned());
    }
}

/// Bytes as text, abbreviated.
pub(crate) fn show_bytes(bytes: &[u8]) -> String {
    const HEAD: usize = 40;
    match bytes.split_at_checked(HEAD) {
        Some((head, rest)) if !rest.is_empty() => {
            format!("\"{}…\" ({} bytes)", head.escape_ascii(), bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// Text of at most about `limit` bytes; the middle is left out.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let half = limit / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().rev().take(half).collect();
    let tail: String = tail.chars().rev().collect();
    format!("{head} … {tail}")
}
