use std::future::ready;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use store_core::RawEvent;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::options::{Protocol, RedisOptions};
use crate::session::SIGN_OF_LIFE;

const PING: &str = "*1\r\n$4\r\nPING\r\n";
/// Under RESP2, while something is subscribed.
const PONG: &[u8] = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n";
const HELLO: &str = "*1\r\n$5\r\nHELLO\r\n";
const MASTER: &[u8] = b"%1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";
const REPLICA: &[u8] = b"%1\r\n$4\r\nrole\r\n$7\r\nreplica\r\n";

/// A hub that opens no connection, the session of one that it has, and the server's end of that.
fn connected() -> (Hub, JoinHandle<Failure>, DuplexStream) {
    connected_with(RedisOptions::new())
}

fn connected_with(options: RedisOptions) -> (Hub, JoinHandle<Failure>, DuplexStream) {
    let transport = Transport::new(options).unwrap();
    let shared = Arc::new(Shared::new(Arc::new(transport)));
    let (session, server) = session(&shared);
    let task = Task::spawn(ready(()));
    (Hub { shared, task }, session, server)
}

/// A session of a new connection.
fn session(shared: &Arc<Shared>) -> (JoinHandle<Failure>, DuplexStream) {
    shared.registry().connected();
    let (client, server) = duplex(4096);
    let shared = Arc::clone(shared);
    let session = tokio::spawn(async move {
        let mut lane = Lane::new(Arc::clone(&shared.transport), Purpose::PubSub);
        let mut session = Session::new(&shared, &mut lane);
        session.serve(Box::new(client)).await
    });
    (session, server)
}

/// What arrives next.
async fn arrives(server: &mut DuplexStream) -> String {
    let mut read = [0; 4096];
    let length = server.read(&mut read).await.unwrap();
    assert_ne!(length, 0, "the connection has ended");
    String::from_utf8_lossy(&read[..length]).into_owned()
}

