//! The bounded buffer of one subscription, which loses its oldest messages and counts them.
//!
//! Separate from the registry so that what a slow reader loses, and how it learns of it, can be
//! tested without a server.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use store_core::{Gap, GapReason, RawEvent};

/// A buffer that is written by the pub/sub task and read by one subscription.
#[derive(Debug)]
pub(crate) struct Ring {
    inner: Mutex<Inner>,
    limits: Limits,
}

/// How much a ring holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Messages, at least one.
    pub(crate) messages: usize,
    /// Bytes of messages and of their channels' names; a single message may be longer.
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// What is missing before the first entry.
    lost: Losses,
    entries: VecDeque<Entry>,
    messages: usize,
    bytes: usize,
    closed: bool,
    reader: Option<Waker>,
}

/// At most one entry of losses stands between two messages, so the number of entries is bounded by
/// the number of messages.
#[derive(Debug)]
enum Entry {
    Message { channel: Arc<str>, message: Bytes },
    Losses(Losses),
}

/// Everything that is missing at one place of the stream.
#[derive(Debug, Default)]
struct Losses {
    lagged: u64,
    unnamable: u64,
    /// `Reconnected` or `Refused`, whichever came last.
    link: Option<GapReason>,
}

impl Losses {
    fn add(&mut self, gap: Gap) {
        match gap.reason {
            GapReason::Lagged => self.lagged += gap.missed.unwrap_or(0),
            GapReason::UnnamableChannel => self.unnamable += gap.missed.unwrap_or(0),
            reason => self.link = Some(reason),
        }
    }

    fn merge(&mut self, later: Self) {
        self.lagged += later.lagged;
        self.unnamable += later.unnamable;
        self.link = later.link.or(self.link);
    }

    fn take_next(&mut self) -> Option<Gap> {
        if self.lagged > 0 {
            return Some(Gap::counted(GapReason::Lagged, mem::take(&mut self.lagged)));
        }
        if self.unnamable > 0 {
            let missed = mem::take(&mut self.unnamable);
            return Some(Gap::counted(GapReason::UnnamableChannel, missed));
        }
        self.link.take().map(Gap::uncounted)
    }
}

