//! Opening sockets, up to the point where commands can be sent.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use store_core::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::{self, Failure};
use crate::handshake::shake_hands;
use crate::options::{Address, RedisOptions};
#[cfg(feature = "tls")]
use crate::tls::Connector;

/// A connected byte stream.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commands,
    /// Always RESP2, whose subscriptions every server and proxy has.
    PubSub,
}

/// A dead peer is noticed by the kernel after about half a minute, also when nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Opens connections to one server, for the commands and for the subscriptions of a driver.
pub(crate) struct Transport {
    pub(crate) options: RedisOptions,
    /// Changes each time the commands have met a replica. The subscriptions then leave their
    /// server as well: it may be the same, and a replica that is cut off from its master delivers
    /// nothing and says nothing.
    pub(crate) replica_met: watch::Sender<()>,
    #[cfg(feature = "tls")]
    tls: Option<Connector>,
}

impl Transport {
    /// Checks the options, and reads the files that they name.
    ///
    /// # Errors
    ///
    /// `InvalidInput`.
    pub(crate) fn new(options: RedisOptions) -> Result<Self> {
        options.validate()?;
        #[cfg(feature = "tls")]
        let tls = match (&options.tls, &options.address) {
            (Some(tls), Address::Tcp { host, .. }) => Some(Connector::new(tls, host)?),
            _ => None,
        };
        Ok(Self {
            options,
            replica_met: watch::Sender::default(),
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Connects, authenticates, and waits for the server's first answer, all within
    /// `connect_timeout`. Name and credentials are asked for anew each time.
    pub(crate) async fn open(&self, purpose: Purpose) -> Result<Box<dyn Socket>, Failure> {
        let options = &self.options;
        let credentials = match &options.provider {
            Some(provider) => Some(provider.ask(options.connect_timeout).await?),
            None => options.fixed_credentials(),
        };
        let opened = timeout(options.connect_timeout, async {
            let mut socket = self.dial().await?;
            shake_hands(&mut socket, options, credentials.as_ref(), purpose).await?;
            Ok(socket)
        });
        opened
            .await
            .unwrap_or_else(|_elapsed| Err(error::connect_timed_out(options)))
    }

    async fn dial(&self) -> Result<Box<dyn Socket>, Failure> {
        let failed = |cause| error::connect(&self.options, &cause);
        match &self.options.address {
            Address::Tcp { host, port } => {
                let socket = dial_tcp(host, *port).await.map_err(failed)?;
                #[cfg(feature = "tls")]
                if let Some(tls) = &self.tls {
                    return match tls.connect(socket).await {
                        Ok(socket) => Ok(Box::new(socket)),
                        Err(cause) => Err(error::tls(&self.options, &cause)),
                    };
                }
                Ok(Box::new(socket))
            }
            Address::Unix(path) => dial_unix(path).await.map_err(failed),
        }
    }
}

async fn dial_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((host, port)).await?;
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    Ok(socket)
}

#[cfg(unix)]
async fn dial_unix(path: &std::path::Path) -> io::Result<Box<dyn Socket>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn dial_unix(_path: &std::path::Path) -> io::Result<Box<dyn Socket>> {
    Err(io::ErrorKind::Unsupported.into())
}
