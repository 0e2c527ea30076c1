//! Opening sockets, up to the point where commands can be sent.

use std::net::SocketAddr;
use std::time::Duration;
use std::{io, mem};

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
    /// Where the commands are: the address of their connection if it has one, and `None` from when
    /// they meet a replica. Subscriptions that are elsewhere leave at each change: their server may
    /// not be the master any more, and a replica that is cut off from it delivers nothing and says
    /// nothing.
    pub(crate) commands_at: watch::Sender<Option<SocketAddr>>,
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
            commands_at: watch::Sender::default(),
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Connects, authenticates, and waits for the server's first answer, all within
    /// `connect_timeout`. Name and credentials are asked for anew each time. Answers the peer's
    /// address as well, if it has one.
    pub(crate) async fn open(
        &self,
        purpose: Purpose,
    ) -> Result<(Box<dyn Socket>, Option<SocketAddr>), Failure> {
        let options = &self.options;
        let credentials = match &options.provider {
            Some(provider) => Some(provider.ask(options.connect_timeout).await?),
            None => options.fixed_credentials(),
        };
        let opened = timeout(options.connect_timeout, async {
            let (mut socket, peer) = self.dial().await?;
            shake_hands(&mut socket, options, credentials.as_ref(), purpose).await?;
            if purpose == Purpose::Commands && peer.is_some() {
                self.commands_at
                    .send_if_modified(|at| mem::replace(at, peer) != peer);
            }
            Ok((socket, peer))
        });
        opened
            .await
            .unwrap_or_else(|_elapsed| Err(error::connect_timed_out(options)))
    }

    async fn dial(&self) -> Result<(Box<dyn Socket>, Option<SocketAddr>), Failure> {
        let failed = |cause| error::connect(&self.options, &cause);
        match &self.options.address {
            Address::Tcp { host, port } => {
                let socket = dial_tcp(host, *port).await.map_err(failed)?;
                let peer = socket.peer_addr().ok();
                #[cfg(feature = "tls")]
                if let Some(tls) = &self.tls {
                    return match tls.connect(socket).await {
                        Ok(socket) => Ok((Box::new(socket), peer)),
                        Err(cause) => Err(error::tls(&self.options, &cause)),
                    };
                }
                Ok((Box::new(socket), peer))
            }
            Address::Unix(path) => Ok((dial_unix(path).await.map_err(failed)?, None)),
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