impl Ring {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            inner: Mutex::default(),
            limits,
        }
    }

    /// Adds a message; where there is no room, the oldest ones go and are counted.
    pub(crate) fn push(&self, channel: Arc<str>, message: Bytes) {
        let mut inner = self.lock();
        let bytes = size(&channel, &message);
        while inner.messages > 0
            && (inner.messages >= self.limits.messages
                || inner.bytes.saturating_add(bytes) > self.limits.bytes)
        {
            inner.lose_oldest();
        }
        inner.messages += 1;
        inner.bytes += bytes;
        inner.entries.push_back(Entry::Message { channel, message });
        wake(inner);
    }

    /// Adds a gap before whatever comes next.
    pub(crate) fn push_gap(&self, gap: Gap) {
        let mut inner = self.lock();
        match inner.entries.back_mut() {
            Some(Entry::Losses(losses)) => losses.add(gap),
            Some(Entry::Message { .. }) => {
                let mut losses = Losses::default();
                losses.add(gap);
                inner.entries.push_back(Entry::Losses(losses));
            }
            None => inner.lost.add(gap),
        }
        wake(inner);
    }

    /// Ends the stream behind what is buffered.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        wake(inner);
    }

    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<RawEvent>> {
        let mut inner = self.lock();
        loop {
            if let Some(gap) = inner.lost.take_next() {
                return Poll::Ready(Some(RawEvent::Gap(gap)));
            }
            match inner.entries.pop_front() {
                Some(Entry::Losses(losses)) => inner.lost = losses,
                Some(Entry::Message { channel, message }) => {
                    inner.messages -= 1;
                    inner.bytes -= size(&channel, &message);
                    return Poll::Ready(Some(RawEvent::Message { channel, message }));
                }
                None if inner.closed => return Poll::Ready(None),
                None => {
                    inner.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops the oldest message. Losses before it come to the front, in front of everything else.
    fn lose_oldest(&mut self) {
        while let Some(entry) = self.entries.pop_front() {
            match entry {
                Entry::Losses(losses) => self.lost.merge(losses),
                Entry::Message { channel, message } => {
                    self.lost.lagged += 1;
                    self.messages -= 1;
                    self.bytes -= size(&channel, &message);
                    break;
                }
            }
        }
        // Losses that followed the message now stand at the front.
        if let Some(Entry::Losses(_)) = self.entries.front()
            && let Some(Entry::Losses(losses)) = self.entries.pop_front()
        {
            self.lost.merge(losses);
        }
    }
}

/// What a message takes. The name counts, since each message of a pattern has one of its own, as long
/// as its publisher wants.
fn size(channel: &str, message: &[u8]) -> usize {
    channel.len() + message.len()
}

/// Wakes the reader after the lock is released, so that it does not run into it.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let reader = inner.reader.take();
    drop(inner);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(messages: usize) -> Ring {
        Ring::new(Limits {
            messages,
            bytes: 1024,
        })
    }

    fn push(ring: &Ring, text: &'static str) {
        ring.push("c".into(), Bytes::from_static(text.as_bytes()));
    }

    /// Everything that can be read now, as text: messages by their text, gaps by reason and size.
    fn drain(ring: &Ring) -> Vec<String> {
        let mut context = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        loop {
            match ring.poll_next(&mut context) {
                Poll::Ready(Some(RawEvent::Message { message, .. })) => {
                    seen.push(String::from_utf8_lossy(&message).into_owned());
                }
                Poll::Ready(Some(RawEvent::Gap(gap))) => {
                    seen.push(format!("{:?} {:?}", gap.reason, gap.missed));
                }
                Poll::Ready(None) => {
                    seen.push("end".to_owned());
                    return seen;
                }
                Poll::Pending => return seen,
            }
        }
    }

    #[test]
    fn messages_come_in_order() {
        let ring = ring(2);
        push(&ring, "1");
        push(&ring, "2");
        assert_eq!(drain(&ring), ["1", "2"]);
        assert_eq!(drain(&ring), [""; 0]);
    }

    #[test]
    fn a_full_ring_loses_its_oldest_and_counts_them() {
        let ring = ring(2);
        for text in ["1", "2", "3", "4", "5"] {
            push(&ring, text);
        }
        assert_eq!(drain(&ring), ["Lagged Some(3)", "4", "5"]);
        push(&ring, "6");
        assert_eq!(drain(&ring), ["6"], "a gap is told once");
    }

    #[test]
    fn the_payload_is_bounded_in_bytes_too() {
        let ring = Ring::new(Limits {
            messages: 100,
            bytes: 6,
        });
        for text in ["aa", "bb", "cc"] {
            push(&ring, text);
        }
        assert_eq!(drain(&ring), ["Lagged Some(1)", "bb", "cc"]);
        push(&ring, "too long for the bound");
        assert_eq!(drain(&ring), ["too long for the bound"]);
        assert_eq!(ring.lock().bytes, 0);
    }

    #[test]
    fn the_names_of_channels_are_bounded_as_well() {
        let ring = Ring::new(Limits {
            messages: 100,
            bytes: 10,
        });
        for name in ["12345678", "23456789"] {
            ring.push(name.into(), Bytes::new());
        }
        push(&ring, "1");
        assert_eq!(drain(&ring), ["Lagged Some(1)", "", "1"]);
        assert_eq!(ring.lock().bytes, 0);
    }

    #[test]
    fn a_gap_stands_where_it_happened() {
        let ring = ring(4);
        push(&ring, "1");
        ring.push_gap(Gap::uncounted(GapReason::Reconnected));
        ring.push_gap(Gap::counted(GapReason::UnnamableChannel, 1));
        ring.push_gap(Gap::counted(GapReason::UnnamableChannel, 1));
        push(&ring, "2");
        assert_eq!(
            drain(&ring),
            ["1", "UnnamableChannel Some(2)", "Reconnected None", "2"]
        );
    }

    #[test]
    fn overflow_loses_no_gap() {
        let ring = ring(1);
        push(&ring, "1");
        ring.push_gap(Gap::uncounted(GapReason::Reconnected));
        push(&ring, "2");
        push(&ring, "3");
        assert_eq!(drain(&ring), ["Lagged Some(2)", "Reconnected None", "3"]);
    }

    #[test]
    fn of_refused_and_reconnected_the_last_one_is_told() {
        let ring = ring(1);
        ring.push_gap(Gap::uncounted(GapReason::Reconnected));
        ring.push_gap(Gap::uncounted(GapReason::Refused));
        assert_eq!(drain(&ring), ["Refused None"]);
        ring.push_gap(Gap::uncounted(GapReason::Reconnected));
        assert_eq!(drain(&ring), ["Reconnected None"]);
    }

    #[test]
    fn gaps_without_messages_do_not_grow_the_ring() {
        let ring = ring(1);
        push(&ring, "1");
        for _ in 0..1_000 {
            ring.push_gap(Gap::uncounted(GapReason::Reconnected));
        }
        assert_eq!(ring.lock().entries.len(), 2);
    }

    #[test]
    fn a_closed_ring_ends_behind_what_it_holds() {
        let ring = ring(2);
        push(&ring, "1");
        ring.close();
        assert_eq!(drain(&ring), ["1", "end"]);
        assert_eq!(drain(&ring), ["end"], "and stays ended");
    }

    #[test]
    fn a_waiting_reader_is_woken() {
        struct Woken(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        type Cause = fn(&Ring);
        let causes: [(&str, Cause); 3] = [
            ("a message", |ring| push(ring, "1")),
            ("a gap", |ring| {
                ring.push_gap(Gap::uncounted(GapReason::Reconnected))
            }),
            ("the end", Ring::close),
        ];
        for (name, cause) in causes {
            let ring = ring(1);
            let woken = Arc::new(Woken(false.into()));
            let waker = Waker::from(Arc::clone(&woken));
            assert!(
                ring.poll_next(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            cause(&ring);
            assert!(woken.0.load(std::sync::atomic::Ordering::SeqCst), "{name}");
        }
    }
}
