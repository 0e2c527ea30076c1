//! Who listens to what: the subscriptions of a driver, and what the server must be told of them.
//!
//! Pure bookkeeping without I/O. A connection takes the commands from here, reports what the
//! server said, and hands in the messages.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use store_core::{Gap, GapReason};
use tokio::sync::oneshot;

use crate::error::Failure;
use crate::ring::{Limits, Ring};

/// What a subscription names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Channel,
    Pattern,
}

/// Something to send to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Subscribe. The confirmation is for all members numbered below `before`: for those that
    /// join later there is a command of their own, so that none sees a message that was published
    /// before it asked.
    Join {
        kind: Kind,
        name: Arc<str>,
        before: u64,
    },
    /// Unsubscribe.
    Leave { kind: Kind, name: Arc<str> },
}

/// The subscriptions, and the commands that are not sent yet.
#[derive(Debug)]
pub(crate) struct Registry {
    channels: HashMap<Arc<str>, Vec<Member>>,
    patterns: HashMap<Arc<str>, Vec<Member>>,
    outbox: VecDeque<Command>,
    next_number: u64,
    limits: Limits,
    closed: bool,
}

/// One subscription.
#[derive(Debug)]
struct Member {
    number: u64,
    ring: Arc<Ring>,
    state: MemberState,
}

#[derive(Debug)]
enum MemberState {
    /// Waits for the first confirmation.
    Joining(oneshot::Sender<Result<(), Failure>>),
    /// Gets messages.
    Live,
    /// Was live until the connection was lost.
    Lost,
    /// Was lost, and the server refuses to have it back.
    Refused,
}

/// A new subscription that is not confirmed yet.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) number: u64,
    pub(crate) ring: Arc<Ring>,
    pub(crate) confirmed: oneshot::Receiver<Result<(), Failure>>,
}

