//! The ways to the server: that of the commands leads, the others follow it.

use std::future::pending;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::{self, Failure};
use crate::handshake::shake_hands;
use crate::transport::{Socket, Transport};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The calls.
    Commands,
    /// The subscriptions.
    PubSub,
    /// A reader that blocks.
    Reader,
}

/// Where the last connection for commands led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// None where the server has no address, as on a Unix socket.
    peer: Option<SocketAddr>,
    is_master: bool,
}

impl Place {
    /// Where the commands are before they have connected.
    pub(crate) const UNKNOWN: Self = Self {
        peer: None,
        is_master: true,
    };

    /// Whether this is a master, and at another address than `other`.
    fn is_elsewhere(&self, other: &Self) -> bool {
        self.is_master && self.peer != other.peer
    }

    /// Whether a connection to `peer` is wrong where it is.
    fn forbids(&self, peer: Option<SocketAddr>) -> bool {
        match self.is_master {
            true => peer != self.peer,
            false => peer == self.peer,
        }
    }
}

/// What opens one connection after the other for one purpose.
///
/// All but that of the commands go where the commands are, and leave where the commands have gone
/// elsewhere or met a replica: the server of a subscription or of a reader may not be the master any
/// more, and a replica that is cut off from it delivers nothing and says nothing.
pub(crate) struct Lane {
    transport: Arc<Transport>,
    purpose: Purpose,
    commands: watch::Receiver<Place>,
    /// Where the commands were before the last attempt to connect.
    before: Place,
    /// Where the last connection led.
    peer: Option<SocketAddr>,
}

impl Lane {
    pub(crate) fn new(transport: Arc<Transport>, purpose: Purpose) -> Self {
        let commands = transport.commands.subscribe();
        let before = *commands.borrow();
        Self {
            transport,
            purpose,
            commands,
            before,
            peer: None,
        }
    }

    /// Connects, authenticates, and waits for the server's first answer, all within
    /// `connect_timeout`. Name and credentials are asked for anew each time, but who follows goes
    /// where the commands are.
    pub(crate) async fn open(&mut self) -> Result<Box<dyn Socket>, Failure> {
        loop {
            // From before the attempt on, so that nothing changes unnoticed.
            self.before = *self.commands.borrow_and_update();
            let opened = tokio::select! {
                opened = self.attempt() => opened,
                // Where the commands were, nobody may be any more.
                () = self.has_moved() => continue,
            };
            let (socket, peer) = opened?;
            self.peer = peer;
            return Ok(socket);
        }
    }

    /// Waits for so long, or until there is somewhere else to go.
    pub(crate) async fn pause(&self, wait: Duration) {
        // That it was for so long is no news.
        let _ = timeout(wait, self.has_moved()).await;
    }

    /// Resolves once the commands are connected to another address than before the last attempt.
    async fn has_moved(&self) {
        if self.leads() {
            return pending().await;
        }
        let mut commands = self.commands.clone();
        let moved = commands.wait_for(|place| place.is_elsewhere(&self.before));
        // It cannot fail: what it looks at is in the transport, which is held here.
        let _ = moved.await;
    }

    /// Resolves once the last connection is wrong where it is, by what the commands have learned
    /// since it was begun.
    pub(crate) async fn must_leave(&mut self) {
        if self.leads() {
            return pending().await;
        }
        while self.commands.changed().await.is_ok() {
            if self.commands.borrow().forbids(self.peer) {
                return;
            }
        }
        pending().await
    }

    /// The server of the last connection was found to be a replica.
    pub(crate) fn met_replica(&self) {
        if self.leads() {
            let commands = &self.transport.commands;
            commands.send_modify(|place| place.is_master = false);
        }
    }

    fn leads(&self) -> bool {
        self.purpose == Purpose::Commands
    }

    async fn attempt(&self) -> Result<(Box<dyn Socket>, Option<SocketAddr>), Failure> {
        let options = &self.transport.options;
        let credentials = match &options.provider {
            Some(provider) => Some(provider.ask(options.connect_timeout).await?),
            None => options.fixed_credentials(),
        };
        let opened = timeout(options.connect_timeout, async {
            let (mut socket, peer) = self.transport.dial(self.known_address()).await?;
            let credentials = credentials.as_ref();
            let shaken = shake_hands(&mut socket, options, credentials, self.purpose).await;
            self.note(peer, &shaken);
            shaken.map(|()| (socket, peer))
        });
        opened
            .await
            .unwrap_or_else(|_elapsed| Err(error::connect_timed_out(options)))
    }

    /// Where the commands are, for who follows them, unless that is a replica.
    fn known_address(&self) -> Option<SocketAddr> {
        let commands = *self.commands.borrow();
        let follows = !self.leads() && commands.is_master;
        commands.peer.filter(|_| follows)
    }

    /// Tells those who follow what came of a handshake.
    pub(crate) fn note(&self, peer: Option<SocketAddr>, shaken: &Result<(), Failure>) {
        let is_master = match shaken {
            _ if !self.leads() => return,
            Ok(()) => true,
            Err(cause) if cause.is_replica => false,
            Err(_) => return,
        };
        let place = Place { peer, is_master };
        // To have met a replica once more is news for those who came back to it.
        self.transport
            .commands
            .send_if_modified(|known| mem::replace(known, place) != place || !is_master);
    }
}

#[cfg(test)]
mod tests;
