//! Opening sockets, up to the point where commands can be sent.

use std::net::SocketAddr;
use std::time::Duration;
use std::{io, mem};

use socket2::{SockRef, TcpKeepalive};
use store_core::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs, lookup_host};
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
    PubSub,
}

/// A dead peer is noticed by the kernel after about half a minute, also when nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Where the last connection for commands led.
///
/// Subscriptions follow: their server may not be the master any more, and a replica that is cut off
/// from it delivers nothing and says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// None where the server has no address, as on a Unix socket.
    peer: Option<SocketAddr>,
    is_master: bool,
}

impl Place {
    /// Whether this is a master, and at another address than `other`.
    pub(crate) fn is_elsewhere(&self, other: &Self) -> bool {
        self.is_master && self.peer != other.peer
    }

    /// Whether a connection to `peer` is wrong where it is.
    pub(crate) fn forbids(&self, peer: Option<SocketAddr>) -> bool {
        match self.is_master {
            true => peer != self.peer,
            false => peer == self.peer,
        }
    }
}

/// Opens connections to one server, for the commands and for the subscriptions of a driver.
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
            commands: watch::Sender::new(Place {
                peer: None,
                is_master: true,
            }),
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Connects, authenticates, and waits for the server's first answer, all within
    /// `connect_timeout`. Name and credentials are asked for anew each time, but subscriptions go
    /// where the commands are. Answers the peer's address as well, if it has one.
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
            let (mut socket, peer) = self.dial(purpose).await?;
            let shaken = shake_hands(&mut socket, options, credentials.as_ref(), purpose).await;
            if purpose == Purpose::Commands {
                self.note(peer, &shaken);
            }
            shaken.map(|()| (socket, peer))
        });
        opened
            .await
            .unwrap_or_else(|_elapsed| Err(error::connect_timed_out(options)))
    }

    /// The server of the commands was found to be a replica.
    pub(crate) fn met_replica(&self) {
        self.commands.send_modify(|place| place.is_master = false);
    }

    pub(crate) fn note(&self, peer: Option<SocketAddr>, shaken: &Result<(), Failure>) {
        let is_master = match shaken {
            Ok(()) => true,
            Err(cause) if cause.is_replica => false,
            Err(_) => return,
        };
        let place = Place { peer, is_master };
        // To have met a replica once more is news for those who came back to it.
        self.commands
            .send_if_modified(|known| mem::replace(known, place) != place || !is_master);
    }

    async fn dial(
        &self,
        purpose: Purpose,
    ) -> Result<(Box<dyn Socket>, Option<SocketAddr>), Failure> {
        let options = &self.options;
        let failed = |cause| error::connect(options, &cause);
        match &options.address {
            Address::Tcp { host, port } => {
                let commands = *self.commands.borrow();
                let dialed = match commands.peer {
                    Some(peer) if purpose == Purpose::PubSub && commands.is_master => {
                        dial_tcp(peer, options.connect_timeout).await
                    }
                    _ => dial_tcp((host.as_str(), *port), options.connect_timeout).await,
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

    #[test]
    fn subscriptions_follow_the_commands_and_leave_the_replicas_that_they_meet() {
        let transport = Transport::new(RedisOptions::new()).expect("the default options");
        let (a, b) = ("10.0.0.1:6379", "10.0.0.2:6379");
        let [a, b] = [a, b].map(|address| address.parse::<SocketAddr>().ok());
        let is_replica = || Err(error::replica(&transport.options));
        let place = || *transport.commands.borrow();
        // On a Unix socket there are no addresses, and only a replica is a reason to leave.
        assert!(!place().forbids(None));
        transport.met_replica();
        assert!(place().forbids(None));

        transport.note(a, &Ok(()));
        assert!(!place().forbids(a) && place().forbids(b));
        transport.note(b, &is_replica());
        assert!(!place().forbids(a) && place().forbids(b));
        let before = place();
        transport.note(b, &Ok(()));
        assert!(place().forbids(a) && !place().forbids(b));
        assert!(!place().is_elsewhere(&before), "the same address");
        transport.met_replica();
        assert!(!place().forbids(a) && place().forbids(b));
    }

    #[test]
    fn only_what_may_make_a_subscription_leave_is_news() {
        let transport = Transport::new(RedisOptions::new()).expect("the default options");
        let mut commands = transport.commands.subscribe();
        let mut is_news = || {
            let is_news = commands.has_changed().expect("the transport is there");
            commands.mark_unchanged();
            is_news
        };
        let peer = "10.0.0.1:6379".parse().ok();
        transport.note(peer, &Ok(()));
        assert!(is_news());
        transport.note(peer, &Ok(()));
        assert!(!is_news());
        for _ in 0..2 {
            transport.note(peer, &Err(error::replica(&transport.options)));
            assert!(is_news());
        }
        transport.note(peer, &Err(error::connection_lost("nobody is there")));
        assert!(!is_news());
    }

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
    async fn subscriptions_connect_to_where_the_commands_are_unless_that_is_a_replica() {
        let bind = || async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.expect("a free port");
            let address = listener.local_addr().expect("an address");
            (listener, address)
        };
        let (_named, name) = bind().await;
        let (_other, other) = bind().await;
        let options = RedisOptions::new().address("127.0.0.1", name.port());
        let transport = Transport::new(options).expect("options that are right");
        let dial = async |purpose| {
            let dialed = transport.dial(purpose).await;
            dialed.ok().and_then(|(_socket, peer)| peer)
        };
        assert_eq!(dial(Purpose::PubSub).await, Some(name));
        transport.note(Some(other), &Ok(()));
        assert_eq!(dial(Purpose::PubSub).await, Some(other));
        assert_eq!(dial(Purpose::Commands).await, Some(name));
        transport.met_replica();
        assert_eq!(dial(Purpose::PubSub).await, Some(name));
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
