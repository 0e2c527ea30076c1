//! How a driver connects, and its limits.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use store_core::{Error, ErrorKind, Result};

use crate::ring::Limits;
use crate::url;

/// How a [`RedisDriver`](crate::RedisDriver) connects, and its limits.
///
/// A password appears neither in `Debug` nor in any error.
///
/// ```
/// use std::time::Duration;
/// use store_redis::RedisOptions;
///
/// # fn main() -> store_core::Result<()> {
/// let options = RedisOptions::from_url("redis://cache.internal:6380/2")?
///     .with_username("app")
///     .with_password("secret")
///     .with_call_timeout(Duration::from_millis(250));
/// assert!(!format!("{options:?}").contains("secret"));
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    pub(crate) address: Address,
    pub(crate) database: u32,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) protocol: Protocol,
    pub(crate) client_name: String,
    pub(crate) call_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) subscription_buffer: usize,
    pub(crate) subscription_buffer_bytes: usize,
}

/// The version of Redis's wire protocol that commands use.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RESP2, for servers and proxies that do not know `HELLO`.
    Resp2,
    /// RESP3.
    #[default]
    Resp3,
}

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Default for RedisOptions {
    /// `127.0.0.1:6379`, database 0, no credentials, RESP3.
    fn default() -> Self {
        Self {
            address: Address::Tcp {
                host: "127.0.0.1".to_owned(),
                port: 6379,
            },
            database: 0,
            username: None,
            password: None,
            protocol: Protocol::default(),
            client_name: "igniter-store".to_owned(),
            call_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(2),
            subscription_buffer: 1024,
            subscription_buffer_bytes: 32 << 20,
        }
    }
}

impl RedisOptions {
    /// Reads the options from a URL.
    ///
    /// | URL | where |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database][?option=value&…]` | TCP |
    /// | `redis+unix://[[user]:password@]/path/to/socket[?db=n&…]`, also `unix://` | Unix socket |
    ///
    /// Options: `protocol` (`resp2` or `resp3`), `client_name`, `call_timeout_ms`,
    /// `connect_timeout_ms`, `subscription_buffer`, and on a Unix socket `db`. Characters with a
    /// meaning in URLs (`@ : / ? # %`) are percent-encoded in user and password.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is no such URL, with what would be right;
    /// [`ErrorKind::Unsupported`] for `rediss://`, which this build does not have.
    pub fn from_url(url: &str) -> Result<Self> {
        url::parse(url)
    }

    /// Connects by TCP.
    #[must_use]
    pub fn with_address(mut self, host: impl Into<String>, port: u16) -> Self {
        self.address = Address::Tcp {
            host: host.into(),
            port,
        };
        self
    }

    /// Connects by a Unix socket.
    #[must_use]
    pub fn with_unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.address = Address::Unix(path.into());
        self
    }

    /// Sets the number of the database. Channels are common to all databases of a server.
    #[must_use]
    pub fn with_database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// Sets the ACL user; `default` where none is given.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret::new(password));
        self
    }

    /// Sets the version of the wire protocol.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets the name under which `CLIENT LIST` shows the connections; `igniter-store` by default.
    #[must_use]
    pub fn with_client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        self
    }

    /// Sets how long a call may take in all, waiting for a connection included; 500 ms by default.
    #[must_use]
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets how long an attempt to connect may take, from resolving the name to the server's first
    /// answer; 2 s by default.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how many messages a subscription holds for its reader; 1024 by default. A reader that
    /// falls further behind loses the oldest and reads a gap.
    #[must_use]
    pub fn with_subscription_buffer(mut self, messages: usize) -> Self {
        self.subscription_buffer = messages;
        self
    }

    /// Sets how many bytes of messages a subscription holds for its reader; 32 MiB by default.
    /// One message may be longer.
    #[must_use]
    pub fn with_subscription_buffer_bytes(mut self, bytes: usize) -> Self {
        self.subscription_buffer_bytes = bytes;
        self
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            messages: self.subscription_buffer,
            bytes: self.subscription_buffer_bytes,
        }
    }

    /// Refuses what no server would accept, before any I/O.
    pub(crate) fn validate(&self) -> Result<()> {
        if let Address::Tcp { host, .. } = &self.address
            && host.is_empty()
        {
            return Err(invalid("the host is empty"));
        }
        if self.username.is_some() && self.password.is_none() {
            return Err(invalid(
                "a username needs a password: redis://user:password@host",
            ));
        }
        if self
            .client_name
            .bytes()
            .any(|byte| !byte.is_ascii_graphic())
        {
            return Err(invalid(
                "the client name may hold printable ASCII without spaces, such as `billing-api`",
            ));
        }
        if self.call_timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(invalid(
                "a timeout of zero lets no call succeed; give at least 1 ms",
            ));
        }
        if self.subscription_buffer == 0 {
            return Err(invalid("a subscription buffer holds at least 1 message"));
        }
        Ok(())
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let options = RedisOptions::default().with_password("hunter2");
        assert!(!format!("{options:?} {options:#?}").contains("hunter2"));
    }

    #[test]
    fn options_that_no_server_accepts_are_refused() {
        for options in [
            RedisOptions::default().with_address("", 6379),
            RedisOptions::default().with_username("app"),
            RedisOptions::default().with_client_name("a b"),
            RedisOptions::default().with_call_timeout(Duration::ZERO),
            RedisOptions::default().with_connect_timeout(Duration::ZERO),
            RedisOptions::default().with_subscription_buffer(0),
        ] {
            let error = options.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{options:?}");
        }
        assert!(RedisOptions::default().validate().is_ok());
    }

    #[test]
    fn an_address_is_shown_as_it_would_be_written() {
        let shown = |host| {
            RedisOptions::default()
                .with_address(host, 1)
                .address
                .to_string()
        };
        assert_eq!(shown("::1"), "[::1]:1");
        assert_eq!(shown("localhost"), "localhost:1");
    }
}
