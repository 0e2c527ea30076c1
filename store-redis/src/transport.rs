//! Opening a socket and bringing it to the point where commands can be sent.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use redis::{Cmd, cmd};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::{self, Failure};
use crate::options::{Address, Protocol, RedisOptions};
use crate::resp::{self, Frame};

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

/// Connects, authenticates, and waits for the server's first answer, all within
/// `connect_timeout`. The name is resolved anew each time.
pub(crate) async fn open(
    options: &RedisOptions,
    purpose: Purpose,
) -> Result<Box<dyn Socket>, Failure> {
    let opened = timeout(options.connect_timeout, async {
        let mut socket = dial(options)
            .await
            .map_err(|cause| error::connect(options, &cause))?;
        shake_hands(&mut socket, options, purpose).await?;
        Ok(socket)
    });
    opened
        .await
        .unwrap_or_else(|_elapsed| Err(error::connect_timed_out(options)))
}

async fn dial(options: &RedisOptions) -> io::Result<Box<dyn Socket>> {
    match &options.address {
        Address::Tcp { host, port } => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            let keepalive = TcpKeepalive::new()
                .with_time(KEEPALIVE)
                .with_interval(KEEPALIVE_INTERVAL);
            #[cfg(not(windows))]
            let keepalive = keepalive.with_retries(KEEPALIVE_RETRIES);
            SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
            Ok(Box::new(socket))
        }
        #[cfg(unix)]
        Address::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

/// What the server's answer to a step of the handshake must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// No error.
    Required,
    /// Anything: a user may lack the right to name its connection.
    Optional,
    /// A sign of life: without credentials this is where the server asks for them.
    Alive,
}

/// Sends all steps at once and reads as many answers.
async fn shake_hands(
    socket: &mut (impl Socket + ?Sized),
    options: &RedisOptions,
    purpose: Purpose,
) -> Result<(), Failure> {
    let steps = steps(options, purpose);
    let mut request = Vec::new();
    for (_, command) in &steps {
        command.write_packed_command(&mut request);
    }
    // A server that is full answers and closes without reading; its answer is the better cause.
    let sent = socket.write_all(&request).await;
    let mut received = BytesMut::new();
    for (step, _) in &steps {
        loop {
            let parsed = resp::parse(&received)
                .map_err(|_| error::handshake(options, "the answer is not Redis's protocol"))?;
            if let Some((frame, length)) = parsed {
                check(*step, &frame, options)?;
                received.advance(length);
                break;
            }
            let read = socket.read_buf(&mut received).await;
            let cause = match (&sent, &read) {
                (_, Ok(1..)) => continue,
                (_, Err(cause)) | (Err(cause), _) => cause.to_string(),
                (Ok(()), Ok(0)) => "the server closed the connection".to_owned(),
            };
            return Err(error::handshake(options, &cause));
        }
    }
    if !received.is_empty() {
        return Err(error::handshake(
            options,
            "there were more answers than questions",
        ));
    }
    Ok(())
}

fn check(step: Step, frame: &Frame<'_>, options: &RedisOptions) -> Result<(), Failure> {
    let Frame::Error(line) = frame else {
        return Ok(());
    };
    let (code, detail) = resp::split_error(line);
    let passes = match step {
        Step::Required => false,
        Step::Optional => !detail.contains("max number of clients"),
        // A server that loads, or a user without PING, answers all the same.
        Step::Alive => matches!(code.as_str(), "NOPERM" | "LOADING" | "BUSY" | "MASTERDOWN"),
    };
    if passes {
        return Ok(());
    }
    Err(error::handshake_refused(options, &code, &detail))
}

