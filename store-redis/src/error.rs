//! The only place where Redis's errors, and failures of connections, become a store's errors.

mod connecting;

use std::fmt;
use std::time::Duration;

use store_core::{Error, ErrorKind};

use crate::command::{Effect, Payload};
use crate::options::{Address, RedisOptions};
use crate::resp::{self, Frame};

pub(crate) use connecting::*;

/// Why there is no connection, or why a subscription was refused.
///
/// Cloneable, unlike an [`Error`], since it may concern many calls.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    /// Somebody is there and says no, so that asking again soon would only be a burden.
    pub(crate) is_refusal: bool,
    /// The server is a replica, where a master is wanted.
    pub(crate) is_replica: bool,
    message: String,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            is_refusal: false,
            is_replica: false,
            message: message.into(),
        }
    }

    fn refusal(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            is_refusal: true,
            ..Self::new(kind, message)
        }
    }

    pub(crate) fn into_error(self) -> Error {
        Error::new(self.kind, self.message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Decides the kind of an error reply by its code, and by its text where the code is the general
/// `ERR`.
pub(crate) fn reply(code: &str, detail: &str) -> Failure {
    let (kind, message) = match code {
        "WRONGTYPE" => (
            ErrorKind::WrongType,
            "the key holds another kind of value than this operation needs".to_owned(),
        ),
        "NOAUTH" => (
            ErrorKind::PermissionDenied,
            "Redis asks for credentials; give them as redis://user:password@host or \
             redis://:password@host"
                .to_owned(),
        ),
        "WRONGPASS" => (
            ErrorKind::PermissionDenied,
            "Redis refused the credentials; check user and password".to_owned(),
        ),
        "NOPERM" => (
            ErrorKind::PermissionDenied,
            "the Redis user may not do this; grant it the command, the key or the channel \
             (ACL SETUSER)"
                .to_owned(),
        ),
        "DENIED" => (
            ErrorKind::PermissionDenied,
            "Redis runs in protected mode and takes local connections only; give it a password or \
             set protected-mode to no"
                .to_owned(),
        ),
        "OOM" => (
            ErrorKind::Unavailable,
            "Redis is out of memory and refused to write; raise maxmemory or set an eviction policy"
                .to_owned(),
        ),
        "BUSY" => (
            ErrorKind::Unavailable,
            "Redis is busy with a script of another client; wait, or end it with SCRIPT KILL"
                .to_owned(),
        ),
        "LOADING" => (
            ErrorKind::Unavailable,
            "Redis is still loading its data; try again soon".to_owned(),
        ),
        "READONLY" => (
            ErrorKind::Unavailable,
            "this Redis is a read-only replica; connect to the master".to_owned(),
        ),
        "MASTERDOWN" => (
            ErrorKind::Unavailable,
            "this Redis is a replica without its master and refuses stale data".to_owned(),
        ),
        "NOREPLICAS" => (
            ErrorKind::Unavailable,
            "Redis has fewer good replicas than min-replicas-to-write asks for, and refused to \
             write"
                .to_owned(),
        ),
        "MISCONF" => (
            ErrorKind::Unavailable,
            "Redis cannot save to disk and refuses to write; look into its log".to_owned(),
        ),
        "CLUSTERDOWN" | "TRYAGAIN" => (
            ErrorKind::Unavailable,
            "the Redis cluster does not serve this key for now; try again".to_owned(),
        ),
        "MOVED" | "ASK" | "CROSSSLOT" => (
            ErrorKind::Backend,
            "this Redis is a node of a cluster, which this driver does not speak to".to_owned(),
        ),
        "NOPROTO" => (
            ErrorKind::Unsupported,
            "the server has no RESP3; add ?protocol=resp2 to the URL".to_owned(),
        ),
        _ => general(code, detail),
    };
    Failure::new(kind, message)
}

/// Error replies that only their text tells apart. The text goes no further where it may repeat
/// arguments.
fn general(code: &str, detail: &str) -> (ErrorKind, String) {
    let has = |text| detail.contains(text);
    if has("not an integer or out of range") {
        return (
            ErrorKind::WrongType,
            "the value is not an integer from -2^63 to 2^63-1 in plain decimal text".to_owned(),
        );
    }
    if has("increment or decrement would overflow") {
        return (
            ErrorKind::Overflow,
            "the counter would leave the range of a 64-bit signed integer".to_owned(),
        );
    }
    // How NOPERM is said inside of a script: by Redis 6.2 and 7.0, and by Redis 8 and Valkey.
    if has("The user executing the script can't") || has("ACL failure in script") {
        let failure = reply("NOPERM", "");
        return (failure.kind, failure.message);
    }
    if has("invalid expire time") {
        return (
            ErrorKind::InvalidInput,
            "the ttl is longer than Redis can hold".to_owned(),
        );
    }
    if has("string exceeds maximum allowed size") {
        return (
            ErrorKind::TooLarge,
            "the value is longer than Redis accepts (proto-max-bulk-len)".to_owned(),
        );
    }
    if has("max number of clients") {
        return (
            ErrorKind::Unavailable,
            "Redis has as many clients as it accepts; raise maxclients or close some".to_owned(),
        );
    }
    if has("unknown command") || has("Unknown command") {
        return (
            ErrorKind::Unsupported,
            "the server does not know the command; Redis 6.2 or newer is needed".to_owned(),
        );
    }
    if has("called without any password configured") {
        return (
            ErrorKind::PermissionDenied,
            "a password was given, but Redis has none configured; leave it out of the URL"
                .to_owned(),
        );
    }
    if has("DB index is out of range") {
        return (
            ErrorKind::InvalidInput,
            "the server has no database of this number; it has 16, from 0 to 15, unless configured \
             otherwise"
                .to_owned(),
        );
    }
    if has("invalid bulk length") {
        return (
            ErrorKind::TooLarge,
            "a key, a value or a message is longer than the server takes (proto-max-bulk-len); it dropped \
             the connection"
                .to_owned(),
        );
    }
    if has("Protocol error") {
        return (
            ErrorKind::Indeterminate,
            format!(
                "Redis could not read the request and dropped the connection: {}",
                shown(detail)
            ),
        );
    }
    let refusal = format!("{code} {detail}");
    (
        ErrorKind::Backend,
        format!("Redis answered with an error: {}", shown(&refusal)),
    )
}

/// A text of the server that nobody here knows, as far as it may go into a message and a log.
fn shown(text: &str) -> String {
    const LONGEST: usize = 500;
    let mut shown = String::new();
    for char in text.chars().take(LONGEST) {
        match char.is_control() {
            true => shown.extend(char.escape_default()),
            false => shown.push(char),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

/// What helps against a refusal that proves that nothing was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The same server, a little later.
    Wait,
    /// Another connection, which may lead to another server: this one is no master.
    Reconnect,
}

/// The remedy for `answer`, if it refuses all of a request for a reason that passes.
pub(crate) fn remedy(answer: &Frame<'_>, payload: &Payload<'_>) -> Option<Remedy> {
    let of = |frame: &Frame<'_>| match frame {
        Frame::Error(line) => remedy_for(&resp::split_error(line).0),
        _ => None,
    };
    let Payload::Many(_) = payload else {
        return of(answer);
    };
    // Of a pipeline, each part must have been refused.
    let Frame::Array(answers) = answer else {
        return None;
    };
    let first = of(answers.first()?)?;
    answers
        .iter()
        .all(|answer| of(answer) == Some(first))
        .then_some(first)
}

fn remedy_for(code: &str) -> Option<Remedy> {
    match code {
        "LOADING" | "BUSY" | "MASTERDOWN" | "TRYAGAIN" | "CLUSTERDOWN" => Some(Remedy::Wait),
        "READONLY" => Some(Remedy::Reconnect),
        _ => None,
    }
}

/// Whether the server refuses for a reason that passes by itself.
pub(crate) fn passes(code: &str) -> bool {
    remedy_for(code) == Some(Remedy::Wait)
}

/// The driver was closed, or its tasks ended with their runtime.
pub(crate) fn closed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the driver was closed, or the runtime that it was connected on has ended",
    )
}

/// The page of a scan was asked for on another connection than the pages before.
pub(crate) fn scan_interrupted() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the connection was replaced during the scan, and the server behind the new one may not \
         know how far the scan was; begin it again",
    )
}

