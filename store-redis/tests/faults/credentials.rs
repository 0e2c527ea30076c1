//! A server that lets nobody in for a while.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use store_conformance::faults::Proxy;
use store_conformance::server::RedisServer;
use store_core::{ErrorKind, StoreAdapter};
use store_redis::{Protocol, RedisOptions};

use crate::load::Load;
use crate::support::{
    at_most, connect, lasting, next_text, publish, recovery, server, settled, soon,
};

/// For how long nobody is let in.
const OUTAGE: Duration = Duration::from_secs(3);
/// How soon after the repair the driver must work.
const RECOVERY: Duration = Duration::from_secs(6);
const ATTEMPTS_A_SECOND: u64 = 3;

/// How the server is closed, with what is then said, and opened again.
struct Door {
    close: &'static [&'static str],
    open: &'static [&'static str],
    kind: ErrorKind,
    cause: &'static str,
}

const PASSWORD: Door = Door {
    close: &["ACL SETUSER app resetpass >other"],
    open: &["ACL SETUSER app resetpass >right"],
    kind: ErrorKind::PermissionDenied,
    cause: "refused the credentials",
};

/// F5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_rotated_away_and_back_is_survived_on_resp2() {
    survives("F5, password, RESP2", &PASSWORD, |options| {
        options.protocol(Protocol::Resp2)
    })
    .await;
}

/// F5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_rotated_away_and_back_is_survived_on_resp3() {
    survives("F5, password, RESP3", &PASSWORD, |options| options).await;
}

/// F5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_away_and_given_back_is_survived() {
    let door = Door {
        close: &["ACL SETUSER app -select"],
        open: &["ACL SETUSER app +select"],
        cause: "the Redis user may not do this",
        ..PASSWORD
    };
    survives("F5, NOPERM", &door, |options| options.database(1)).await;
}

/// F5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_full_for_a_while_is_survived() {
    let door = Door {
        close: &["CONFIG SET maxclients 1"],
        open: &["CONFIG SET maxclients 1000"],
        kind: ErrorKind::Unavailable,
        cause: "maxclients",
    };
    survives("F5, maxclients", &door, |options| options).await;
}

async fn survives(fault: &str, door: &Door, also: impl FnOnce(RedisOptions) -> RedisOptions) {
    let Some(server) = server(&[]) else { return };
    // Kept open, since a full server lets no other one in.
    let mut admin = Admin::connect(&server);
    admin.run("ACL SETUSER app on >right +@all ~* &*");
    let proxy = Proxy::start(server.address()).await.unwrap();
    let options = RedisOptions::new().address("127.0.0.1", proxy.port());
    let driver = connect(also(options.username("app").password("right"))).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    let load = Load::start(&driver).await;
    lasting(Duration::from_millis(300)).await;

    for command in door.close {
        admin.run(command);
    }
    admin.run("CLIENT KILL USER app");
    let began = Instant::now();
    let accepted = proxy.accepted();
    let known = async {
        loop {
            let health = driver.health().await;
            let cause = health.cause.clone().unwrap_or_default();
            if cause.contains(door.cause) {
                assert!(!health.is_up(), "{health:?}");
                return;
            }
            lasting(Duration::from_millis(5)).await;
        }
    };
    soon("health knows the cause", known).await;
    let error = driver.get("k").await.unwrap_err();
    assert_eq!(error.kind(), door.kind, "{error}");
    assert!(error.to_string().contains(door.cause), "{error}");
    lasting(OUTAGE.saturating_sub(began.elapsed())).await;
    let attempts = proxy.accepted() - accepted;
    let seconds = began.elapsed().as_secs_f64();
    println!("{fault}: {attempts} attempts in {seconds:.1} s, of both connections together");
    assert!(attempts as f64 <= ATTEMPTS_A_SECOND as f64 * seconds);
    assert!(attempts >= 2, "nothing was tried");

    for command in door.open {
        admin.run(command);
    }
    let repaired = Instant::now();
    recovery(&driver).await;
    at_most(&format!("{fault}: recovery"), repaired.elapsed(), RECOVERY);
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    at_most(
        &format!("{fault}: recovery of the subscription"),
        repaired.elapsed(),
        RECOVERY,
    );
    publish(&driver, "after").await;
    assert_eq!(next_text(&mut subscription).await, "after");
    let mut report = load.stop().await;
    assert!(driver.health().await.is_up());
    settled(&server, 2).await;
    // Some of the drivers use another database, which a script can select.
    let read = "for database = 0, 1 do
            redis.call('SELECT', database)
            local value = redis.call('GET', KEYS[1])
            if value then return value end
        end";
    report.check_values(fault, |key| {
        server.command(&["EVAL", read, "1", key]).unwrap()
    });
}

/// A connection for commands without spaces in their words.
struct Admin(BufReader<TcpStream>);

impl Admin {
    fn connect(server: &RedisServer) -> Self {
        let socket = TcpStream::connect(server.address()).unwrap();
        Self(BufReader::new(socket))
    }

    fn run(&mut self, command: &str) {
        self.0
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        assert!(answer.starts_with(['+', ':']), "{command}: {answer}");
    }
}