impl Registry {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            channels: HashMap::new(),
            patterns: HashMap::new(),
            outbox: VecDeque::new(),
            next_number: 0,
            limits,
            closed: false,
        }
    }

    /// Adds a subscription; `None` once closed.
    pub(crate) fn join(&mut self, kind: Kind, name: &str) -> Option<Joined> {
        if self.closed {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        let ring = Arc::new(Ring::new(self.limits));
        let (confirm, confirmed) = oneshot::channel();
        let member = Member {
            number,
            ring: Arc::clone(&ring),
            state: MemberState::Joining(confirm),
        };
        let topics = self.topics(kind);
        let name = match topics.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(name),
        };
        topics.entry(Arc::clone(&name)).or_default().push(member);
        self.outbox.push_back(Command::Join {
            kind,
            name,
            before: number + 1,
        });
        Some(Joined {
            number,
            ring,
            confirmed,
        })
    }

    /// Removes a subscription; the last one of its name takes the server's along.
    pub(crate) fn leave(&mut self, kind: Kind, name: &str, number: u64) {
        if let Some(members) = self.topics(kind).get_mut(name) {
            members.retain(|member| member.number != number);
            self.forget_if_empty(kind, name);
        }
    }

    /// The next thing to send.
    pub(crate) fn next_command(&mut self) -> Option<Command> {
        self.outbox.pop_front()
    }

    /// Whether anybody listens, so that a connection is worth having.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    /// The server confirmed a [`Command::Join`].
    pub(crate) fn confirmed(&mut self, kind: Kind, name: &str, before: u64) {
        let Some(members) = self.topics(kind).get_mut(name) else {
            return;
        };
        for member in members.iter_mut().filter(|member| member.number < before) {
            match mem::replace(&mut member.state, MemberState::Live) {
                MemberState::Live => {}
                MemberState::Lost | MemberState::Refused => {
                    member.ring.push_gap(Gap::uncounted(GapReason::Reconnected));
                }
                // Where nobody waits any more, the member is about to leave.
                MemberState::Joining(confirm) => drop(confirm.send(Ok(()))),
            }
        }
    }

    /// The server refused a [`Command::Join`]. Who waited for it gets the error; who listened
    /// before the connection was lost reads a gap, and is tried again.
    pub(crate) fn refused(&mut self, kind: Kind, name: &str, before: u64, failure: &Failure) {
        let Some(members) = self.topics(kind).get_mut(name) else {
            return;
        };
        let mut kept = Vec::with_capacity(members.len());
        for mut member in members.drain(..) {
            if member.number < before {
                match member.state {
                    MemberState::Joining(confirm) => {
                        drop(confirm.send(Err(failure.clone())));
                        continue;
                    }
                    MemberState::Lost => {
                        member.ring.push_gap(Gap::uncounted(GapReason::Refused));
                        member.state = MemberState::Refused;
                    }
                    MemberState::Live | MemberState::Refused => {}
                }
            }
            kept.push(member);
        }
        *members = kept;
        self.forget_if_empty(kind, name);
    }

    /// Whether the server refuses a subscription that it once confirmed.
    pub(crate) fn has_refused(&self) -> bool {
        let mut members = self
            .channels
            .values()
            .chain(self.patterns.values())
            .flatten();
        members.any(|member| matches!(member.state, MemberState::Refused))
    }

    /// Asks again for what was refused.
    pub(crate) fn retry_refused(&mut self) {
        self.ask_for(|member| matches!(member.state, MemberState::Refused));
    }

    /// The connection is gone, and all that was sent through it.
    pub(crate) fn connection_lost(&mut self) {
        self.outbox.clear();
        let topics = self.channels.values_mut().chain(self.patterns.values_mut());
        for member in topics.flatten() {
            if matches!(member.state, MemberState::Live) {
                member.state = MemberState::Lost;
            }
        }
    }

    /// A new connection is there, which knows of nothing.
    pub(crate) fn connected(&mut self) {
        self.outbox.clear();
        self.ask_for(|_| true);
    }

    /// Hands a message to everybody who listens to `name`: a channel, or a pattern with the
    /// concrete `channel`.
    pub(crate) fn deliver(&self, kind: Kind, name: &[u8], channel: &[u8], message: &[u8]) {
        let topics = match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
        };
        let found = std::str::from_utf8(name)
            .ok()
            .and_then(|name| topics.get_key_value(name));
        let Some((name, members)) = found else {
            return;
        };
        let channel = match kind {
            Kind::Channel => Some(Arc::clone(name)),
            Kind::Pattern => std::str::from_utf8(channel).ok().map(Arc::from),
        };
        let message = Bytes::copy_from_slice(message);
        for member in members {
            if !matches!(member.state, MemberState::Live) {
                continue;
            }
            match &channel {
                Some(channel) => member.ring.push(Arc::clone(channel), message.clone()),
                None => {
                    let gap = Gap::counted(GapReason::UnnamableChannel, 1);
                    member.ring.push_gap(gap);
                }
            }
        }
    }

    /// Ends every subscription.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.outbox.clear();
        let topics = self.channels.drain().chain(self.patterns.drain());
        for member in topics.flat_map(|(_, members)| members) {
            member.ring.close();
        }
    }

    fn topics(&mut self, kind: Kind) -> &mut HashMap<Arc<str>, Vec<Member>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    fn forget_if_empty(&mut self, kind: Kind, name: &str) {
        let topics = self.topics(kind);
        if topics.get(name).is_some_and(Vec::is_empty)
            && let Some((name, _)) = topics.remove_entry(name)
        {
            self.outbox.push_back(Command::Leave { kind, name });
        }
    }

    /// Asks for every name that has a member like this.
    fn ask_for(&mut self, like: impl Fn(&Member) -> bool) {
        let before = self.next_number;
        for (kind, topics) in [
            (Kind::Channel, &self.channels),
            (Kind::Pattern, &self.patterns),
        ] {
            for (name, members) in topics {
                if members.iter().any(&like) {
                    self.outbox.push_back(Command::Join {
                        kind,
                        name: Arc::clone(name),
                        before,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use store_core::RawEvent;

    use super::*;
    use crate::error;

    fn registry() -> Registry {
        Registry::new(Limits {
            messages: 8,
            bytes: 1024,
        })
    }

    fn join(registry: &mut Registry) -> Joined {
        registry.join(Kind::Channel, "c").unwrap()
    }

    /// Answers every command that waits, as a server does that confirms everything.
    fn confirm_all(registry: &mut Registry) -> Vec<&'static str> {
        let mut sent = Vec::new();
        while let Some(command) = registry.next_command() {
            match command {
                Command::Join { kind, name, before } => {
                    registry.confirmed(kind, &name, before);
                    sent.push("join");
                }
                Command::Leave { .. } => sent.push("leave"),
            }
        }
        sent
    }

    fn refuse_all(registry: &mut Registry) {
        while let Some(command) = registry.next_command() {
            if let Command::Join { kind, name, before } = command {
                registry.refused(kind, &name, before, &error::reply("NOPERM", ""));
            }
        }
    }

    fn publish(registry: &Registry, message: &str) {
        registry.deliver(Kind::Channel, b"c", b"c", message.as_bytes());
    }

    fn read(joined: &Joined) -> Vec<String> {
        let mut context = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        while let Poll::Ready(Some(event)) = joined.ring.poll_next(&mut context) {
            seen.push(match event {
                RawEvent::Message { channel, message } => {
                    format!("{channel} {}", String::from_utf8_lossy(&message))
                }
                RawEvent::Gap(gap) => format!("{:?} {:?}", gap.reason, gap.missed),
            });
        }
        seen
    }

    #[test]
    fn a_member_hears_nothing_before_its_own_confirmation() {
        let mut registry = registry();
        let first = join(&mut registry);
        publish(&registry, "0");
        assert_eq!(confirm_all(&mut registry), ["join"]);
        publish(&registry, "1");
        let mut second = join(&mut registry);
        publish(&registry, "2");
        assert!(second.confirmed.try_recv().is_err());
        assert_eq!(confirm_all(&mut registry), ["join"]);
        assert!(second.confirmed.try_recv().unwrap().is_ok());
        publish(&registry, "3");
        assert_eq!(read(&first), ["c 1", "c 2", "c 3"]);
        assert_eq!(read(&second), ["c 3"]);
    }

    #[test]
    fn the_last_one_to_leave_unsubscribes() {
        let mut registry = registry();
        let first = join(&mut registry);
        let second = join(&mut registry);
        confirm_all(&mut registry);
        registry.leave(Kind::Channel, "c", first.number);
        assert_eq!(registry.next_command(), None);
        registry.leave(Kind::Channel, "c", second.number);
        assert_eq!(confirm_all(&mut registry), ["leave"]);
        assert!(!registry.is_wanted());
    }

    #[test]
    fn leaving_while_another_joins_keeps_the_servers_subscription() {
        let mut registry = registry();
        let first = join(&mut registry);
        confirm_all(&mut registry);
        let second = join(&mut registry);
        registry.leave(Kind::Channel, "c", first.number);
        assert_eq!(confirm_all(&mut registry), ["join"]);
        publish(&registry, "1");
        assert_eq!(read(&second), ["c 1"]);
    }

    #[test]
    fn a_new_member_after_the_last_one_left_joins_behind_the_leaving() {
        let mut registry = registry();
        let first = join(&mut registry);
        confirm_all(&mut registry);
        registry.leave(Kind::Channel, "c", first.number);
        let second = join(&mut registry);
        assert_eq!(confirm_all(&mut registry), ["leave", "join"]);
        publish(&registry, "1");
        assert_eq!(read(&second), ["c 1"]);
    }

    #[test]
    fn a_new_connection_is_a_gap_before_the_first_message() {
        let mut registry = registry();
        let first = join(&mut registry);
        confirm_all(&mut registry);
        publish(&registry, "1");
        registry.connection_lost();
        let mut joining = join(&mut registry);
        registry.connected();
        assert_eq!(confirm_all(&mut registry), ["join"], "one for both members");
        publish(&registry, "2");
        assert_eq!(read(&first), ["c 1", "Reconnected None", "c 2"]);
        assert!(joining.confirmed.try_recv().unwrap().is_ok());
        assert_eq!(read(&joining), ["c 2"], "it never had a connection to lose");
    }

    #[test]
    fn a_refused_member_gets_the_error() {
        let mut registry = registry();
        let mut joined = join(&mut registry);
        refuse_all(&mut registry);
        assert!(joined.confirmed.try_recv().unwrap().is_err());
        assert!(!registry.is_wanted());
    }

    #[test]
    fn a_member_refused_after_a_reconnect_hears_of_it_and_is_tried_again() {
        let mut registry = registry();
        let member = join(&mut registry);
        confirm_all(&mut registry);
        registry.connection_lost();
        registry.connected();
        refuse_all(&mut registry);
        assert_eq!(read(&member), ["Refused None"]);
        assert!(registry.has_refused());
        registry.retry_refused();
        refuse_all(&mut registry);
        assert_eq!(read(&member), [""; 0], "told once");
        registry.retry_refused();
        confirm_all(&mut registry);
        publish(&registry, "1");
        assert_eq!(read(&member), ["Reconnected None", "c 1"]);
        assert!(!registry.has_refused());
    }

    #[test]
    fn a_pattern_names_the_concrete_channel() {
        let mut registry = registry();
        let member = registry.join(Kind::Pattern, "n*").unwrap();
        confirm_all(&mut registry);
        registry.deliver(Kind::Pattern, b"n*", b"news", b"1");
        registry.deliver(Kind::Pattern, b"n*", b"n\xff", b"2");
        registry.deliver(Kind::Pattern, b"n*", b"next", b"3");
        assert_eq!(
            read(&member),
            ["news 1", "UnnamableChannel Some(1)", "next 3"]
        );
    }

    #[test]
    fn closing_ends_what_is_there_and_refuses_what_comes() {
        let mut registry = registry();
        let mut member = join(&mut registry);
        registry.close();
        assert!(member.confirmed.try_recv().is_err());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(member.ring.poll_next(&mut context), Poll::Ready(None));
        assert!(registry.join(Kind::Channel, "c").is_none());
        registry.leave(Kind::Channel, "c", member.number);
        assert_eq!(registry.next_command(), None);
    }
}
