//! The one server that all tests of a process share, and what to do where there is none.

use std::env;
use std::io::{self, Write};
use std::sync::OnceLock;

use super::{ALLOW_MISSING_VARIABLE, RedisServer, ServerError, URL_VARIABLE};

/// The server, or `None` after a printed `SKIPPED:` line where a missing one is allowed.
///
/// ```no_run
/// use store_conformance::server::{RedisServer, or_skip};
///
/// let Some(server) = or_skip(RedisServer::spawn()) else {
///     return;
/// };
/// assert_eq!(server.command(&["PING"]).unwrap(), "PONG");
/// ```
///
/// # Panics
///
/// If there is no server, unless none was found, `STORE_ALLOW_MISSING_REDIS` is `1` and `CI` is
/// not set.
#[expect(clippy::panic, reason = "a test without its server has failed")]
pub fn or_skip<T>(server: Result<T, ServerError>) -> Option<T> {
    match server {
        Ok(server) => Some(server),
        Err(error) if error.missing && missing_is_allowed(ALLOW_MISSING_VARIABLE) => {
            // Not a print macro: the test harness would hide what a passing test prints. In one
            // piece, since tests run at the same time.
            let line = format!("SKIPPED: no Redis server ({ALLOW_MISSING_VARIABLE}=1)\n");
            let _ = io::stderr().write_all(line.as_bytes());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether a test may be left out for want of what `variable` stands for: it is `1`, and `CI` is not
/// set.
#[must_use]
pub fn missing_is_allowed(variable: &str) -> bool {
    skip_is_allowed(
        env::var(variable).ok().as_deref(),
        env::var("CI").ok().as_deref(),
    )
}

fn skip_is_allowed(allow: Option<&str>, ci: Option<&str>) -> bool {
    allow == Some("1") && ci.is_none_or(|ci| ci.is_empty() || ci == "false")
}

/// The URL of a server that all tests of this process share.
///
/// In this order: `STORE_REDIS_URL`, a `redis-server` on the path, started once and killed when
/// this process ends. Tests keep to prefixes of their own on it and never flush it.
///
/// # Errors
///
/// [`ServerError`] with the command that would help.
pub fn shared_url() -> Result<String, ServerError> {
    shared_url_or(|| Err("no `redis-server` on the path".to_owned()))
}

/// As [`shared_url`], with a last resort such as a container, asked at most once a process.
///
/// # Errors
///
/// [`ServerError`] with the command that would help, and the last resort's own reason.
pub fn shared_url_or(
    last_resort: impl FnOnce() -> Result<String, String>,
) -> Result<String, ServerError> {
    enum Shared {
        Url(String),
        Server(RedisServer),
        Missing(String),
        Failed(String),
    }
    // A static is never dropped: the guard process sees the end of this process and kills the server.
    static SHARED: OnceLock<Shared> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        if let Some(url) = given_url() {
            return Shared::Url(url);
        }
        match RedisServer::spawn() {
            Ok(server) => Shared::Server(server),
            Err(error) if !error.missing => Shared::Failed(error.message),
            Err(_) => match last_resort() {
                Ok(url) => Shared::Url(url),
                Err(reason) => Shared::Missing(reason),
            },
        }
    });
    match shared {
        Shared::Url(url) => Ok(url.clone()),
        Shared::Server(server) => Ok(server.url()),
        Shared::Missing(reason) => Err(ServerError::missing(reason)),
        Shared::Failed(message) => Err(ServerError::failed(message.clone())),
    }
}

fn given_url() -> Option<String> {
    env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_needs_the_variable_and_no_ci() {
        assert!(skip_is_allowed(Some("1"), None));
        assert!(skip_is_allowed(Some("1"), Some("false")));
        assert!(!skip_is_allowed(Some("1"), Some("true")));
        assert!(!skip_is_allowed(Some("1"), Some("1")));
        assert!(!skip_is_allowed(Some("0"), None));
        assert!(!skip_is_allowed(None, None));
    }
}
