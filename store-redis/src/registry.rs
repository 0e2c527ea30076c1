//! Who listens to what: the subscriptions of a driver, and what the server must be told of them.
//!
//! Pure bookkeeping without I/O. A connection takes the commands from here, reports what the
//! server said, and hands in the messages.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use store_core::{Gap, GapReason};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::Failure;
use crate::ring::{Limits, Ring};

/// What a subscription names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Channel,
    Pattern,
}

/// What somebody may listen to.
type Topic = (Kind, Arc<str>);

/// Something to send to the server.
#[derive(Debug)]
pub(crate) enum Command {
    /// Subscribe. The confirmation is for all members numbered below `before`: for those that
    /// join later there is a command of their own, so that none sees a message that was published
    /// before it asked.
    Join {
        kind: Kind,
        name: Arc<str>,
        before: u64,
        /// Of who asked for it, and may have given up meanwhile. Only kept.
        _permit: Option<Arc<OwnedSemaphorePermit>>,
    },
    /// Unsubscribe.
    Leave { kind: Kind, name: Arc<str> },
}

/// The subscriptions, and the commands that are not sent yet.
#[derive(Debug)]
pub(crate) struct Registry {
    channels: HashMap<Arc<str>, Vec<Member>>,
    patterns: HashMap<Arc<str>, Vec<Member>>,
    /// None without a connection: the next one is asked for everything.
    outbox: Option<VecDeque<Command>>,
    /// What the server has confirmed on this connection, and not yet that it forgot.
    held: HashSet<Topic>,
    /// What the server has put off, and what it has refused to have back: to be asked for again.
    put_off: HashSet<Topic>,
    refused: HashSet<Topic>,
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

impl Member {
    fn is_live(&self) -> bool {
        matches!(self.state, MemberState::Live)
    }
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
            outbox: None,
            held: HashSet::new(),
            put_off: HashSet::new(),
            refused: HashSet::new(),
            next_number: 0,
            limits,
            closed: false,
        }
    }

    /// Adds a subscription; `None` once closed. The command to the server keeps `permit`.
    pub(crate) fn join(
        &mut self,
        kind: Kind,
        name: &str,
        permit: Option<Arc<OwnedSemaphorePermit>>,
    ) -> Option<Joined> {
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
        self.send(Command::Join {
            kind,
            name,
            before: number + 1,
            _permit: permit,
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
        self.outbox.as_mut()?.pop_front()
    }

    /// Whether anybody listens, so that a connection is worth having.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    /// The server confirmed a [`Command::Join`].
    pub(crate) fn confirmed(&mut self, kind: Kind, name: &Arc<str>, before: u64) {
        self.held.insert((kind, Arc::clone(name)));
        let Some(members) = self.topics(kind).get_mut(&**name) else {
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

    /// The server confirmed a [`Command::Leave`].
    pub(crate) fn forgotten(&mut self, kind: Kind, name: Arc<str>) {
        self.held.remove(&(kind, name));
    }

    /// The server put off a command.
    pub(crate) fn put_off(&mut self, kind: Kind, name: Arc<str>) {
        self.put_off.insert((kind, name));
    }

    /// The server refused a [`Command::Join`]. Who waited for it gets the error; who listened
    /// before the connection was lost reads a gap, and is to be tried again: answers whether anybody
    /// is.
    pub(crate) fn refused(
        &mut self,
        kind: Kind,
        name: &Arc<str>,
        before: u64,
        failure: &Failure,
    ) -> bool {
        let Some(members) = self.topics(kind).get_mut(&**name) else {
            return false;
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
        let refused = |member: &Member| matches!(member.state, MemberState::Refused);
        let is_wanted_back = members.iter().any(refused);
        if is_wanted_back {
            self.refused.insert((kind, Arc::clone(name)));
        }
        self.forget_if_empty(kind, name);
        is_wanted_back
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

    /// Asks again for what was put off.
    pub(crate) fn ask_for_put_off(&mut self) {
        let topics = mem::take(&mut self.put_off);
        self.ask_again(topics);
    }

    /// Asks again for what was refused.
    pub(crate) fn ask_for_refused(&mut self) {
        let topics = mem::take(&mut self.refused);
        self.ask_again(topics);
    }

    /// Each of `topics` was answered, so none is asked for twice at a time, and what nobody wants any
    /// more is not asked for at all.
    fn ask_again(&mut self, topics: HashSet<Topic>) {
        let before = self.next_number;
        for topic in topics {
            let is_held = self.held.contains(&topic);
            let (kind, name) = topic;
            match self.topics(kind).get(&name) {
                Some(members) if members.iter().all(Member::is_live) => {}
                Some(_) => self.send(Command::Join {
                    kind,
                    name,
                    before,
                    _permit: None,
                }),
                None if is_held => self.send(Command::Leave { kind, name }),
                None => {}
            }
        }
    }

    /// The connection is gone, and all that was sent through it.
    pub(crate) fn connection_lost(&mut self) {
        self.outbox = None;
        for topics in [&mut self.held, &mut self.put_off, &mut self.refused] {
            topics.clear();
        }
        let topics = self.channels.values_mut().chain(self.patterns.values_mut());
        for member in topics.flatten() {
            if member.is_live() {
                member.state = MemberState::Lost;
            }
        }
    }

    /// A new connection is there, which knows of nothing.
    pub(crate) fn connected(&mut self) {
        self.outbox = Some(VecDeque::new());
        self.ask_for_all();
    }

    /// Hands a message to everybody who listens to `name`: a channel, or a pattern with the
    /// concrete `channel`. Answers to how many.
    pub(crate) fn deliver(&self, kind: Kind, name: &[u8], channel: &[u8], message: &[u8]) -> usize {
        let topics = match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
        };
        let found = std::str::from_utf8(name)
            .ok()
            .and_then(|name| topics.get_key_value(name));
        let Some((name, members)) = found else {
            return 0;
        };
        let channel = match kind {
            Kind::Channel => Some(Arc::clone(name)),
            Kind::Pattern => std::str::from_utf8(channel).ok().map(Arc::from),
        };
        let message = Bytes::copy_from_slice(message);
        for member in members {
            if !member.is_live() {
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
        members.len()
    }

    /// Ends every subscription.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.outbox = None;
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
            self.send(Command::Leave { kind, name });
        }
    }

    fn send(&mut self, command: Command) {
        if let Some(outbox) = &mut self.outbox {
            outbox.push_back(command);
        }
    }

    fn ask_for_all(&mut self) {
        let Some(outbox) = &mut self.outbox else {
            return;
        };
        let before = self.next_number;
        for (kind, topics) in [
            (Kind::Channel, &self.channels),
            (Kind::Pattern, &self.patterns),
        ] {
            outbox.extend(topics.keys().map(|name| Command::Join {
                kind,
                name: Arc::clone(name),
                before,
                _permit: None,
            }));
        }
    }
}

#[cfg(test)]
mod tests;
