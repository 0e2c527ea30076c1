//! Which command each operation sends: pure construction, no I/O.

use std::borrow::Cow;

use redis::{Cmd, Pipeline, cmd};
use store_core::{Condition, Expiry, TtlMillis, pattern};

use crate::options::Protocol;
use crate::reply::Shape;
use crate::resp::Frame;
use crate::scripts::{self, Source};

/// What a call sends, and what is known of its effect.
pub(crate) struct Request<'a> {
    pub(crate) payload: Payload<'a>,
    pub(crate) effect: Effect,
    /// That of its answer.
    pub(crate) shape: Shape,
}

/// What goes over the wire, in one round trip.
pub(crate) enum Payload<'a> {
    One(Cmd),
    Many(Pipeline),
    Script(Script<'a>),
}

/// What may have happened when a request was sent and no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it only reads, so it may also be sent again.
    None,
    /// It may have been applied, so it is never sent again.
    Write,
}

impl Payload<'_> {
    /// The bytes to be written. A script is called by its hash, unless the server was found not to
    /// know it.
    pub(crate) fn packed(&self, script_is_unknown: bool) -> Vec<u8> {
        match self {
            Self::One(command) => command.get_packed_command(),
            Self::Many(pipeline) => pipeline.get_packed_pipeline(),
            Self::Script(script) if script_is_unknown => script.by_code().get_packed_command(),
            Self::Script(script) => script.by_hash().get_packed_command(),
        }
    }

    /// Whether `answer` says that the server does not know the script.
    pub(crate) fn is_unknown_script(&self, answer: &Frame<'_>) -> bool {
        let says_so = matches!(answer, Frame::Error(line) if line.starts_with(b"NOSCRIPT"));
        says_so && matches!(self, Self::Script(_))
    }
}

/// A call of a script on one key.
pub(crate) struct Script<'a> {
    source: &'static Source,
    key: &'a str,
    arguments: Vec<Cow<'a, [u8]>>,
}

impl Script<'_> {
    /// Calls the script by its hash.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", self.source.hash())
    }

    /// Sends the script itself, which makes the server remember it.
    pub(crate) fn by_code(&self) -> Cmd {
        self.command("EVAL", self.source.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(1).arg(self.key);
        for argument in &self.arguments {
            command.arg(&**argument);
        }
        command
    }
}

fn read(command: Cmd, shape: Shape) -> Request<'static> {
    Request {
        payload: Payload::One(command),
        effect: Effect::None,
        shape,
    }
}

fn write(command: Cmd, shape: Shape) -> Request<'static> {
    Request {
        payload: Payload::One(command),
        effect: Effect::Write,
        shape,
    }
}

fn script<'a>(
    source: &'static Source,
    key: &'a str,
    arguments: Vec<Cow<'a, [u8]>>,
    shape: Shape,
) -> Request<'a> {
    Request {
        payload: Payload::Script(Script {
            source,
            key,
            arguments,
        }),
        effect: Effect::Write,
        shape,
    }
}

fn on(name: &str, key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(6, name.len() + key.len() + 64);
    command.arg(name).arg(key);
    command
}

fn on_all(name: &str, keys: &[&str]) -> Cmd {
    let mut command = cmd(name);
    for key in keys {
        command.arg(*key);
    }
    command
}

fn set_command(key: &str, value: &[u8], expiry: Expiry) -> Cmd {
    let mut command = Cmd::with_capacity(6, key.len() + value.len() + 64);
    command.arg("SET").arg(key).arg(value);
    match expiry {
        Expiry::After(ttl) => {
            command.arg("PX").arg(ttl.as_millis());
        }
        Expiry::Keep => {
            command.arg("KEEPTTL");
        }
        _ => {}
    }
    command
}

pub(crate) fn get(key: &str) -> Request<'_> {
    read(on("GET", key), Shape::Value)
}

pub(crate) fn set<'a>(
    key: &'a str,
    value: &'a [u8],
    expiry: Expiry,
    condition: Condition<'a>,
) -> Request<'a> {
    if let Condition::IfEquals(expected) = condition {
        return set_if_equals(key, value, expiry, expected);
    }
    let mut command = set_command(key, value, expiry);
    match condition {
        Condition::IfAbsent => {
            command.arg("NX");
        }
        Condition::IfPresent => {
            command.arg("XX");
        }
        _ => {}
    }
    write(command, Shape::Written)
}

fn set_if_equals<'a>(
    key: &'a str,
    value: &'a [u8],
    expiry: Expiry,
    expected: &'a [u8],
) -> Request<'a> {
    let mut arguments = vec![Cow::Borrowed(expected), Cow::Borrowed(value)];
    match expiry {
        Expiry::After(ttl) => {
            arguments.push(Cow::Borrowed(b"PX"));
            arguments.push(decimal(ttl.as_millis()));
        }
        Expiry::Keep => arguments.push(Cow::Borrowed(b"KEEPTTL")),
        _ => {}
    }
    script(&scripts::SET_IF_EQUALS, key, arguments, Shape::Flag)
}

