use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::options::RedisOptions;

const FOLLOWERS: [Purpose; 2] = [Purpose::PubSub, Purpose::Reader];
const MASTER: &[u8] = b"%1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n+PONG\r\n";
const REPLICA: &[u8] = b"%1\r\n$4\r\nrole\r\n$7\r\nreplica\r\n+PONG\r\n";

fn transport() -> Arc<Transport> {
    transport_to(RedisOptions::new())
}

fn transport_to(options: RedisOptions) -> Arc<Transport> {
    Arc::new(Transport::new(options).unwrap())
}

fn commands(transport: &Arc<Transport>) -> Lane {
    Lane::new(Arc::clone(transport), Purpose::Commands)
}

fn is_replica() -> Result<(), Failure> {
    Err(error::replica(&RedisOptions::new()))
}

/// A server that greets whoever connects with `greeting`, and the address that it has.
async fn greeting(greeting: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut sockets = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            assert_ne!(socket.read(&mut [0; 1024]).await.unwrap(), 0);
            socket.write_all(greeting).await.unwrap();
            sockets.push(socket);
        }
    });
    address
}

#[test]
fn who_follows_leaves_where_the_commands_are_not_and_the_replicas_that_they_meet() {
    let transport = transport();
    let commands = commands(&transport);
    let (a, b) = ("10.0.0.1:6379", "10.0.0.2:6379");
    let [a, b] = [a, b].map(|address| address.parse::<SocketAddr>().ok());
    let place = || *transport.commands.borrow();
    // On a Unix socket there are no addresses, and only a replica is a reason to leave.
    assert!(!place().forbids(None));
    commands.met_replica();
    assert!(place().forbids(None));

    commands.note(a, &Ok(()));
    assert!(!place().forbids(a) && place().forbids(b));
    commands.note(b, &is_replica());
    assert!(!place().forbids(a) && place().forbids(b));
    let before = place();
    commands.note(b, &Ok(()));
    assert!(place().forbids(a) && !place().forbids(b));
    assert!(!place().is_elsewhere(&before), "the same address");
    commands.met_replica();
    assert!(!place().forbids(a) && place().forbids(b));
}

#[test]
fn only_what_may_make_others_leave_is_news() {
    let transport = transport();
    let commands = commands(&transport);
    let mut news = transport.commands.subscribe();
    let mut is_news = || {
        let is_news = news.has_changed().unwrap();
        news.mark_unchanged();
        is_news
    };
    let peer = "10.0.0.1:6379".parse().ok();
    commands.note(peer, &Ok(()));
    assert!(is_news());
    commands.note(peer, &Ok(()));
    assert!(!is_news());
    for _ in 0..2 {
        commands.note(peer, &is_replica());
        assert!(is_news());
    }
    commands.note(peer, &Err(error::connection_lost("nobody is there")));
    assert!(!is_news());
}

#[tokio::test]
async fn the_commands_alone_say_where_others_belong() {
    for role in [MASTER, REPLICA] {
        let address = greeting(role).await;
        let options = RedisOptions::new().address("127.0.0.1", address.port());
        for (purpose, tells) in [
            (Purpose::Commands, true),
            (Purpose::PubSub, false),
            (Purpose::Reader, false),
        ] {
            let transport = transport_to(options.clone());
            let news = transport.commands.subscribe();
            let mut lane = Lane::new(transport, purpose);
            assert_eq!(lane.open().await.is_ok(), role == MASTER, "{purpose:?}");
            assert_eq!(news.has_changed().unwrap(), tells, "{purpose:?}");
            lane.met_replica();
            assert_eq!(news.has_changed().unwrap(), tells, "{purpose:?}");
        }
    }
}

#[tokio::test]
async fn others_connect_to_where_the_commands_are_unless_that_is_a_replica() {
    let name = greeting(MASTER).await;
    let other = greeting(MASTER).await;
    for follower in FOLLOWERS {
        let transport = transport_to(RedisOptions::new().address("127.0.0.1", name.port()));
        let commands = commands(&transport);
        let opened_by = async |purpose| {
            let mut lane = Lane::new(Arc::clone(&transport), purpose);
            lane.open().await.unwrap();
            lane.peer.unwrap()
        };
        assert_eq!(opened_by(follower).await, name);
        commands.note(Some(other), &Ok(()));
        assert_eq!(opened_by(follower).await, other);
        commands.met_replica();
        assert_eq!(opened_by(follower).await, name);
        commands.note(Some(other), &Ok(()));
        assert_eq!(opened_by(Purpose::Commands).await, name);
    }
}

#[tokio::test]
async fn others_leave_with_the_commands_and_the_commands_with_nobody() {
    let here = greeting(MASTER).await;
    let elsewhere = "10.0.0.2:6379".parse().ok();
    for purpose in [Purpose::Commands, Purpose::PubSub, Purpose::Reader] {
        let transport = transport_to(RedisOptions::new().address("127.0.0.1", here.port()));
        let commands = commands(&transport);
        let mut lane = Lane::new(Arc::clone(&transport), purpose);
        lane.open().await.unwrap();
        let follows = purpose != Purpose::Commands;
        commands.note(Some(here), &Ok(()));
        assert!(lane.must_leave().now_or_never().is_none());
        assert_eq!(lane.has_moved().now_or_never().is_some(), follows);
        lane.open().await.unwrap();
        commands.note(elsewhere, &is_replica());
        assert!(lane.must_leave().now_or_never().is_none());
        assert!(lane.has_moved().now_or_never().is_none());
        commands.note(elsewhere, &Ok(()));
        assert_eq!(lane.must_leave().now_or_never().is_some(), follows);
        assert_eq!(lane.has_moved().now_or_never().is_some(), follows);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_where_there_is_somewhere_else_to_go() {
    let hour = Duration::from_secs(3600);
    for purpose in [Purpose::Commands, Purpose::PubSub, Purpose::Reader] {
        let transport = transport();
        let commands = commands(&transport);
        let lane = Lane::new(Arc::clone(&transport), purpose);
        let began = Instant::now();
        lane.pause(hour).await;
        assert!(began.elapsed() >= hour);
        commands.note("10.0.0.1:6379".parse().ok(), &Ok(()));
        let began = Instant::now();
        lane.pause(hour).await;
        assert_eq!(began.elapsed() < hour, purpose != Purpose::Commands);
    }
}
