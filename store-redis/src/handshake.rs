//! The first words on a socket: credentials, name, database, and a sign of life.

use bytes::{Buf, BytesMut};
use redis::{Cmd, cmd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::credentials::Credentials;
use crate::error::{self, Failure};
use crate::lane::Purpose;
use crate::options::{Protocol, RedisOptions};
use crate::reply;
use crate::resp::{self, Frame};
use crate::transport::Socket;

/// What the server's answer to a step of the handshake must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// No error.
    Required,
    /// No error, and the role of a server that suits: `HELLO` answers it.
    Role,
    /// The role of a server that suits, unless the user may not ask for it.
    OptionalRole,
    /// Anything: a user may lack the right to name its connection.
    Optional,
    /// A sign of life: without credentials this is where the server asks for them.
    Alive,
}

/// No answer to a step is longer: that to `HELLO` is some hundred bytes, and a line for each module.
const LONGEST: usize = 64 << 10;

/// Sends all steps at once and reads as many answers.
pub(crate) async fn shake_hands(
    socket: &mut (impl Socket + ?Sized),
    options: &RedisOptions,
    credentials: Option<&Credentials>,
    purpose: Purpose,
) -> Result<(), Failure> {
    let steps = steps(options, credentials, purpose);
    let mut request = Vec::new();
    for (_, command) in &steps {
        command.write_packed_command(&mut request);
    }
    // A server that is full answers and closes without reading; its answer is the better cause.
    let sent = match socket.write_all(&request).await {
        Ok(()) => socket.flush().await,
        Err(cause) => Err(cause),
    };
    let mut received = BytesMut::new();
    for (step, _) in &steps {
        loop {
            let parsed = resp::parse(&received)
                .map_err(|_| error::handshake(options, "the answer is not Redis's protocol"))?;
            if let Some((frame, length)) = parsed {
                check(*step, frame, options, credentials)?;
                received.advance(length);
                break;
            }
            if received.len() > LONGEST {
                let cause = "the answer is longer than any of Redis's";
                return Err(error::handshake(options, cause));
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

fn check(
    step: Step,
    frame: Frame<'_>,
    options: &RedisOptions,
    credentials: Option<&Credentials>,
) -> Result<(), Failure> {
    let Frame::Error(line) = frame else {
        // As later on the connection.
        let unfit = |_| error::handshake(options, "an answer did not fit its command");
        return match step {
            Step::Role | Step::OptionalRole if !options.allow_replica => {
                match reply::is_replica(frame).map_err(unfit)? {
                    true => Err(error::replica(options)),
                    false => Ok(()),
                }
            }
            Step::Alive => reply::pong(frame).map_err(unfit),
            _ => Ok(()),
        };
    };
    let (code, detail) = resp::split_error(line);
    let passes = match step {
        Step::Required | Step::Role => false,
        Step::Optional | Step::OptionalRole => !detail.contains("max number of clients"),
        // A server that loads, or a user without PING, answers all the same.
        Step::Alive => matches!(code.as_str(), "NOPERM" | "LOADING" | "BUSY" | "MASTERDOWN"),
    };
    if passes {
        return Ok(());
    }
    let password = credentials.map(|credentials| credentials.password.reveal());
    Err(error::handshake_refused(options, password, &code, &detail))
}

fn steps(
    options: &RedisOptions,
    credentials: Option<&Credentials>,
    purpose: Purpose,
) -> Vec<(Step, Cmd)> {
    let mut steps = Vec::with_capacity(4);
    if options.protocol == Protocol::Resp3 {
        steps.push((Step::Role, hello(options, credentials)));
    } else {
        if let Some(credentials) = credentials {
            let mut auth = cmd("AUTH");
            // The form without a user is the one that every version knows.
            if let Some(username) = &credentials.username {
                auth.arg(username);
            }
            auth.arg(credentials.password.reveal());
            steps.push((Step::Required, auth));
        }
        if !options.client_name.is_empty() {
            let mut name = cmd("CLIENT");
            name.arg("SETNAME").arg(&options.client_name);
            steps.push((Step::Optional, name));
        }
        if !options.allow_replica {
            steps.push((Step::OptionalRole, cmd("ROLE")));
        }
    }
    if purpose != Purpose::PubSub && options.database != 0 {
        let mut select = cmd("SELECT");
        select.arg(options.database);
        steps.push((Step::Required, select));
    }
    steps.push((Step::Alive, cmd("PING")));
    steps
}

fn hello(options: &RedisOptions, credentials: Option<&Credentials>) -> Cmd {
    let mut hello = cmd("HELLO");
    hello.arg(3);
    if let Some(credentials) = credentials {
        let username = credentials.username.as_deref().unwrap_or("default");
        let password = credentials.password.reveal();
        hello.arg("AUTH").arg(username).arg(password);
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
        let credentials = options.fixed_credentials();
        for (_, command) in steps(options, credentials.as_ref(), purpose) {
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
        outcome_with(RedisOptions::new().protocol(Protocol::Resp2), answers).await
    }

    async fn outcome_with(options: RedisOptions, answers: &[u8]) -> Result<(), Failure> {
        let (mut client, mut server) = duplex(4096);
        server.write_all(answers).await.unwrap();
        server.shutdown().await.unwrap();
        shake_hands(&mut client, &options, None, Purpose::Commands).await
    }

    #[tokio::test]
    async fn a_replica_is_accepted_only_where_it_is_allowed() {
        let answer = |role: &str| {
            let length = role.len();
            format!("%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n${length}\r\n{role}\r\n+PONG\r\n")
        };
        let plain = RedisOptions::new();
        assert!(
            outcome_with(plain.clone(), answer("master").as_bytes())
                .await
                .is_ok()
        );
        assert!(
            outcome_with(plain.clone(), b"%0\r\n+PONG\r\n")
                .await
                .is_ok()
        );
        let replica = answer("replica");
        let failure = outcome_with(plain.clone(), replica.as_bytes())
            .await
            .unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unavailable);
        assert!(failure.to_string().contains("is a replica"), "{failure}");
        let allowing = plain.allow_replica();
        assert!(outcome_with(allowing, replica.as_bytes()).await.is_ok());
    }

    #[test]
    fn the_handshake_follows_protocol_and_purpose() {
        let plain = RedisOptions::new();
        let full = RedisOptions::new()
            .username("app")
            .password("pw")
            .database(2);
        let resp2 = full.clone().protocol(Protocol::Resp2);
        assert_eq!(
            sent(&plain, Purpose::Commands),
            "HELLO 3 SETNAME igniter-store PING"
        );
        for purpose in [Purpose::Commands, Purpose::Reader] {
            assert_eq!(
                sent(&full, purpose),
                "HELLO 3 AUTH app pw SETNAME igniter-store SELECT 2 PING"
            );
        }
        assert_eq!(
            sent(&resp2, Purpose::Commands),
            "AUTH app pw CLIENT SETNAME igniter-store ROLE SELECT 2 PING"
        );
        assert_eq!(
            sent(&full, Purpose::PubSub),
            "HELLO 3 AUTH app pw SETNAME igniter-store PING"
        );
        assert_eq!(
            sent(&resp2, Purpose::PubSub),
            "AUTH app pw CLIENT SETNAME igniter-store ROLE PING"
        );
        assert_eq!(
            sent(&resp2.allow_replica(), Purpose::PubSub),
            "AUTH app pw CLIENT SETNAME igniter-store PING"
        );
    }

    #[tokio::test]
    async fn a_server_that_lives_is_accepted() {
        for answers in [
            b"+OK\r\n*1\r\n$6\r\nmaster\r\n+PONG\r\n".as_slice(),
            b"-NOPERM no\r\n-NOPERM no\r\n-NOPERM no\r\n",
            b"+OK\r\n-LOADING wait\r\n-LOADING wait\r\n",
            b"+OK\r\n-BUSY wait\r\n-BUSY wait\r\n",
            b"+OK\r\n-MASTERDOWN wait\r\n-MASTERDOWN wait\r\n",
        ] {
            assert!(outcome(answers).await.is_ok(), "{answers:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_goes_on_and_on_is_none() {
        let (mut client, mut server) = duplex(4096);
        let options = RedisOptions::new();
        let flood = async {
            let _ = server.write_all(b"$500000000\r\n").await;
            while server.write_all(&[b'x'; 4096]).await.is_ok() {}
        };
        let shaken = shake_hands(&mut client, &options, None, Purpose::Commands);
        tokio::select! {
            shaken = shaken => {
                let failure = shaken.unwrap_err().to_string();
                assert!(failure.contains("longer than"), "{failure}");
            }
            () = flood => panic!("it listens on"),
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_not() {
        for (answers, kind) in [
            (
                b"-NOAUTH no\r\n-NOAUTH no\r\n-NOAUTH no\r\n".as_slice(),
                ErrorKind::PermissionDenied,
            ),
            (
                b"-ERR max number of clients reached\r\n",
                ErrorKind::Unavailable,
            ),
            (b"HTTP/1.1 400 Bad Request\r\n", ErrorKind::Unavailable),
            (b"+OK\r\n", ErrorKind::Unavailable),
            (b"+OK\r\n*0\r\n+PONG\r\n+PONG\r\n", ErrorKind::Unavailable),
            (
                b"+OK\r\n*2\r\n$5\r\nslave\r\n:1\r\n+PONG\r\n",
                ErrorKind::Unavailable,
            ),
            (b"+OK\r\n:1\r\n+PONG\r\n", ErrorKind::Unavailable),
            (b"+OK\r\n*0\r\n+OK\r\n", ErrorKind::Unavailable),
            (b"+OK\r\n$1\r\nv\r\n+PONG\r\n", ErrorKind::Unavailable),
        ] {
            let failure = outcome(answers).await.unwrap_err();
            assert_eq!(failure.kind, kind, "{failure}");
        }
    }
}
