//! Checks the fault proxy in front of a server that echoes, and in front of a real Redis.

#![expect(clippy::unwrap_used, reason = "a test stops at the first failure")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use store_conformance::faults::{Proxy, ReplyFault};
use store_conformance::server::{RedisServer, or_skip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Echoes every connection; ends each after its client has.
async fn echo_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn proxied_echo() -> Proxy {
    Proxy::start(echo_server().await).await.unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends and awaits the echo, so that the connection is known to be up.
async fn echo(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
    stream.write_all(text).await.unwrap();
    let mut reply = vec![0; text.len()];
    stream.read_exact(&mut reply).await.unwrap();
    reply
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(30), stream.read_u8())
        .await
        .is_err()
}

#[tokio::test]
async fn bytes_pass_and_connections_are_counted() {
    let proxy = proxied_echo().await;
    let (mut one, mut two) = (connect(&proxy).await, connect(&proxy).await);
    assert_eq!(echo(&mut one, b"hello").await, b"hello");
    assert_eq!(echo(&mut two, &[0, 255, 13, 10]).await, [0, 255, 13, 10]);
    assert_eq!((proxy.accepted(), proxy.open()), (2, 2));
    let large = vec![7; 3_000_000];
    let (mut from, mut to) = two.into_split();
    let sent = large.clone();
    tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    from.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), large.len());
    drop(one);
    timeout(Duration::from_secs(10), async {
        while proxy.open() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn severed_connections_end_and_new_ones_pass() {
    let proxy = proxied_echo().await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"a").await;
    proxy.sever().await;
    assert_eq!(proxy.open(), 0);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    echo(&mut connect(&proxy).await, b"b").await;
}

#[tokio::test]
async fn a_reset_is_an_error_and_not_an_end() {
    let proxy = proxied_echo().await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"a").await;
    proxy.reset().await;
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_stall_holds_everything_until_the_resume() {
    let proxy = proxied_echo().await;
    let mut old = connect(&proxy).await;
    echo(&mut old, b"a").await;
    proxy.stall();
    let mut new = connect(&proxy).await;
    old.write_all(b"b").await.unwrap();
    new.write_all(b"c").await.unwrap();
    assert!(is_silent(&mut old).await && is_silent(&mut new).await);
    proxy.resume();
    assert_eq!(old.read_u8().await.unwrap(), b'b');
    assert_eq!(new.read_u8().await.unwrap(), b'c');
}

#[tokio::test]
async fn a_black_hole_holds_the_old_connections_alone() {
    let proxy = proxied_echo().await;
    let mut old = connect(&proxy).await;
    echo(&mut old, b"a").await;
    proxy.stall_existing();
    old.write_all(b"b").await.unwrap();
    echo(&mut connect(&proxy).await, b"c").await;
    assert!(is_silent(&mut old).await);
    proxy.sever().await;
    assert_eq!(
        old.read(&mut [0]).await.unwrap(),
        0,
        "a stalled connection can be severed"
    );
}

#[tokio::test]
async fn a_half_closed_connection_takes_requests_and_answers_none() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap().to_string())
        .await
        .unwrap();
    let mut client = connect(&proxy).await;
    let (mut served, _) = server.accept().await.unwrap();
    client.write_all(b"a").await.unwrap();
    assert_eq!(served.read_u8().await.unwrap(), b'a');
    proxy.half_close();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    served.write_all(b"lost").await.unwrap();
    client.write_all(b"b").await.unwrap();
    assert_eq!(served.read_u8().await.unwrap(), b'b');
}

