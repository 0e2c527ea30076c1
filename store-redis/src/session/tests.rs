//! What a session does on sockets that a server hardly makes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, BufWriter, ReadBuf, duplex};
use tokio::task::coop::poll_proceed;
use tokio::time::timeout;

use super::*;
use crate::lane::Purpose;
use crate::options::RedisOptions;
use crate::transport::Transport;

/// A server that always has something to say. It answers what it is asked with `answers`, in order.
struct Talkative {
    answers: VecDeque<&'static [u8]>,
    due: VecDeque<&'static [u8]>,
}

impl AsyncRead for Talkative {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // As tokio's sockets do, so that others have their turn. Timers have none then either.
        let progress = ready!(poll_proceed(context));
        progress.made_progress();
        let message = b"*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$1\r\n1\r\n";
        buffer.put_slice(self.due.pop_front().unwrap_or(message));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Talkative {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = self.answers.pop_front();
        self.due.extend(answer);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_was_put_off_is_asked_for_again_although_there_is_always_something_to_read() {
    let transport = Transport::new(RedisOptions::new()).unwrap();
    let shared = Shared::new(Arc::new(transport));
    shared.registry().connected();
    let joined = shared.registry().join(Kind::Channel, "c", None).unwrap();
    let socket = Talkative {
        answers: VecDeque::from([
            b"-BUSY a script runs\r\n".as_slice(),
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
        ]),
        due: VecDeque::new(),
    };
    let mut lane = Lane::new(Arc::clone(&shared.transport), Purpose::PubSub);
    let mut session = Session::new(&shared, &mut lane);
    let patience = Duration::from_secs(10);
    tokio::select! {
        cause = session.serve(Box::new(socket)) => panic!("{cause}"),
        confirmed = timeout(patience, joined.confirmed) => {
            assert!(confirmed.unwrap().unwrap().is_ok());
        }
    }
}

#[tokio::test]
async fn a_replica_is_left_although_there_is_always_something_to_read() {
    let transport = Transport::new(RedisOptions::new()).unwrap();
    let shared = Shared::new(Arc::new(transport));
    let socket = Talkative {
        answers: VecDeque::from([b"%1\r\n$4\r\nrole\r\n$7\r\nreplica\r\n".as_slice()]),
        due: VecDeque::new(),
    };
    let mut lane = Lane::new(Arc::clone(&shared.transport), Purpose::PubSub);
    let mut session = Session::new(&shared, &mut lane);
    let served = session.serve(Box::new(socket));
    let cause = timeout(Duration::from_secs(10), served).await.unwrap();
    assert!(cause.to_string().contains("is a replica"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn what_a_socket_keeps_back_is_flushed() {
    let (client, mut server) = duplex(4096);
    let mut writer = BufWriter::new(client);
    let mut out = Outgoing::default();
    out.push(b"one");
    while !out.is_written() {
        out.write(&mut writer).await.unwrap();
    }
    // Loses what it keeps back.
    drop(writer);
    let mut read = [0; 3];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"one");
}
