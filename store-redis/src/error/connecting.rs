//! What keeps a connection from coming up.

use std::io;
use std::time::Duration;

use store_core::{Error, ErrorKind};

use super::{Failure, passes, reply};
use crate::options::{Address, RedisOptions};

/// The socket could not be opened.
pub(crate) fn connect(options: &RedisOptions, cause: &io::Error) -> Failure {
    if cause.kind() == io::ErrorKind::TimedOut {
        return connect_timed_out(options);
    }
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
            "Redis at {} did not answer within {:?} of connecting; check that no firewall is between, \
             and {}",
            options.address,
            options.connect_timeout,
            is_it(options)
        ),
    )
}

/// The server ended the connection during the handshake, or was none.
pub(crate) fn handshake(options: &RedisOptions, cause: &str) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        format!(
            "connected to {}, but the handshake failed: {cause}; check {}",
            options.address,
            is_it(options)
        ),
    )
}

/// The server refused the handshake, in which `password` was sent.
pub(crate) fn handshake_refused(
    options: &RedisOptions,
    password: Option<&str>,
    code: &str,
    detail: &str,
) -> Failure {
    let has = |text| code == "ERR" && detail.contains(text);
    let failure = if has("nknown command") && has("HELLO") {
        reply("NOPROTO", "")
    } else if has("value is out of range") {
        // Of a database, since it is the only number that is sent.
        reply(code, "DB index is out of range")
    } else {
        let failure = reply(code, detail);
        let repeats = |password: &str| {
            !password.is_empty() && (code.contains(password) || detail.contains(password))
        };
        // Only a text that nobody here knows is passed on. A proxy, or who is no Redis, may repeat
        // in it what it was sent.
        match failure.kind {
            ErrorKind::Backend if password.is_some_and(repeats) => {
                reply("ERR", "(hidden, since it repeats the password)")
            }
            _ => failure,
        }
    };
    Failure {
        is_refusal: !passes(code),
        ..Failure::new(
            failure.kind,
            format!("could not use Redis at {}: {failure}", options.address),
        )
    }
}

/// The server is a replica, which refuses to write.
pub(crate) fn replica(options: &RedisOptions) -> Failure {
    let message = format!(
        "Redis at {} is a replica; connect to the master, or allow a replica for a store that \
         only reads (allow_replica)",
        options.address
    );
    Failure {
        is_replica: true,
        ..Failure::new(ErrorKind::Unavailable, message)
    }
}

/// The server and this side found no common TLS, or one did not trust the other.
#[cfg(feature = "tls")]
pub(crate) fn tls(options: &RedisOptions, cause: &io::Error) -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        format!(
            "no TLS with {}: {cause}; check that the port is one for TLS, and that tls_ca names \
             the authority that signed the server's certificate",
            options.address
        ),
    )
}

/// The provider of the credentials failed.
pub(crate) fn no_credentials(cause: &Error) -> Failure {
    Failure::refusal(
        match cause.kind() {
            ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Unavailable,
        },
        format!("the provider of the credentials failed: {cause}"),
    )
}

/// The provider of the credentials took too long.
pub(crate) fn no_credentials_in_time(timeout: Duration) -> Failure {
    Failure::refusal(
        ErrorKind::Unavailable,
        format!("the provider of the credentials did not answer within {timeout:?}"),
    )
}

/// What to check where somebody accepted the connection, who may not be whom we think.
fn is_it(options: &RedisOptions) -> &'static str {
    if options.has_tls() {
        "that it is Redis, that its port is one for TLS, and that it accepts this client's certificate"
    } else {
        "that it is Redis, and that its port is not one for TLS, which rediss:// reaches"
    }
}
