//! Opening sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use store_core::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs, lookup_host};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::{self, Failure};
use crate::lane::Place;
use crate::options::{Address, RedisOptions};
#[cfg(feature = "tls")]
use crate::tls::Connector;

/// A connected byte stream.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A dead peer is noticed by the kernel after about half a minute, also when nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Opens the sockets of one driver.
pub(crate) struct Transport {
    pub(crate) options: RedisOptions,
    /// Changes when the commands are somewhere else, or have met a replica.
    pub(crate) commands: watch::Sender<Place>,
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
            commands: watch::Sender::new(Place::UNKNOWN),
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Connects to `known`, or else to the server of the options. Answers the peer's address as well,
    /// if it has one.
    pub(crate) async fn dial(
        &self,
        known: Option<SocketAddr>,
    ) -> Result<(Box<dyn Socket>, Option<SocketAddr>), Failure> {
        let options = &self.options;
        let failed = |cause| error::connect(options, &cause);
        match &options.address {
            Address::Tcp { host, port } => {
                let dialed = match known {
                    Some(peer) => dial_tcp(peer, options.connect_timeout).await,
                    None => dial_tcp((host.as_str(), *port), options.connect_timeout).await,
                };
                let socket = dialed.map_err(failed)?;
                let peer = socket.peer_addr().ok();
                #[cfg(feature = "tls")]
                if let Some(tls) = &self.tls {
                    return match tls.connect(socket).await {
                        Ok(socket) => Ok((Box::new(socket), peer)),
                        Err(cause) => Err(error::tls(options, &cause)),
                    };
                }
                Ok((Box::new(socket), peer))
            }
            Address::Unix(path) => Ok((dial_unix(path).await.map_err(failed)?, None)),
        }
    }
}

async fn dial_tcp(address: impl ToSocketAddrs, within: Duration) -> io::Result<TcpStream> {
    let socket = connect_to_first(lookup_host(address).await?.collect(), within).await?;
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    Ok(socket)
}

/// Connects to the first of `addresses` that accepts. One that says nothing must not keep the others
/// from being tried.
async fn connect_to_first(addresses: Vec<SocketAddr>, within: Duration) -> io::Result<TcpStream> {
    let share = within / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(cause)) => failure = cause,
            Err(_elapsed) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

#[cfg(unix)]
async fn dial_unix(path: &std::path::Path) -> io::Result<Box<dyn Socket>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn dial_unix(_path: &std::path::Path) -> io::Result<Box<dyn Socket>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_sends_at_once_and_looks_for_a_dead_peer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let socket = dial_tcp(address, Duration::from_secs(10)).await;
        let socket = socket.expect("somebody is there");
        assert_eq!(socket.nodelay().ok(), Some(true));
        assert_eq!(SockRef::from(&socket).keepalive().ok(), Some(true));
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_does_not_keep_the_next_from_being_tried() {
        // Nobody accepts here, and what waits for that is full.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .expect("a free port");
        full.listen(0).expect("a listener");
        let silent = full.local_addr().expect("an address").as_socket();
        let silent = silent.expect("of IP");
        let patience = Duration::from_millis(100);
        let mut waiting = Vec::new();
        while let Ok(Ok(socket)) = timeout(patience, TcpStream::connect(silent)).await {
            waiting.push(socket);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let there = listener.expect("a free port");
        let there = there.local_addr().expect("an address");
        let connected = connect_to_first(vec![silent, there], 2 * patience).await;
        let peer = connected.and_then(|socket| socket.peer_addr());
        assert_eq!(peer.ok(), Some(there));
        let failed = connect_to_first(vec![silent; 2], patience).await;
        assert_eq!(
            failed.map(drop).map_err(|cause| cause.kind()),
            Err(io::ErrorKind::TimedOut)
        );
    }
}