async fn subscribed(hub: &Hub, server: &mut DuplexStream) -> RawSubscription {
    let confirm = async {
        let request = arrives(server).await;
        assert_eq!(request, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n");
        let confirmation = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
        server.write_all(confirmation).await.unwrap();
    };
    let (subscription, ()) = tokio::join!(hub.subscribe(Kind::Channel, "c"), confirm);
    subscription.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_in_time_is_kept_and_one_that_does_not_is_left() {
    let no: &[u8] = b"-NOPERM no\r\n";
    let loads: &[u8] = b"-LOADING wait\r\n";
    let line: &[u8] = b"+PONG\r\n";
    let resp3 = RedisOptions::new();
    let resp2 = RedisOptions::new().protocol(Protocol::Resp2);
    let any_role = RedisOptions::new().allow_replica();
    for (options, answered, unanswered) in [
        // Who may not ask for the role asks for it once.
        (
            &resp3,
            [(HELLO, loads), (HELLO, MASTER), (HELLO, no), (PING, line)],
            PING,
        ),
        (
            &resp2,
            [(PING, PONG), (PING, no), (PING, PONG), (PING, line)],
            PING,
        ),
        (
            &any_role,
            [(PING, line), (PING, no), (PING, loads), (PING, line)],
            PING,
        ),
        (&resp3, [(HELLO, MASTER); 4], HELLO),
    ] {
        let (hub, session, mut server) = connected_with(options.clone());
        let patience = options.patience();
        let _subscription = subscribed(&hub, &mut server).await;
        for (question, answer) in answered {
            assert_eq!(arrives(&mut server).await, question);
            sleep(patience - Duration::from_millis(10)).await;
            server.write_all(answer).await.unwrap();
        }
        assert_eq!(arrives(&mut server).await, unanswered);
        let asked = Instant::now();
        let cause = session.await.unwrap();
        assert!(cause.to_string().contains("did not answer"), "{cause}");
        assert!(asked.elapsed() >= patience);
        assert!(asked.elapsed() <= patience + Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_became_a_replica_is_left() {
    let (hub, session, mut server) = connected();
    let _subscription = subscribed(&hub, &mut server).await;
    assert_eq!(arrives(&mut server).await, HELLO);
    server.write_all(REPLICA).await.unwrap();
    let cause = session.await.unwrap();
    assert!(cause.to_string().contains("is a replica"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_ends_the_connection() {
    let resp3 = RedisOptions::new();
    let resp2 = RedisOptions::new().protocol(Protocol::Resp2);
    for (options, answer) in [
        (
            &resp3,
            b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n:1\r\n".as_slice(),
        ),
        (&resp3, b">2\r\n$7\r\nmessage\r\n$1\r\nc\r\n"),
        (&resp2, b"+OK\r\n"),
        (&resp2, b":1\r\n"),
        (&resp2, MASTER),
    ] {
        let (hub, session, mut server) = connected_with(options.clone());
        let _subscription = subscribed(&hub, &mut server).await;
        arrives(&mut server).await;
        server.write_all(answer).await.unwrap();
        let cause = session.await.unwrap();
        assert!(cause.to_string().contains("does not fit"), "{cause}");
    }
    let (_hub, session, mut server) = connected();
    server.write_all(MASTER).await.unwrap();
    let cause = session.await.unwrap();
    assert!(cause.to_string().contains("does not fit"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn pushes_that_nobody_subscribed_to_are_passed_over() {
    let (hub, session, mut server) = connected();
    let mut subscription = subscribed(&hub, &mut server).await;
    for push in [
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n".as_slice(),
        b">1\r\n+what\r\n",
        b">3\r\n$3\r\nfoo\r\n$3\r\nbar\r\n:1\r\n",
    ] {
        server.write_all(push).await.unwrap();
    }
    let message = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n1\r\n";
    server.write_all(message).await.unwrap();
    let event = tokio::select! {
        event = subscription.next() => event,
        lost = session => panic!("{}", lost.unwrap()),
    };
    assert!(matches!(event, Some(RawEvent::Message { message, .. }) if message == "1"));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_takes_longer_than_an_answer_may_is_a_sign_of_life() {
    let (hub, session, mut server) = connected();
    let patience = hub.shared.transport.options.patience();
    let mut subscription = subscribed(&hub, &mut server).await;
    let message = "x".repeat(10 * SIGN_OF_LIFE);
    let head = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n", message.len());
    server.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(arrives(&mut server).await, HELLO);
    for piece in message.as_bytes().chunks(SIGN_OF_LIFE / 2) {
        sleep(patience / 3).await;
        server.write_all(piece).await.unwrap();
    }
    server.write_all(b"\r\n").await.unwrap();
    server.write_all(MASTER).await.unwrap();
    let event = tokio::select! {
        event = subscription.next() => event,
        lost = session => panic!("{}", lost.unwrap()),
    };
    let expected = message;
    assert!(matches!(event, Some(RawEvent::Message { message, .. }) if message == expected));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_dribbles_is_left() {
    let (hub, mut session, mut server) = connected();
    let patience = hub.shared.transport.options.patience();
    let _subscription = subscribed(&hub, &mut server).await;
    server.write_all(b">3\r\n$7\r\nmessage\r\n").await.unwrap();
    assert_eq!(arrives(&mut server).await, HELLO);
    let asked = Instant::now();
    let dribble = async {
        server.write_all(b"$100000\r\n").await.unwrap();
        loop {
            sleep(patience / 10).await;
            server.write_all(b"x").await.unwrap();
        }
    };
    tokio::select! {
        lost = &mut session => assert!(lost.unwrap().to_string().contains("did not answer")),
        () = dribble => {}
    }
    assert_eq!(asked.elapsed(), patience);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_hears_nothing_from_before_its_own_confirmation() {
    const SUBSCRIBE: &str = "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n";
    let (hub, _session, mut server) = connected();
    let mut first = Box::pin(hub.subscribe(Kind::Channel, "c"));
    assert!((&mut first).now_or_never().is_none());
    assert_eq!(arrives(&mut server).await, SUBSCRIBE);
    let mut second = Box::pin(hub.subscribe(Kind::Channel, "c"));
    assert!((&mut second).now_or_never().is_none());
    assert_eq!(arrives(&mut server).await, SUBSCRIBE);
    for text in ["1", "2"] {
        let confirmation = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
        let message = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n{text}\r\n");
        let both = [confirmation.as_bytes(), message.as_bytes()].concat();
        server.write_all(&both).await.unwrap();
    }
    let (mut first, mut second) = (first.await.unwrap(), second.await.unwrap());
    for (subscription, texts) in [(&mut first, ["1", "2"].as_slice()), (&mut second, &["2"])] {
        for text in texts {
            let event = subscription.next().await;
            assert!(
                matches!(&event, Some(RawEvent::Message { message, .. }) if message == text),
                "{event:?} is not {text}"
            );
        }
        assert!(subscription.next().now_or_never().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_unsubscribed_at_once() {
    let (hub, _session, mut server) = connected();
    let subscription = subscribed(&hub, &mut server).await;
    let left = Instant::now();
    drop(subscription);
    let request = arrives(&mut server).await;
    assert_eq!(request, "*2\r\n$11\r\nUNSUBSCRIBE\r\n$1\r\nc\r\n");
    assert_eq!(left.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_asked_for_again_however_often_others_are_refused() {
    let (hub, lost, mut server) = connected();
    let _subscription = subscribed(&hub, &mut server).await;
    drop(server);
    lost.await.unwrap();
    hub.shared.registry().connection_lost();
    let (_session, mut server) = session(&hub.shared);
    let began = Instant::now();
    let others = async {
        loop {
            let refused = hub.subscribe(Kind::Channel, "other").await;
            assert!(refused.is_err());
            sleep(Duration::from_millis(300)).await;
        }
    };
    let asked_again = async {
        let mut asked = 0;
        while asked < 3 {
            let requests = arrives(&mut server).await;
            for request in requests.split('*').skip(1) {
                asked += usize::from(request.ends_with("$1\r\nc\r\n"));
                let answer = match request.contains("HELLO") {
                    true => MASTER,
                    false => b"-NOPERM no\r\n",
                };
                server.write_all(answer).await.unwrap();
            }
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "asked {asked} times"
            );
        }
    };
    tokio::select! {
        () = asked_again => {}
        () = others => {}
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_the_commands_learn_while_a_connection_is_opened_is_heeded() {
    const GREETING: &[u8] = b"%0\r\n+PONG\r\n";
    let name = format!("store-redis-hub-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let options = RedisOptions::new()
        .unix_socket(&path)
        .call_timeout(Duration::from_secs(10));
    let transport = Arc::new(Transport::new(options).unwrap());
    let commands = Lane::new(Arc::clone(&transport), Purpose::Commands);
    let hub = Hub::new(transport);
    let serve = async {
        let (mut first, _) = listener.accept().await.unwrap();
        commands.met_replica();
        first.write_all(GREETING).await.unwrap();
        let mut received = String::new();
        first.read_to_string(&mut received).await.unwrap();
        assert!(!received.contains("SUBSCRIBE"), "{received:?}");
        let (mut second, _) = listener.accept().await.unwrap();
        second.write_all(GREETING).await.unwrap();
        let confirmation = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
        let mut received = [0; 4096];
        let mut text = String::new();
        while !text.contains("SUBSCRIBE") {
            let length = second.read(&mut received).await.unwrap();
            assert_ne!(length, 0, "the connection has ended");
            text += &String::from_utf8_lossy(&received[..length]);
        }
        second.write_all(confirmation).await.unwrap();
        second
    };
    let (subscription, _socket) = tokio::join!(hub.subscribe(Kind::Channel, "c"), serve);
    assert!(subscription.is_ok());
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn an_attempt_to_connect_is_given_up_where_the_commands_have_gone_elsewhere() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = RedisOptions::new()
        .address("127.0.0.1", silent.local_addr().unwrap().port())
        .connect_timeout(Duration::from_secs(3600))
        .call_timeout(Duration::from_secs(3600));
    let transport = Arc::new(Transport::new(options).unwrap());
    let commands = Lane::new(Arc::clone(&transport), Purpose::Commands);
    let hub = Hub::new(transport);
    let soon = Duration::from_secs(10);
    tokio::select! {
        _ = hub.subscribe(Kind::Channel, "c") => panic!("nobody answers"),
        (_socket, _) = async {
            let waits = silent.accept().await.unwrap();
            commands.note(other.local_addr().ok(), &Ok(()));
            timeout(soon, other.accept()).await.unwrap().unwrap();
            waits
        } => {}
    }
}