#[tokio::test]
async fn fragments_arrive_one_by_one() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap().to_string())
        .await
        .unwrap();
    proxy.fragment(2, Duration::from_millis(5));
    let mut client = connect(&proxy).await;
    let (mut served, _) = server.accept().await.unwrap();
    served.write_all(b"abcde").await.unwrap();
    let mut buffer = [0; 16];
    let first = client.read(&mut buffer).await.unwrap();
    assert!(first < 5, "all came at once");
    let mut rest = vec![0; 5 - first];
    client.read_exact(&mut rest).await.unwrap();
    assert_eq!([&buffer[..first], &rest].concat(), b"abcde");
    proxy.whole();
    served.write_all(b"whole").await.unwrap();
    client.read_exact(&mut buffer[..5]).await.unwrap();
    assert_eq!(&buffer[..5], b"whole");
}

#[tokio::test]
async fn a_refusing_proxy_keeps_its_connections() {
    let proxy = proxied_echo().await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"a").await;
    proxy.refuse().await;
    let error = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    echo(&mut stream, b"b").await;
    proxy.accept().await;
    echo(&mut connect(&proxy).await, b"c").await;
}

#[tokio::test]
async fn a_dropped_proxy_takes_its_connections_with_it() {
    let proxy = proxied_echo().await;
    let mut stream = connect(&proxy).await;
    echo(&mut stream, b"a").await;
    let address = proxy.address();
    drop(proxy);
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn new_connections_go_to_the_new_target() {
    let proxy = Proxy::start("127.0.0.1:1").await.unwrap();
    let mut lost = connect(&proxy).await;
    assert!(
        matches!(lost.read(&mut [0]).await, Ok(0) | Err(_)),
        "nobody listens there"
    );
    proxy.retarget(echo_server().await);
    echo(&mut connect(&proxy).await, b"a").await;
}

#[tokio::test]
async fn a_reply_is_truncated_or_replaced_on_request() {
    let proxy = proxied_echo().await;
    let mut stream = connect(&proxy).await;
    proxy.fault_replies_to("get", ReplyFault::Replace(b"nonsense".to_vec()), 1);
    echo(&mut stream, b"ping").await;
    stream.write_all(b"get a").await.unwrap();
    let mut reply = [0; 8];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"nonsense");
    echo(&mut stream, b"get b").await;
    assert_eq!(proxy.faulty_replies(), 1);

    proxy.fault_replies_to("get", ReplyFault::Truncate(3), 1);
    stream.write_all(b"get abc").await.unwrap();
    let mut left = Vec::new();
    stream.read_to_end(&mut left).await.unwrap();
    assert_eq!(left, b"get");
}

#[tokio::test]
async fn from_a_reply_on_a_connection_dribbles_on_request() {
    let pause = Duration::from_millis(20);
    let proxy = proxied_echo().await;
    let mut stream = connect(&proxy).await;
    proxy.fault_replies_to("get", ReplyFault::Dribble(pause), 1);
    for request in [b"get a", b"other"] {
        let began = Instant::now();
        echo(&mut stream, request).await;
        assert!(began.elapsed() >= 4 * pause, "{:?}", began.elapsed());
    }
    assert_eq!(proxy.faulty_replies(), 1);
}

#[tokio::test]
async fn a_cut_reply_belongs_to_a_request_that_was_done() {
    const TIMES: u64 = 200;
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let proxy = Proxy::start(server.address()).await.unwrap();
    proxy.fault_replies_to("INCR", ReplyFault::Cut, TIMES);
    for _ in 0..TIMES {
        let mut stream = connect(&proxy).await;
        stream.write_all(b"PING\r\n").await.unwrap();
        let mut pong = [0; 7];
        stream.read_exact(&mut pong).await.unwrap();
        stream.write_all(b"INCR views\r\n").await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        // No wait: what the client sees as cut is done by then.
    }
    assert_eq!(
        server.command(&["GET", "views"]).unwrap(),
        TIMES.to_string()
    );
    assert_eq!(proxy.faulty_replies(), TIMES);
    let mut stream = connect(&proxy).await;
    stream.write_all(b"INCR views\r\n").await.unwrap();
    let mut reply = [0; 6];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b":201\r\n");
}
