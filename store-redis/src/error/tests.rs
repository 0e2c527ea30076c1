use std::io;

use super::*;
use crate::options::RedisOptions;

#[test]
fn the_code_of_a_reply_decides_its_kind() {
    for (code, detail, kind) in [
        ("WRONGTYPE", "Operation against a key", ErrorKind::WrongType),
        (
            "ERR",
            "value is not an integer or out of range",
            ErrorKind::WrongType,
        ),
        (
            "ERR",
            "increment or decrement would overflow",
            ErrorKind::Overflow,
        ),
        (
            "ERR",
            "invalid expire time in 'set' command",
            ErrorKind::InvalidInput,
        ),
        (
            "ERR",
            "max number of clients reached",
            ErrorKind::Unavailable,
        ),
        (
            "ERR",
            "The user executing the script can't run this command or subcommand script: 1",
            ErrorKind::PermissionDenied,
        ),
        (
            "ERR",
            "ACL failure in script: User u has no permissions to run the 'get' command",
            ErrorKind::PermissionDenied,
        ),
        (
            "ERR",
            "Protocol error: invalid bulk length",
            ErrorKind::TooLarge,
        ),
        (
            "ERR",
            "Protocol error: expected '$', got 'x'",
            ErrorKind::Indeterminate,
        ),
        ("ERR", "something new", ErrorKind::Backend),
        ("NOAUTH", "", ErrorKind::PermissionDenied),
        ("WRONGPASS", "", ErrorKind::PermissionDenied),
        ("NOPERM", "", ErrorKind::PermissionDenied),
        ("OOM", "", ErrorKind::Unavailable),
        ("BUSY", "", ErrorKind::Unavailable),
        ("LOADING", "", ErrorKind::Unavailable),
        ("READONLY", "", ErrorKind::Unavailable),
        ("MASTERDOWN", "", ErrorKind::Unavailable),
        ("CLUSTERDOWN", "", ErrorKind::Unavailable),
        ("TRYAGAIN", "", ErrorKind::Unavailable),
        ("NOREPLICAS", "", ErrorKind::Unavailable),
        ("MISCONF", "", ErrorKind::Unavailable),
        ("MOVED", "1 host:1", ErrorKind::Backend),
    ] {
        assert_eq!(reply(code, detail).kind, kind, "{code} {detail}");
    }
}

#[test]
fn no_argument_of_a_command_is_repeated() {
    let detail = "unknown command 'GETDEL', with args beginning with: 'secret-key'";
    let failure = reply("ERR", detail);
    assert_eq!(failure.kind, ErrorKind::Unsupported);
    assert!(!failure.to_string().contains("secret-key"));
    let detail = "unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `hunter2`";
    let failure = handshake_refused(&RedisOptions::new(), None, "ERR", detail);
    let text = failure.to_string();
    assert!(
        text.contains("protocol=resp2") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn a_password_that_the_server_repeats_is_not_shown() {
    let refused = |password, code, detail| {
        let failure = handshake_refused(&RedisOptions::new(), Some(password), code, detail);
        failure.to_string()
    };
    for (code, detail) in [
        ("ERR", "unsupported request 'HELLO 3 AUTH app hunter2'"),
        ("hunter2", "is no password"),
    ] {
        let text = refused("hunter2", code, detail);
        assert!(
            text.contains("repeats the password") && !text.contains("hunter2"),
            "{text}"
        );
    }
    // What is known has words of its own.
    assert!(refused("user", "WRONGPASS", "user").contains("check user and password"));
    assert!(refused("", "ERR", "something new").contains("something new"));
}

#[test]
fn what_was_sent_and_not_answered_is_indeterminate_unless_it_reads() {
    let second = Duration::from_secs(1);
    for (effect, kind) in [
        (Effect::None, ErrorKind::Unavailable),
        (Effect::Write, ErrorKind::Indeterminate),
    ] {
        assert_eq!(lost(effect).kind(), kind);
        assert_eq!(timed_out(effect, second).kind(), kind);
        assert_eq!(malformed(effect).kind(), kind);
    }
}

#[test]
fn a_partly_written_batch_is_not_called_unavailable() {
    let full = || reply("OOM", "").into_error();
    assert_eq!(batch(full(), 0, 3).kind(), ErrorKind::Unavailable);
    let partly = batch(full(), 1, 3);
    assert_eq!(partly.kind(), ErrorKind::Indeterminate);
    assert!(partly.to_string().contains("1 of 3"), "{partly}");
    let denied = reply("NOPERM", "").into_error();
    let partly = batch(denied, 2, 3);
    assert_eq!(partly.kind(), ErrorKind::PermissionDenied);
    assert!(partly.to_string().contains("2 of 3"), "{partly}");
}

#[test]
fn a_refused_connection_says_where_and_what_to_do() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let text = connect(&RedisOptions::new(), &refused).to_string();
    assert!(text.contains("127.0.0.1:6379"), "{text}");
    assert!(text.contains("redis-server --port 6379"), "{text}");
}

#[test]
fn only_a_refusal_of_everything_that_passes_has_a_remedy() {
    let one = Payload::One(redis::cmd("SET"));
    let many = Payload::Many(redis::Pipeline::new());
    for (payload, wire, expected) in [
        (&one, "-LOADING wait\r\n", Some(Remedy::Wait)),
        (&one, "-BUSY wait\r\n", Some(Remedy::Wait)),
        (&one, "-MASTERDOWN no\r\n", Some(Remedy::Wait)),
        (&one, "-READONLY no\r\n", Some(Remedy::Reconnect)),
        (&one, "-OOM full\r\n", None),
        (&one, "-ERR no\r\n", None),
        (&one, "*1\r\n-LOADING wait\r\n", None),
        (
            &many,
            "*2\r\n-LOADING a\r\n-LOADING b\r\n",
            Some(Remedy::Wait),
        ),
        (&many, "*2\r\n+OK\r\n-LOADING b\r\n", None),
        (&many, "*2\r\n-LOADING a\r\n+OK\r\n", None),
        (&many, "*0\r\n", None),
    ] {
        let (answer, _) = resp::parse(wire.as_bytes()).unwrap().unwrap();
        assert_eq!(remedy(&answer, payload), expected, "{wire:?}");
    }
}

#[test]
fn only_what_somebody_has_to_change_is_a_refusal_to_connect() {
    let options = RedisOptions::new();
    for (code, is_refusal) in [
        ("WRONGPASS", true),
        ("NOAUTH", true),
        ("DENIED", true),
        ("NOPROTO", true),
        ("LOADING", false),
        ("BUSY", false),
        ("MASTERDOWN", false),
    ] {
        let failure = handshake_refused(&options, None, code, "");
        assert_eq!(failure.is_refusal, is_refusal, "{code}");
    }
}

#[test]
fn what_a_server_says_is_shown_without_controls_and_up_to_a_length() {
    let text = reply("ERR", "\u{1b}[31mr\u{e9}d\0").to_string();
    assert!(text.ends_with("ERR \\u{1b}[31mr\u{e9}d\\u{0}"), "{text}");
    let text = reply("ERR", &"\u{e9}".repeat(60_000)).to_string();
    assert!(text.ends_with("\u{e9}..."), "{text}");
    assert!(text.chars().count() < 600, "{text}");
}
