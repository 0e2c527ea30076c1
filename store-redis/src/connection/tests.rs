use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet, yield_now};

use super::*;
use crate::crowd::others_first;
use crate::{command, reply};

/// A connection whose wire runs in a task, and the server's end of it.
fn connected(buffer: usize) -> (Arc<Connection>, DuplexStream, JoinHandle<String>) {
    let (client, server) = duplex(buffer);
    let (connection, wire) = Connection::new(Box::new(client), 1);
    (connection, server, tokio::spawn(wire))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(1)
}

/// Sends in a task of its own, so that the caller goes on.
fn sending(connection: &Arc<Connection>, packed: &[u8], answers: usize) -> Sending {
    sending_for(connection, packed, Shape::Any(answers))
}

fn sending_for(connection: &Arc<Connection>, packed: &[u8], shape: Shape) -> Sending {
    let (connection, packed) = (Arc::clone(connection), packed.to_vec());
    tokio::spawn(async move { connection.send(packed, shape, &mut None, soon()).await })
}

type Sending = JoinHandle<Result<Bytes, Silence>>;

/// A connection on which nothing more can be written before the server reads: the first request is
/// longer than it takes.
async fn half_written() -> (Arc<Connection>, DuplexStream, JoinHandle<String>, Sending) {
    let (connection, server, wire) = connected(4);
    let first = sending(&connection, b"first", 1);
    yield_now().await;
    yield_now().await;
    (connection, server, wire, first)
}

/// Checks that the server gets the first request and one that is sent now, and nothing in between.
async fn only_a_third_follows(
    connection: &Arc<Connection>,
    mut server: DuplexStream,
    first: Sending,
) {
    let third = sending(connection, b"third", 1);
    expect(&mut server, b"firstthird").await;
    server.write_all(b":1\r\n:3\r\n").await.unwrap();
    assert_eq!(first.await.unwrap().unwrap(), ":1\r\n");
    assert_eq!(third.await.unwrap().unwrap(), ":3\r\n");
}

async fn expect(server: &mut DuplexStream, wanted: &[u8]) {
    let mut read = vec![0; wanted.len()];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(read, wanted);
}

#[tokio::test(start_paused = true)]
async fn answers_go_to_their_requests_in_order() {
    let (connection, mut server, _wire) = connected(4096);
    let first = sending(&connection, b"one", 1);
    let second = sending(&connection, b"two", 2);
    let third = sending(&connection, b"three", 1);
    expect(&mut server, b"onetwothree").await;
    server
        .write_all(b">2\r\n+x\r\n+y\r\n:1\r\n$2\r\n:2\r\n*1\r\n:3\r\n+OK\r\n")
        .await
        .unwrap();
    assert_eq!(first.await.unwrap().unwrap(), ":1\r\n");
    assert_eq!(second.await.unwrap().unwrap(), "$2\r\n:2\r\n*1\r\n:3\r\n");
    assert_eq!(third.await.unwrap().unwrap(), "+OK\r\n");
}