pub(crate) fn delete(key: &str) -> Request<'_> {
    write(on("DEL", key), Shape::Flag)
}

pub(crate) fn has(key: &str) -> Request<'_> {
    read(on("EXISTS", key), Shape::Flag)
}

/// `INCRBY`, for negative numbers too: `DECRBY` has no `i64::MIN`.
pub(crate) fn increment(key: &str, delta: i64) -> Request<'_> {
    let mut command = on("INCRBY", key);
    command.arg(delta);
    write(command, Shape::Counter)
}

pub(crate) fn increment_with_ttl(key: &str, delta: i64, ttl: TtlMillis) -> Request<'_> {
    script(
        &scripts::INCREMENT,
        key,
        vec![decimal(delta), decimal(ttl.as_millis())],
        Shape::CounterText,
    )
}

pub(crate) fn expire(key: &str, ttl: TtlMillis) -> Request<'_> {
    let mut command = on("PEXPIRE", key);
    command.arg(ttl.as_millis());
    write(command, Shape::Flag)
}

pub(crate) fn persist(key: &str) -> Request<'_> {
    write(on("PERSIST", key), Shape::Flag)
}

pub(crate) fn ttl(key: &str) -> Request<'_> {
    read(on("PTTL", key), Shape::Ttl)
}

pub(crate) fn get_many(keys: &[&str]) -> Request<'static> {
    read(on_all("MGET", keys), Shape::Values(keys.len()))
}

/// `MSET`, or a pipeline of `SET … PX` since `MSET` has no ttl.
pub(crate) fn set_many(entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Request<'static> {
    let Some(ttl) = ttl else {
        let mut command = cmd("MSET");
        for (key, value) in entries {
            command.arg(*key).arg(*value);
        }
        return write(command, Shape::Done);
    };
    let mut pipeline = Pipeline::with_capacity(entries.len());
    for (key, value) in entries {
        pipeline.add_command(set_command(key, value, Expiry::After(ttl)));
    }
    Request {
        payload: Payload::Many(pipeline),
        effect: Effect::Write,
        shape: Shape::AllDone(entries.len()),
    }
}

pub(crate) fn delete_many(keys: &[&str]) -> Request<'static> {
    write(on_all("DEL", keys), Shape::Count)
}

pub(crate) fn take(key: &str) -> Request<'_> {
    write(on("GETDEL", key), Shape::Value)
}

pub(crate) fn replace(key: &str, value: &[u8], expiry: Expiry) -> Request<'static> {
    let mut command = set_command(key, value, expiry);
    command.arg("GET");
    write(command, Shape::Value)
}

pub(crate) fn compare_and_delete<'a>(key: &'a str, expected: &'a [u8]) -> Request<'a> {
    script(
        &scripts::COMPARE_AND_DELETE,
        key,
        vec![Cow::Borrowed(expected)],
        Shape::Flag,
    )
}

pub(crate) fn publish(channel: &str, message: &[u8]) -> Request<'static> {
    let mut command = on("PUBLISH", channel);
    command.arg(message);
    write(command, Shape::Count)
}

/// The most keys that a page of a scan asks for: far below what an answer may have.
const MAX_PAGE: usize = 100_000;

/// One step of a scan. The server matches the prefix literally; an empty one needs no match.
pub(crate) fn scan(prefix: &str, cursor: u64, page_size: usize) -> Request<'static> {
    let mut command = cmd("SCAN");
    command.arg(cursor);
    if !prefix.is_empty() {
        command.arg("MATCH").arg(pattern::escape(prefix) + "*");
    }
    // `COUNT 0` is an error to the server.
    command.arg("COUNT").arg(page_size.clamp(1, MAX_PAGE));
    read(command, Shape::Page)
}

/// Neither a read nor a write: it is sent beside the calls.
pub(crate) type Question = (Cmd, Shape);

pub(crate) fn ping() -> Question {
    (cmd("PING"), Shape::Pong)
}

/// Asks for the role as the handshake does. Without arguments `HELLO` changes nothing.
pub(crate) fn role(protocol: Protocol) -> Question {
    let command = match protocol {
        Protocol::Resp2 => "ROLE",
        Protocol::Resp3 => "HELLO",
    };
    (cmd(command), Shape::Role)
}

fn decimal(number: impl ToString) -> Cow<'static, [u8]> {
    Cow::Owned(number.to_string().into_bytes())
}

#[cfg(test)]
mod tests;
