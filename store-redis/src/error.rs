//! The only place where Redis's errors, and failures of connections, become a store's errors.

use std::fmt;
use std::io;
use std::time::Duration;

use redis::{RedisError, ServerError};
use store_core::{Error, ErrorKind};

use crate::command::Effect;
use crate::options::{Address, RedisOptions};

/// Why there is no connection, or why a subscription was refused.
///
/// Cloneable, unlike an [`Error`], since it may concern many calls.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    message: String,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
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

/// The server answered a command with an error.
pub(crate) fn server(error: &ServerError) -> Error {
    reply(error.code(), error.details().unwrap_or_default()).into_error()
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
            "the value is not an integer in 64 bits, written in plain decimal".to_owned(),
        );
    }
    if has("increment or decrement would overflow") {
        return (
            ErrorKind::Overflow,
            "the counter would leave the range of 64-bit integers".to_owned(),
        );
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
    if has("Protocol error") {
        return (
            ErrorKind::Indeterminate,
            "Redis could not read the request and dropped the connection".to_owned(),
        );
    }
    (
        ErrorKind::Backend,
        format!("Redis answered with an error: {code} {detail}"),
    )
}

/// The connection was lost after the request was handed to it.
pub(crate) fn lost(effect: Effect, cause: &RedisError) -> Error {
    unanswered(
        effect,
        "the connection to Redis was lost before the answer came".to_owned(),
    )
    .with_source(cause.clone())
}

/// The deadline passed after the request was handed to the connection.
pub(crate) fn timed_out(effect: Effect, timeout: Duration) -> Error {
    unanswered(effect, format!("Redis did not answer within {timeout:?}"))
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
    if written == 0 || first.kind() != ErrorKind::Unavailable {
        return first;
    }
    // `Unavailable` would say that nothing was applied.
    Error::new(
        ErrorKind::Indeterminate,
        format!("{written} of {total} entries were written; the first other one: {first}"),
    )
}

/// The socket could not be opened.
pub(crate) fn connect(options: &RedisOptions, cause: &io::Error) -> Failure {
    let address = &options.address;
    let advice = match (cause.kind(), address) {
        (io::ErrorKind::ConnectionRefused, Address::Tcp { port, .. }) => {
            format!("is the server running? `redis-server --port {port}` starts one")
        }
        (io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound, Address::Unix(_)) => {
            "is the server running, with `unixsocket` set to this path?".to_owned()
        }
        _ => "check the address and the network".to_owned(),
    };
    Failure::new(
        ErrorKind::Unavailable,
        format!("could not connect to Redis at {address}: {cause}; {advice}"),
    )
}

/// The server took longer than `connect_timeout` to accept and to answer.
pub(crate) fn connect_timed_out(options: &RedisOptions) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        format!(
            "Redis at {} did not answer within {:?} of connecting; check that it is Redis and that \
             no firewall is between",
            options.address, options.connect_timeout
        ),
    )
}

/// The server ended the connection during the handshake, or was none.
pub(crate) fn handshake(options: &RedisOptions, cause: &str) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        format!(
            "connected to {}, but the handshake failed: {cause}; check that it is Redis",
            options.address
        ),
    )
}

/// The server refused the handshake.
pub(crate) fn handshake_refused(options: &RedisOptions, code: &str, detail: &str) -> Failure {
    let refused = if code == "ERR" && detail.contains("nknown command") && detail.contains("HELLO")
    {
        reply("NOPROTO", "")
    } else {
        reply(code, detail)
    };
    Failure::new(
        refused.kind,
        format!("could not use Redis at {}: {refused}", options.address),
    )
}

/// A connection that worked was lost.
pub(crate) fn connection_lost(cause: &str) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        format!("the connection was lost ({cause}) and is being replaced"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_reply_decides_its_kind() {
        for (code, detail, kind) in [
            ("WRONGTYPE", "Operation against a key", ErrorKind::WrongType),
            (
                "ERR",
                "value is not an integer or out of range",
                ErrorKind::WrongType,
            ),
            (
                "ERR",
                "increment or decrement would overflow",
                ErrorKind::Overflow,
            ),
            (
                "ERR",
                "invalid expire time in 'set' command",
                ErrorKind::InvalidInput,
            ),
            (
                "ERR",
                "max number of clients reached",
                ErrorKind::Unavailable,
            ),
            ("ERR", "something new", ErrorKind::Backend),
            ("NOAUTH", "", ErrorKind::PermissionDenied),
            ("WRONGPASS", "", ErrorKind::PermissionDenied),
            ("NOPERM", "", ErrorKind::PermissionDenied),
            ("OOM", "", ErrorKind::Unavailable),
            ("BUSY", "", ErrorKind::Unavailable),
            ("LOADING", "", ErrorKind::Unavailable),
            ("READONLY", "", ErrorKind::Unavailable),
            ("MASTERDOWN", "", ErrorKind::Unavailable),
            ("CLUSTERDOWN", "", ErrorKind::Unavailable),
            ("TRYAGAIN", "", ErrorKind::Unavailable),
            ("NOREPLICAS", "", ErrorKind::Unavailable),
            ("MISCONF", "", ErrorKind::Unavailable),
            ("MOVED", "1 host:1", ErrorKind::Backend),
        ] {
            assert_eq!(reply(code, detail).kind, kind, "{code} {detail}");
        }
    }

    #[test]
    fn no_argument_of_a_command_is_repeated() {
        let detail = "unknown command 'GETDEL', with args beginning with: 'secret-key'";
        let failure = reply("ERR", detail);
        assert_eq!(failure.kind, ErrorKind::Unsupported);
        assert!(!failure.to_string().contains("secret-key"));
        let detail = "unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `hunter2`";
        let failure = handshake_refused(&RedisOptions::default(), "ERR", detail);
        let text = failure.to_string();
        assert!(
            text.contains("protocol=resp2") && !text.contains("hunter2"),
            "{text}"
        );
    }

    #[test]
    fn what_was_sent_and_not_answered_is_indeterminate_unless_it_reads() {
        let cause = RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let second = Duration::from_secs(1);
        for (effect, kind) in [
            (Effect::None, ErrorKind::Unavailable),
            (Effect::Write, ErrorKind::Indeterminate),
        ] {
            assert_eq!(lost(effect, &cause).kind(), kind);
            assert_eq!(timed_out(effect, second).kind(), kind);
            assert_eq!(malformed(effect).kind(), kind);
        }
    }

    #[test]
    fn a_partly_written_batch_is_not_called_unavailable() {
        let full = || reply("OOM", "").into_error();
        assert_eq!(batch(full(), 0, 3).kind(), ErrorKind::Unavailable);
        let partly = batch(full(), 1, 3);
        assert_eq!(partly.kind(), ErrorKind::Indeterminate);
        assert!(partly.to_string().contains("1 of 3"), "{partly}");
    }

    #[test]
    fn a_refused_connection_says_where_and_what_to_do() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let text = connect(&RedisOptions::default(), &refused).to_string();
        assert!(text.contains("127.0.0.1:6379"), "{text}");
        assert!(text.contains("redis-server --port 6379"), "{text}");
    }
}