#[tokio::test(start_paused = true)]
async fn requests_of_tasks_that_were_answered_together_leave_in_one_write() {
    let (connection, mut server, _wire) = connected(4096);
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let connection = Arc::clone(&connection);
        tasks.push(tokio::spawn(async move {
            for request in [b"a", b"b"] {
                let mut permit = None;
                let sent = connection.send(request.to_vec(), Shape::Any(1), &mut permit, soon());
                assert_eq!(sent.await.unwrap(), "+OK\r\n");
            }
        }));
    }
    expect(&mut server, &[b'a'; 8]).await;
    server.write_all(&b"+OK\r\n".repeat(8)).await.unwrap();
    let mut read = [0; 64];
    assert_eq!(server.read(&mut read).await.unwrap(), 8);
    server.write_all(&b"+OK\r\n".repeat(8)).await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_one_after_the_other_leave_in_groups_of_a_quarter() {
    let (connection, mut server, _wire) = connected(4096);
    let server = tokio::spawn(async move {
        expect(&mut server, &[b'a'; 16]).await;
        server.write_all(&b"+OK\r\n".repeat(16)).await.unwrap();
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 16 {
            let size = server.read(&mut [0; 64]).await.unwrap();
            assert_ne!(size, 0, "the connection has ended after {sizes:?}");
            sizes.push(size);
        }
        server.write_all(&b"+OK\r\n".repeat(16)).await.unwrap();
        (server, sizes)
    });
    let mut callers = JoinSet::new();
    for rounds in 0..16 {
        let connection = Arc::clone(&connection);
        callers.spawn(async move {
            let first = connection
                .send(b"a".to_vec(), Shape::Any(1), &mut None, soon())
                .await;
            for _ in 0..rounds {
                others_first().await;
            }
            let second = connection
                .send(b"b".to_vec(), Shape::Any(1), &mut None, soon())
                .await;
            first.and(second).unwrap();
        });
    }
    callers.join_all().await;
    let (_server, sizes) = server.await.unwrap();
    assert!(sizes.iter().take(3).all(|size| *size >= 4), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_caller_who_left_goes_to_nobody_and_frees_the_permit() {
    let (connection, mut server, _wire) = connected(4096);
    let permits = Arc::new(Semaphore::new(1));
    let mut permit = Some(Arc::clone(&permits).try_acquire_owned().unwrap());
    let hurried = Instant::now() + Duration::from_millis(10);
    let late = connection
        .send(b"one".to_vec(), Shape::Any(1), &mut permit, hurried)
        .await;
    assert_eq!(late, Err(Silence::Late { was_sent: true }));
    assert_eq!(permits.available_permits(), 0);
    let second = sending(&connection, b"two", 1);
    expect(&mut server, b"onetwo").await;
    server.write_all(b":1\r\n:2\r\n").await.unwrap();
    assert_eq!(second.await.unwrap().unwrap(), ":2\r\n");
    assert_eq!(permits.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_caller_was_dropped_is_withdrawn() {
    let (connection, server, _wire, first) = half_written().await;
    let permits = Arc::new(Semaphore::new(1));
    let mut permit = Some(Arc::clone(&permits).try_acquire_owned().unwrap());
    {
        let second = connection.send(b"second".to_vec(), Shape::Any(1), &mut permit, soon());
        assert_eq!(second.now_or_never(), None);
    }
    assert_eq!(connection.queue.waiting_bytes(), 0, "nobody needs them");
    assert_eq!(permits.available_permits(), 0, "it still has its place");
    only_a_third_follows(&connection, server, first).await;
    assert_eq!(permits.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_could_not_be_written_in_time_is_withdrawn() {
    let (connection, server, _wire, first) = half_written().await;
    let hurried = Instant::now() + Duration::from_millis(10);
    let second = connection
        .send(b"second".to_vec(), Shape::Any(1), &mut None, hurried)
        .await;
    assert_eq!(second, Err(Silence::Late { was_sent: false }));
    assert_eq!(connection.queue.waiting_bytes(), 0, "nobody needs them");
    only_a_third_follows(&connection, server, first).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_tells_what_was_sent_from_what_was_not() {
    let (connection, mut server, wire, first) = half_written().await;
    let permits = Arc::new(Semaphore::new(1));
    let mut permit = Some(Arc::clone(&permits).try_acquire_owned().unwrap());
    let second = connection.send(b"second".to_vec(), Shape::Any(1), &mut permit, soon());
    let mut second = Box::pin(second);
    assert!((&mut second).now_or_never().is_none());
    expect(&mut server, b"fi").await;
    drop(server);
    assert_eq!(first.await.unwrap(), Err(Silence::Lost(Loss::Unanswered)));
    assert_eq!(second.await, Err(Silence::Lost(Loss::Unsent)));
    assert!(permit.is_some(), "it is needed for the next connection");
    wire.await.unwrap();
    let afterwards = connection
        .send(b"x".to_vec(), Shape::Any(1), &mut permit, soon())
        .await;
    assert_eq!(afterwards, Err(Silence::Lost(Loss::Unsent)));
    assert!(permit.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_before_a_write_failed_is_an_answer() {
    const LEN: usize = 100_000;
    let (connection, mut server, wire) = connected(2 * LEN);
    let first = sending(&connection, b"first", 1);
    let second = sending(&connection, b"second", 1);
    expect(&mut server, b"firstsecond").await;
    // More than one read takes, so that the write comes before the rest is read.
    let answer = [format!("${LEN}\r\n").as_bytes(), &[0; LEN], b"\r\n"].concat();
    server.write_all(&answer).await.unwrap();
    server.write_all(b":2\r\n").await.unwrap();
    let mut permit = None;
    let mut third =
        Box::pin(connection.send(b"third".to_vec(), Shape::Any(1), &mut permit, soon()));
    assert!((&mut third).now_or_never().is_none());
    drop(server);
    assert_eq!(first.await.unwrap().unwrap(), answer);
    assert_eq!(second.await.unwrap().unwrap(), ":2\r\n");
    assert_eq!(third.await, Err(Silence::Lost(Loss::Unsent)));
    assert!(
        !wire.await.unwrap().contains("closed it"),
        "a read found it first"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_socket_keeps_back_is_flushed() {
    let (client, mut server) = duplex(4096);
    let (connection, wire) = Connection::new(Box::new(BufStream::new(client)), 1);
    tokio::spawn(wire);
    let request = sending(&connection, b"one", 1);
    let arrived = timeout_at(soon(), expect(&mut server, b"one")).await;
    arrived.expect("it is sent");
    server.write_all(b":1\r\n").await.unwrap();
    assert_eq!(request.await.unwrap().unwrap(), ":1\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_protocol_ends_the_connection() {
    for nonsense in [
        b"hello\r\n".as_slice(),
        b"$-7\r\n",
        b"*-2\r\n",
        b"$2\r\nabc\r\n",
    ] {
        let (connection, mut server, wire) = connected(4096);
        let request = sending(&connection, b"one", 1);
        expect(&mut server, b"one").await;
        server.write_all(nonsense).await.unwrap();
        let lost = Err(Silence::Lost(Loss::Unanswered));
        assert_eq!(request.await.unwrap(), lost, "{nonsense:?}");
        assert!(wire.await.unwrap().contains("protocol"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_a_sign_of_life_ends_the_connection() {
    for (answer, fits) in [
        ("+PONG\r\n", true),
        ("-NOPERM no\r\n", true),
        (":1\r\n", false),
        ("$4\r\nPONG\r\n", false),
    ] {
        let (connection, mut server, wire) = connected(4096);
        let asked = connection.ask(command::ping(), None, reply::pong, soon());
        let (asked, ()) = tokio::join!(asked, async {
            expect(&mut server, b"*1\r\n$4\r\nPING\r\n").await;
            server.write_all(answer.as_bytes()).await.unwrap();
        });
        assert_eq!(asked.unwrap().is_ok(), answer == "+PONG\r\n", "{answer:?}");
        yield_now().await;
        assert_eq!(wire.is_finished(), !fits, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn behind_an_answer_that_does_not_fit_nobody_gets_one() {
    let (connection, mut server, wire) = connected(4096);
    let before = sending_for(&connection, b"a", Shape::Value);
    let unfit = sending_for(&connection, b"b", Shape::Value);
    let behind = sending_for(&connection, b"c", Shape::Value);
    expect(&mut server, b"abc").await;
    let answers = b"$1\r\na\r\n+GARBAGE\r\n$1\r\nb\r\n";
    server.write_all(answers).await.unwrap();
    // Whoever looks first.
    let lost = Err(Silence::Lost(Loss::Unanswered));
    assert_eq!(behind.await.unwrap(), lost);
    assert_eq!(before.await.unwrap().unwrap(), "$1\r\na\r\n");
    assert_eq!(unfit.await.unwrap().unwrap(), "+GARBAGE\r\n");
    assert!(wire.await.unwrap().contains("did not fit"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_question_ends_the_connection() {
    let (_connection, mut server, wire) = connected(4096);
    server.write_all(b"+OK\r\n").await.unwrap();
    assert!(wire.await.unwrap().contains("without a question"));
}

#[tokio::test(start_paused = true)]
async fn a_large_request_and_a_large_answer_pass_in_pieces() {
    let (connection, mut server, _wire) = connected(1000);
    let value = vec![b'v'; 300_000];
    let request = sending(&connection, &value, 1);
    expect(&mut server, &value).await;
    let answer = [b"$300000\r\n".as_slice(), &value, b"\r\n"].concat();
    server.write_all(&answer).await.unwrap();
    assert_eq!(request.await.unwrap().unwrap(), answer);
}