fn steps(options: &RedisOptions, purpose: Purpose) -> Vec<(Step, Cmd)> {
    let mut steps = Vec::with_capacity(4);
    if purpose == Purpose::Commands && options.protocol == Protocol::Resp3 {
        steps.push((Step::Required, hello(options)));
    } else {
        if let Some(password) = &options.password {
            let mut auth = cmd("AUTH");
            // The form without a user is the one that every version knows.
            if let Some(username) = &options.username {
                auth.arg(username);
            }
            auth.arg(password.reveal());
            steps.push((Step::Required, auth));
        }
        if !options.client_name.is_empty() {
            let mut name = cmd("CLIENT");
            name.arg("SETNAME").arg(&options.client_name);
            steps.push((Step::Optional, name));
        }
    }
    if purpose == Purpose::Commands && options.database != 0 {
        let mut select = cmd("SELECT");
        select.arg(options.database);
        steps.push((Step::Required, select));
    }
    steps.push((Step::Alive, cmd("PING")));
    steps
}

fn hello(options: &RedisOptions) -> Cmd {
    let mut hello = cmd("HELLO");
    hello.arg(3);
    if let Some(password) = &options.password {
        let username = options.username.as_deref().unwrap_or("default");
        hello.arg("AUTH").arg(username).arg(password.reveal());
    }
    if !options.client_name.is_empty() {
        hello.arg("SETNAME").arg(&options.client_name);
    }
    hello
}

#[cfg(test)]
mod tests {
    use store_core::ErrorKind;
    use tokio::io::duplex;

    use super::*;

    fn sent(options: &RedisOptions, purpose: Purpose) -> String {
        let mut request = Vec::new();
        for (_, command) in steps(options, purpose) {
            command.write_packed_command(&mut request);
        }
        let text = String::from_utf8(request).unwrap();
        let words = text
            .split("\r\n")
            .filter(|word| !word.is_empty() && !word.starts_with(['*', '$']));
        words.collect::<Vec<_>>().join(" ")
    }

    /// The outcome of a handshake with a server that answers `answers`, whatever it is asked.
    async fn outcome(answers: &[u8]) -> Result<(), Failure> {
        let options = RedisOptions::default().with_protocol(Protocol::Resp2);
        let (mut client, mut server) = duplex(4096);
        server.write_all(answers).await.unwrap();
        server.shutdown().await.unwrap();
        shake_hands(&mut client, &options, Purpose::Commands).await
    }

    #[test]
    fn the_handshake_follows_protocol_and_purpose() {
        let plain = RedisOptions::default();
        let full = RedisOptions::default()
            .with_username("app")
            .with_password("pw")
            .with_database(2);
        let resp2 = full.clone().with_protocol(Protocol::Resp2);
        assert_eq!(
            sent(&plain, Purpose::Commands),
            "HELLO 3 SETNAME igniter-store PING"
        );
        assert_eq!(
            sent(&full, Purpose::Commands),
            "HELLO 3 AUTH app pw SETNAME igniter-store SELECT 2 PING"
        );
        assert_eq!(
            sent(&resp2, Purpose::Commands),
            "AUTH app pw CLIENT SETNAME igniter-store SELECT 2 PING"
        );
        assert_eq!(
            sent(&full, Purpose::PubSub),
            "AUTH app pw CLIENT SETNAME igniter-store PING"
        );
    }

    #[tokio::test]
    async fn a_server_that_lives_is_accepted() {
        for answers in [
            b"+OK\r\n+PONG\r\n".as_slice(),
            b"-NOPERM no\r\n-NOPERM no\r\n",
            b"+OK\r\n-LOADING wait\r\n",
        ] {
            assert!(outcome(answers).await.is_ok(), "{answers:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_not() {
        for (answers, kind) in [
            (
                b"-NOAUTH no\r\n-NOAUTH no\r\n".as_slice(),
                ErrorKind::PermissionDenied,
            ),
            (
                b"-ERR max number of clients reached\r\n",
                ErrorKind::Unavailable,
            ),
            (b"HTTP/1.1 400 Bad Request\r\n", ErrorKind::Unavailable),
            (b"+OK\r\n", ErrorKind::Unavailable),
            (b"+OK\r\n+PONG\r\n+PONG\r\n", ErrorKind::Unavailable),
        ] {
            let failure = outcome(answers).await.unwrap_err();
            assert_eq!(failure.kind, kind, "{failure}");
        }
    }
}