/// No permit came free within the deadline. Nothing was sent.
pub(crate) fn too_many_calls(options: &RedisOptions) -> Error {
    let RedisOptions {
        max_in_flight,
        call_timeout,
        ..
    } = options;
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "{max_in_flight} others (max_in_flight) were waiting for Redis already, and those before \
             this one were not all answered within {call_timeout:?}; try again"
        ),
    )
}

/// The connection was lost after the request was written.
pub(crate) fn lost(effect: Effect) -> Error {
    unanswered(
        effect,
        "the connection to Redis was lost before the answer came".to_owned(),
    )
}

/// The deadline passed after the request was written.
pub(crate) fn timed_out(effect: Effect, timeout: Duration) -> Error {
    unanswered(effect, format!("Redis did not answer within {timeout:?}"))
}

/// The deadline passed before the request was written, and now it will not be.
pub(crate) fn not_sent(timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!(
            "Redis did not take the request within {timeout:?}, and it was withdrawn; try again"
        ),
    )
}

/// The tasks have not ended in time.
pub(crate) fn not_closed(timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Indeterminate,
        format!(
            "the driver is closed, but its connections have not ended within {timeout:?}: they end on \
             the runtime that it was connected on, which is busy or is not run"
        ),
    )
}

/// The answer is none that the command can have. The connection must not be used any more: answers
/// and requests may not belong together.
pub(crate) fn malformed(effect: Effect) -> Error {
    unanswered(
        effect,
        "Redis gave an answer that does not fit the command, so the connection was dropped"
            .to_owned(),
    )
}

