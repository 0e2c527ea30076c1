//! Checks the test servers with a real `redis-server`.

use std::process::{Command, Stdio};
use std::{env, fs, io::BufRead, io::BufReader};

use store_conformance::server::{RedisOptions, RedisServer, command_at, or_skip, shared_url};

fn process_lives(pid: u32) -> bool {
    // A zombie has a directory too, but no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_server_answers_and_is_gone_after_the_drop() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    assert_eq!(server.command(&["PING"]).unwrap(), "PONG");
    assert_eq!(server.command(&["SET", "a", "1"]).unwrap(), "OK");
    assert_eq!(server.command(&["GET", "b"]).unwrap(), "(nil)");
    assert!(
        server
            .command(&["HGET", "a", "f"])
            .unwrap_err()
            .to_string()
            .contains("WRONGTYPE")
    );
    let (url, pid) = (server.url(), server.pid().unwrap());
    let directory = server.directory().to_owned();
    assert!(directory.is_dir());
    drop(server);
    assert!(!process_lives(pid));
    assert!(command_at(&url, &["PING"]).is_err());
    assert!(!directory.exists());
}

#[test]
fn a_killed_server_comes_back_on_its_port_with_its_data() {
    let options = RedisOptions::new().arguments(["--appendonly", "yes", "--appendfsync", "always"]);
    let Some(server) = or_skip(options.spawn()) else {
        return;
    };
    server.command(&["SET", "a", "1"]).unwrap();
    let (port, pid) = (server.port(), server.pid().unwrap());
    server.kill9();
    assert!(!process_lives(pid));
    assert!(server.command(&["PING"]).is_err());
    assert_eq!(server.pid(), None);
    assert!(server.stop().is_err());
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(server.command(&["GET", "a"]).unwrap(), "1");
    let directory = server.directory().to_owned();
    server.kill9();
    drop(server);
    assert!(!directory.exists());
}

#[test]
fn a_frozen_server_is_killed_all_the_same() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let pid = server.pid().unwrap();
    server.stop().unwrap();
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(state().contains(") T "), "{}", state());
    server.cont().unwrap();
    assert_eq!(server.command(&["PING"]).unwrap(), "PONG");
    server.stop().unwrap();
    drop(server);
    assert!(!process_lives(pid));
}

#[test]
fn password_config_and_socket_are_set_up() {
    let options = RedisOptions::new()
        .config("maxmemory 77mb\nunixsocket {dir}/redis.sock\n")
        .password("secret");
    let Some(server) = or_skip(options.spawn()) else {
        return;
    };
    assert!(
        server
            .command(&["CONFIG", "GET", "maxmemory"])
            .unwrap()
            .ends_with("80740352")
    );
    assert!(server.directory().join("redis.sock").exists());
    let open = format!("redis://{}", server.address());
    assert!(
        command_at(&open, &["PING"])
            .unwrap_err()
            .to_string()
            .contains("NOAUTH")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_listens_where_it_is_told_beside_another_one() {
    let Some(first) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let options = RedisOptions::new().address("127.0.0.2", first.port());
    let second = options.spawn().unwrap();
    assert_eq!(second.address(), format!("127.0.0.2:{}", first.port()));
    second.command(&["SET", "k", "v"]).unwrap();
    assert_eq!(first.command(&["GET", "k"]).unwrap(), "(nil)");
    let taken = RedisOptions::new().address("127.0.0.1", first.port());
    let error = taken.spawn().map(drop).unwrap_err();
    assert!(error.to_string().contains("taken"), "{error}");
}

#[test]
fn a_sentinel_starts_too() {
    let options = RedisOptions::new()
        .config("sentinel resolve-hostnames no\n")
        .arguments(["--sentinel"]);
    let Some(sentinel) = or_skip(options.spawn()) else {
        return;
    };
    assert!(
        sentinel
            .command(&["INFO", "server"])
            .unwrap()
            .contains("_mode:sentinel")
    );
}

#[test]
fn a_server_that_ends_at_once_fails_with_its_log() {
    let options = RedisOptions::new().arguments(["--no-such-option", "1"]);
    let error = options.spawn().unwrap_err();
    if !error.is_missing() {
        assert!(error.to_string().contains("no-such-option"), "{error}");
    }
}

#[test]
fn a_missing_server_says_what_to_do() {
    let error = RedisOptions::new()
        .program("no-such-redis-server")
        .spawn()
        .unwrap_err();
    assert!(error.is_missing());
    let text = error.to_string();
    assert!(text.contains("apt-get install redis-server"), "{text}");
    assert!(text.contains("STORE_REDIS_URL=redis://"), "{text}");
}

#[test]
fn twenty_servers_at_once_get_ports_of_their_own() {
    let servers: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(|| (0..5).map(|_| RedisServer::spawn()).collect::<Vec<_>>()))
        .collect();
    let servers: Vec<_> = servers
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    let Some(servers) = servers.into_iter().map(or_skip).collect::<Option<Vec<_>>>() else {
        return;
    };
    for (index, server) in servers.iter().enumerate() {
        server.command(&["SET", "n", &index.to_string()]).unwrap();
    }
    for (index, server) in servers.iter().enumerate() {
        assert_eq!(server.command(&["GET", "n"]).unwrap(), index.to_string());
    }
}

/// Runs in a process of its own, below: prints what it started and waits to be killed.
#[test]
#[ignore = "a part of the next test"]
fn part_start_the_shared_server_and_wait() {
    let Some(url) = or_skip(shared_url()) else {
        return;
    };
    assert_eq!(shared_url().unwrap(), url);
    println!("shared {url}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn the_shared_server_dies_with_a_killed_test_process() {
    if or_skip(RedisServer::spawn()).is_none() {
        return;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "part_start_the_shared_server_and_wait",
        ])
        .env_remove("STORE_REDIS_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.contains("shared "))
        .unwrap();
    let url = line.rsplit(' ').next().unwrap().to_owned();
    assert_eq!(command_at(&url, &["PING"]).unwrap(), "PONG");
    child.kill().unwrap();
    child.wait().unwrap();
    let began = std::time::Instant::now();
    while command_at(&url, &["PING"]).is_ok() {
        assert!(
            began.elapsed().as_secs() < 20,
            "the server outlived its test"
        );
        std::thread::yield_now();
    }
}
