//! The account of one subscription: what was sent, seen, and declared missing.

use store_core::{Bytes, RawEvent};

use crate::case::{CaseResult, Failure, ensure};

/// A numbered message of one publisher.
pub(in crate::laws) fn numbered(publisher: usize, number: u64) -> Bytes {
    Bytes::from(format!("{publisher}/{number}"))
}

/// Follows numbered messages and breaks the case at the first that contradicts the contract.
///
/// Numbers of a publisher begin at 0 and grow by 1. A hole is allowed if gaps that came before
/// have declared as many messages missing.
#[derive(Debug)]
pub(in crate::laws) struct Ledger {
    next: Vec<u64>,
    holes: u64,
    declared: u64,
    /// Publishers whose next message may follow a hole of any size, after an uncounted gap.
    excused: Vec<bool>,
    all_counted: bool,
}

impl Ledger {
    pub(in crate::laws) fn new(publishers: usize) -> Self {
        Self {
            next: vec![0; publishers],
            holes: 0,
            declared: 0,
            excused: vec![false; publishers],
            all_counted: true,
        }
    }

    /// The account of a single publisher whose first numbers are settled.
    pub(in crate::laws) fn starting_at(next: u64) -> Self {
        let mut ledger = Self::new(1);
        ledger.next[0] = next;
        ledger
    }

    /// Takes the next event; answers publisher and number where it is a message.
    pub(in crate::laws) fn take(&mut self, event: &RawEvent) -> CaseResult<Option<(usize, u64)>> {
        let bytes = match event {
            RawEvent::Message { message, .. } => message,
            RawEvent::Gap(gap) => {
                match gap.missed {
                    Some(missed) => self.declared += missed,
                    None => {
                        self.excused.fill(true);
                        self.all_counted = false;
                    }
                }
                return Ok(None);
            }
        };
        let Some((publisher, number)) = parse(bytes) else {
            return Err(Failure::new(format!("nobody published {bytes:?}")));
        };
        let Some(next) = self.next.get_mut(publisher) else {
            return Err(Failure::new(format!("there is no publisher {publisher}")));
        };
        ensure!(
            number >= *next,
            "message {number} of publisher {publisher} came twice or late: {next} was next"
        );
        if !std::mem::take(&mut self.excused[publisher]) {
            self.holes += number - *next;
        }
        *next = number + 1;
        ensure!(
            self.holes <= self.declared,
            "{} messages are missing before message {number} of publisher {publisher}, and the \
             gaps before it declare {}",
            self.holes,
            self.declared
        );
        Ok(Some((publisher, number)))
    }

    /// Closes the account after the last message of every publisher was seen.
    pub(in crate::laws) fn close(&self, sent: &[u64]) -> CaseResult {
        for (publisher, (next, sent)) in self.next.iter().zip(sent).enumerate() {
            ensure!(
                next == sent,
                "publisher {publisher} sent {sent} messages, and the last one seen is {}",
                *next as i64 - 1
            );
        }
        ensure!(
            !self.all_counted || self.holes == self.declared,
            "{} messages are missing, and the gaps declare {}",
            self.holes,
            self.declared
        );
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Option<(usize, u64)> {
    let (publisher, number) = std::str::from_utf8(bytes).ok()?.split_once('/')?;
    Some((publisher.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use store_core::{Gap, GapReason};

    use super::*;

    fn seen(publisher: usize, number: u64) -> RawEvent {
        RawEvent::Message {
            channel: "c".into(),
            message: numbered(publisher, number),
        }
    }

    fn gap(missed: Option<u64>) -> RawEvent {
        RawEvent::Gap(match missed {
            Some(missed) => Gap::counted(GapReason::Lagged, missed),
            None => Gap::uncounted(GapReason::Reconnected),
        })
    }

    fn account(events: &[RawEvent], sent: &[u64]) -> CaseResult {
        let mut ledger = Ledger::new(sent.len());
        for event in events {
            ledger.take(event)?;
        }
        ledger.close(sent)
    }

    #[test]
    fn seen_and_missed_make_what_was_sent() {
        let all = [seen(0, 0), seen(1, 0), seen(0, 1)];
        assert!(account(&all, &[2, 1]).is_ok());
        assert!(account(&all, &[3, 1]).is_err(), "the last one is missing");
        let counted = [seen(0, 0), gap(Some(2)), seen(0, 3)];
        assert!(account(&counted, &[4]).is_ok());
        assert!(account(&[gap(None), seen(0, 3)], &[4]).is_ok());
        let shared = [gap(Some(3)), seen(0, 1), seen(1, 2)];
        assert!(
            account(&shared, &[2, 3]).is_ok(),
            "one gap for two publishers"
        );
    }

    #[test]
    fn a_hole_without_its_gap_breaks_the_account() {
        assert!(account(&[seen(0, 0), seen(0, 2)], &[3]).is_err());
        assert!(
            account(&[seen(0, 1), gap(Some(1))], &[2]).is_err(),
            "too late"
        );
        assert!(
            account(&[gap(Some(1)), seen(0, 2)], &[3]).is_err(),
            "too few"
        );
        assert!(
            account(&[gap(Some(3)), seen(0, 2)], &[3]).is_err(),
            "too many"
        );
        let excused_once = [gap(None), seen(0, 2), seen(0, 4)];
        assert!(account(&excused_once, &[5]).is_err());
        assert!(account(&[seen(0, 0), seen(0, 0)], &[1]).is_err(), "twice");
        assert!(
            account(&[seen(0, 1), seen(0, 0)], &[2]).is_err(),
            "out of order"
        );
    }
}
