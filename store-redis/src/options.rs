//! How a driver connects, and its limits.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use store_core::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use crate::credentials::{Credentials, Provider, Secret};
use crate::ring::Limits;
#[cfg(feature = "tls")]
use crate::tls::TlsOptions;
use crate::url;

/// The shortest time after which a server that answers nothing is taken for gone.
const LEAST_PATIENCE: Duration = Duration::from_millis(500);
/// Beyond it somebody has mistaken the unit, and sums of times and timeouts stay far from overflow.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

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
///     .username("app")
///     .password("secret")
///     .call_timeout(Duration::from_millis(250));
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
    pub(crate) provider: Option<Provider>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) allow_replica: bool,
    pub(crate) protocol: Protocol,
    pub(crate) client_name: String,
    pub(crate) call_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) subscription_buffer: usize,
    pub(crate) subscription_buffer_bytes: usize,
}

/// The version of Redis's wire protocol.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RESP2, for servers and proxies that do not know `HELLO`. A connection with subscriptions cannot ask for the
    /// role of its server then, and leaves a replica only with the commands.
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
            provider: None,
            #[cfg(feature = "tls")]
            tls: None,
            allow_replica: false,
            protocol: Protocol::default(),
            client_name: "igniter-store".to_owned(),
            call_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(2),
            max_in_flight: 1024,
            subscription_buffer: 1024,
            subscription_buffer_bytes: 32 << 20,
        }
    }
}

impl RedisOptions {
    /// The server at `127.0.0.1:6379`, database 0, no credentials, RESP3.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the options from a URL.
    ///
    /// | URL | where |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database][?option=value&…]` | TCP |
    /// | `rediss://…`, the same | TCP with TLS, by the feature `tls` |
    /// | `redis+unix://[[user]:password@]/path/to/socket[?db=n&…]`, also `unix://` | Unix socket |
    ///
    /// Options: `protocol` (`resp2` or `resp3`), `client_name`, `call_timeout_ms`,
    /// `connect_timeout_ms`, `max_in_flight`, `subscription_buffer`, `allow_replica` (`true` or
    /// `false`); on a Unix socket `db`; with TLS the files `tls_ca`, `tls_cert` and `tls_key`, and
    /// `tls_server_name`. Characters with a meaning in URLs (`@ : / ? # % &`) are percent-encoded.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is no such URL, with what would be right;
    /// [`ErrorKind::Unsupported`] for `rediss://` without the feature `tls`.
    pub fn from_url(url: &str) -> Result<Self> {
        url::parse(url)
    }

    /// Connects by TCP.
    #[must_use]
    pub fn address(mut self, host: impl Into<String>, port: u16) -> Self {
        self.address = Address::Tcp {
            host: host.into(),
            port,
        };
        self
    }

    /// Connects by a Unix socket.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.address = Address::Unix(path.into());
        self
    }

    /// Sets the number of the database. Channels are common to all databases of a server.
    #[must_use]
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// Sets the ACL user; `default` where none is given.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret::new(password));
        self
    }

    /// Asks `provider` for the credentials before each connection, so that they may change while
    /// the driver lives.
    ///
    /// It is called for each attempt to connect, and for the connection of the subscriptions as
    /// well. An error, a panic, or no answer within the connect timeout is a failed attempt like
    /// any other: it is retried, and [`health`](store_core::StoreAdapter::health) shows its text,
    /// which must hold no secret.
    ///
    /// ```
    /// use store_redis::{Credentials, RedisOptions};
    ///
    /// # async fn current_token() -> store_core::Result<String> { Ok(String::new()) }
    /// let options = RedisOptions::new()
    ///     .credentials_provider(|| async { Ok(Credentials::new("app", current_token().await?)) });
    /// ```
    #[must_use]
    pub fn credentials_provider<P, F>(mut self, provider: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Credentials>> + Send + 'static,
    {
        self.provider = Some(Provider::new(provider));
        self
    }

    /// Connects over TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Accepts a replica too, for a store that only reads; otherwise a server that says of itself
    /// that it is one counts as unreachable.
    #[must_use]
    pub fn allow_replica(mut self) -> Self {
        self.allow_replica = true;
        self
    }

    /// Sets the version of the wire protocol.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets the name under which `CLIENT LIST` shows the connections; `igniter-store` by default.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        self
    }

    /// Sets how long a call may take in all, waiting for a connection included; 500 ms by default,
    /// 24 hours at most.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets how long an attempt to connect may take, from resolving the name to the server's first
    /// answer; 2 s by default, 24 hours at most. Where a name has several addresses, they are tried
    /// in turn, each for its share of that time, until one accepts: what it then answers is no reason to
    /// try the next one.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how many calls may be sent and unanswered at the same time; 1024 by default. Further
    /// ones wait, up to their deadline, and are then [`ErrorKind::Unavailable`]: they were never
    /// sent. Each that is sent takes up to twice the memory of its value until it is answered. As
    /// many subscriptions may wait for their confirmation, beside the calls, and as many questions for
    /// the health for their answer.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls;
        self
    }

    /// Sets how many messages a subscription holds for its reader; 1024 by default. A reader that
    /// falls further behind loses the oldest and reads a gap.
    #[must_use]
    pub fn subscription_buffer(mut self, messages: usize) -> Self {
        self.subscription_buffer = messages;
        self
    }

    /// Sets how many bytes of messages and of their channels' names a subscription holds for its
    /// reader; 32 MiB by default. One message may be longer.
    #[must_use]
    pub fn subscription_buffer_bytes(mut self, bytes: usize) -> Self {
        self.subscription_buffer_bytes = bytes;
        self
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            messages: self.subscription_buffer,
            bytes: self.subscription_buffer_bytes,
        }
    }

    /// How long a server may leave a question unanswered before its connection is given up: a
    /// connection that cannot do that within the time of a call can do nothing for a call.
    pub(crate) fn patience(&self) -> Duration {
        self.call_timeout.max(LEAST_PATIENCE)
    }

    /// The credentials that do not change.
    pub(crate) fn fixed_credentials(&self) -> Option<Credentials> {
        self.password.clone().map(|password| Credentials {
            username: self.username.clone(),
            password,
        })
    }

    #[cfg(feature = "tls")]
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn has_tls(&self) -> bool {
        false
    }

    /// Refuses what no server would accept, before any I/O.
    pub(crate) fn validate(&self) -> Result<()> {
        if let Address::Tcp { host, .. } = &self.address
            && host.is_empty()
        {
            return Err(invalid("the host is empty"));
        }
        if let Address::Tcp { host, .. } = &self.address
            && host.contains(|it: char| it.is_whitespace() || it.is_control())
        {
            return Err(invalid("the host has white space in it"));
        }
        if self.username.is_some() && self.password.is_none() {
            return Err(invalid(
                "a username needs a password: redis://user:password@host",
            ));
        }
        if self.provider.is_some() && self.password.is_some() {
            return Err(invalid(
                "there are both a password and a provider of credentials; give one of them",
            ));
        }
        if self.has_tls() && matches!(self.address, Address::Unix(_)) {
            return Err(invalid("a Unix socket has no TLS; leave one of them out"));
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
        if self.call_timeout > LONGEST_TIMEOUT || self.connect_timeout > LONGEST_TIMEOUT {
            return Err(invalid("a timeout is 24 hours at most"));
        }
        if self.max_in_flight == 0 {
            return Err(invalid(
                "at least 1 call must be allowed in flight, such as 1024",
            ));
        }
        if self.max_in_flight > Semaphore::MAX_PERMITS {
            return Err(invalid(
                "so many calls cannot be in flight; give a number such as 1024",
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
mod tests;