fn unanswered(effect: Effect, message: String) -> Error {
    match effect {
        // Nothing can have been applied, and the same call may simply be repeated.
        Effect::None => Error::new(ErrorKind::Unavailable, format!("{message}; try again")),
        Effect::Write => Error::new(
            ErrorKind::Indeterminate,
            format!("{message}; the operation may or may not have been applied"),
        ),
    }
}

/// No connection came up within the deadline. Nothing was sent.
pub(crate) fn no_connection(address: &Address, timeout: Duration, cause: &Failure) -> Error {
    let kind = match cause.kind {
        ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(
        kind,
        format!("no connection to Redis at {address} within {timeout:?}: {cause}"),
    )
}

/// A subscription was not confirmed within the deadline, and was given up.
pub(crate) fn not_confirmed(timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("Redis did not confirm the subscription within {timeout:?}; try again"),
    )
}

/// Some entries of a batch failed, the first with `first`.
pub(crate) fn batch(first: Error, written: usize, total: usize) -> Error {
    if written == 0 {
        return first;
    }
    let kind = match first.kind() {
        // It would say that nothing was applied.
        ErrorKind::Unavailable => ErrorKind::Indeterminate,
        kind => kind,
    };
    Error::new(
        kind,
        format!("{written} of {total} entries were written; the first other one: {first}"),
    )
}

/// A connection that worked was lost.
pub(crate) fn connection_lost(cause: &str) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        format!("the connection was lost ({cause}) and is being replaced"),
    )
}

/// Who follows the commands leaves its server.
pub(crate) fn commands_have_moved() -> Failure {
    connection_lost("the commands have left this server")
}

#[cfg(test)]
mod tests;
