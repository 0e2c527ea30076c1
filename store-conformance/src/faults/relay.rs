//! One connection of the proxy: bytes both ways, under the orders of the test.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::{ReplyFault, Shared};

/// The orders for one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) stalled: bool,
    pub(super) half_closed: bool,
    pub(super) pieces: Option<(usize, Duration)>,
    pub(super) ending: Option<Ending>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Close,
    Reset,
}

/// The fault of the reply that is awaited on one connection.
type Due = Mutex<Option<ReplyFault>>;

/// Passes bytes both ways until one side ends, a fault or an order ends it.
pub(super) async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    line: watch::Receiver<Line>,
    shared: &Shared,
) {
    let ending = {
        let due = Due::default();
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut orders = line.clone();
        let both_ways = async {
            tokio::try_join!(
                pass_requests(from_client, to_server, line.clone(), shared, &due),
                pass_replies(from_server, to_client, line.clone(), &due),
            )
        };
        tokio::select! {
            biased;
            line = orders.wait_for(|line| line.ending.is_some()) => {
                line.ok().and_then(|line| line.ending).unwrap_or(Ending::Close)
            }
            ended = both_ways => ended.err().unwrap_or(Ending::Close),
        }
    };
    if ending == Ending::Reset {
        // Nothing to do about a socket that is already gone.
        let _ = client.set_zero_linger();
    }
}

async fn pass_requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut line: watch::Receiver<Line>,
    shared: &Shared,
    due: &Due,
) -> Result<(), Ending> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| Ending::Close)?;
        let bytes = &buffer[..length];
        let fault = if length == 0 {
            None
        } else {
            shared.fault_for(bytes)
        };
        let cut = fault == Some(ReplyFault::Cut);
        if fault.is_some() {
            *lock(due) = fault;
        }
        send(&mut to, bytes, &mut line, None).await?;
        if length == 0 || cut {
            // With the end of the requests the server answers them all and then ends itself, so
            // at a cut all of them are certainly done.
            let _ = to.shutdown().await;
            return Ok(());
        }
    }
}

async fn pass_replies(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut line: watch::Receiver<Line>,
    due: &Due,
) -> Result<(), Ending> {
    let mut buffer = vec![0; 64 * 1024];
    let mut orders = line.clone();
    let mut dribble = None;
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => Some(read.map_err(|_| Ending::Close)?),
            Ok(_) = orders.wait_for(|line| line.half_closed) => None,
        };
        let Some(length) = read else {
            let _ = to.shutdown().await;
            // The server's replies are read on, so that it does not stop reading requests.
            while from.read(&mut buffer).await.map_err(|_| Ending::Close)? > 0 {}
            return Ok(());
        };
        let bytes = &buffer[..length];
        let fault = lock(due).take_unless_cut();
        if let Some(ReplyFault::Dribble(pause)) = fault {
            dribble = Some((1, pause));
        }
        match fault {
            Some(ReplyFault::Cut) if length == 0 => return Err(Ending::Close),
            Some(ReplyFault::Cut) => {}
            Some(ReplyFault::Truncate(left)) => {
                send(&mut to, &bytes[..left.min(length)], &mut line, dribble).await?;
                return Err(Ending::Close);
            }
            Some(ReplyFault::Replace(other)) => send(&mut to, &other, &mut line, dribble).await?,
            _ if length == 0 => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            Some(ReplyFault::Dribble(_)) | None => {
                send(&mut to, bytes, &mut line, dribble).await?;
            }
        }
    }
}

async fn send(
    to: &mut WriteHalf<'_>,
    bytes: &[u8],
    line: &mut watch::Receiver<Line>,
    dribble: Option<(usize, Duration)>,
) -> Result<(), Ending> {
    let mut rest = bytes;
    loop {
        let pieces = {
            let line = line.wait_for(|line| !line.stalled).await;
            line.map_err(|_| Ending::Close)?.pieces
        };
        if rest.is_empty() {
            return Ok(());
        }
        let pieces = dribble.or(pieces);
        let (size, pause) = pieces.unwrap_or((rest.len(), Duration::ZERO));
        let (piece, after) = rest.split_at(size.min(rest.len()));
        to.write_all(piece).await.map_err(|_| Ending::Close)?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        rest = after;
    }
}

trait TakeUnlessCut {
    fn take_unless_cut(&mut self) -> Option<ReplyFault>;
}

impl TakeUnlessCut for Option<ReplyFault> {
    /// A cut stays until the server ends; the other faults are for the next bytes alone.
    fn take_unless_cut(&mut self) -> Option<ReplyFault> {
        match self {
            Some(ReplyFault::Cut) => Some(ReplyFault::Cut),
            fault => fault.take(),
        }
    }
}

fn lock(due: &Due) -> std::sync::MutexGuard<'_, Option<ReplyFault>> {
    due.lock().unwrap_or_else(PoisonError::into_inner)
}
