//! Servers that are there and say nothing.

use std::time::{Duration, Instant};

use crate::support::{Server, soon};
use store_core::{Condition, ErrorKind, Expiry, HealthState, StoreAdapter};
use store_redis::{RedisDriver, RedisOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_stalled_server_ends_each_call_at_its_deadline() {
    let server = Server::start(&[]);
    let timeout = Duration::from_millis(200);
    let options = server.options().call_timeout(timeout);
    let driver = RedisDriver::connect_with(options).await.unwrap();
    driver
        .set("k", b"v", Expiry::Never, Condition::Always)
        .await
        .unwrap();
    server.signal("-STOP");
    let start = Instant::now();
    let write = driver.increment("n", 1, None).await.unwrap_err();
    assert!(start.elapsed() >= timeout);
    assert_eq!(write.kind(), ErrorKind::Indeterminate, "{write}");
    let read = driver.get("k").await.unwrap_err();
    assert_eq!(read.kind(), ErrorKind::Unavailable, "{read}");
    // Nobody answers, so the connection is given up; from then on nothing is sent.
    let given_up = async {
        loop {
            let health = driver.health().await;
            if health
                .cause
                .as_ref()
                .is_some_and(|cause| !cause.contains("within"))
            {
                return health;
            }
        }
    };
    let health = soon("the connection is given up", given_up).await;
    assert_eq!(health.state, HealthState::Down);
    let error = driver.increment("n", 1, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    server.signal("-CONT");
    let answered = async {
        loop {
            if let Ok(value) = driver.get("k").await {
                return value;
            }
        }
    };
    let back = soon("a new connection", answered).await;
    assert_eq!(back.as_deref(), Some(&b"v"[..]));
    assert_eq!(
        driver.increment("n", 0, None).await.unwrap(),
        1,
        "the second was not sent"
    );
    assert!(driver.health().await.generation > 1);
}

#[tokio::test]
async fn a_connection_that_answers_nothing_is_replaced_without_any_call() {
    let server = Greeter::start().await;
    // Before the connection, so that a busy machine cannot make it look shorter.
    let started = Instant::now();
    let (driver, mut first) = server.connected().await;
    let _second = server.accept().await;
    // A heartbeat, and the patience for its answer.
    assert!(started.elapsed() >= Duration::from_millis(900), "hasty");
    let mut received = String::new();
    soon(
        "the first one is closed",
        first.read_to_string(&mut received),
    )
    .await
    .unwrap();
    assert!(received.ends_with(HEARTBEAT), "{received:?}");
    assert_eq!(received.matches("PING").count(), 1, "{received:?}");
    drop(driver);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_the_time_to_connect_and_no_more() {
    let server = Greeter::start().await;
    let port = server.listener.local_addr().unwrap().port();
    let timeout = Duration::from_millis(100);
    let options = RedisOptions::new()
        .address("127.0.0.1", port)
        .connect_timeout(timeout);
    let began = Instant::now();
    let attempt = RedisDriver::connect_with(options);
    let error = soon("the end of the attempt", attempt).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("within 100ms"), "{error}");
    // Some slack for a busy machine.
    assert!((timeout..30 * timeout).contains(&began.elapsed()));
}

#[tokio::test]
async fn a_call_hears_of_a_loss_before_there_is_another_connection() {
    let server = Greeter::start().await;
    let options = RedisOptions::new().call_timeout(Duration::from_secs(5));
    let (driver, mut socket) = server.connected_with(options).await;
    // Nobody accepts any more.
    drop(server);
    let cut = async {
        let mut received = Vec::new();
        while !received.ends_with(b"INCRBY\r\n$1\r\nn\r\n$1\r\n1\r\n") {
            assert_ne!(socket.read_buf(&mut received).await.unwrap(), 0);
        }
        drop(socket);
    };
    let (outcome, ()) = tokio::join!(driver.increment("n", 1, None), cut);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    assert!(error.to_string().contains("was lost"), "{error}");
}

/// A server that shakes hands and says nothing by itself afterwards.
struct Greeter {
    listener: TcpListener,
}

impl Greeter {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    async fn accept(&self) -> TcpStream {
        let accepted = soon("a connection", self.listener.accept()).await;
        let (mut socket, _) = accepted.unwrap();
        socket.write_all(b"%0\r\n+PONG\r\n").await.unwrap();
        socket
    }

    /// A driver, and its connection.
    async fn connected(&self) -> (RedisDriver, TcpStream) {
        self.connected_with(RedisOptions::new()).await
    }

    async fn connected_with(&self, options: RedisOptions) -> (RedisDriver, TcpStream) {
        let port = self.listener.local_addr().unwrap().port();
        let options = options.address("127.0.0.1", port);
        let (driver, socket) = tokio::join!(RedisDriver::connect_with(options), self.accept());
        (driver.unwrap(), socket)
    }
}

/// Under RESP3.
const HEARTBEAT: &str = "*1\r\n$5\r\nHELLO\r\n";

#[tokio::test]
async fn any_error_is_a_sign_of_life_and_an_answer_to_something_else_is_none() {
    let server = Greeter::start().await;
    let (driver, mut socket) = server.connected().await;
    let mut received = Vec::new();
    for answer in [
        "-BUSY Redis is busy running a script\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
        "%1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n",
        "+PONG\r\n",
    ] {
        let heartbeat = async {
            while !received.ends_with(HEARTBEAT.as_bytes()) {
                assert_ne!(socket.read_buf(&mut received).await.unwrap(), 0);
            }
            received.clear();
        };
        soon("a heartbeat", heartbeat).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
    let _second = server.accept().await;
    drop(driver);
}
