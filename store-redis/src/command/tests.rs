use std::time::Duration;

use super::*;

/// The commands of a request, each as its arguments joined by blanks, checked against the
/// bytes on the wire.
fn sent(request: &Request<'_>) -> Vec<String> {
    let text = |command: &Cmd| {
        let arguments: Vec<Vec<u8>> = command
            .args_iter()
            .map(|argument| match argument {
                redis::Arg::Simple(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            })
            .collect();
        let mut packed = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in &arguments {
            packed.extend(format!("${}\r\n", argument.len()).bytes());
            packed.extend(argument);
            packed.extend(b"\r\n");
        }
        assert_eq!(command.get_packed_command(), packed);
        String::from_utf8_lossy(&arguments.join(&b' ')).into_owned()
    };
    match &request.payload {
        Payload::One(command) => vec![text(command)],
        Payload::Many(pipeline) => pipeline.cmd_iter().map(text).collect(),
        Payload::Script(script) => vec![text(&script.by_hash())],
    }
}

fn ttl_of(millis: u64) -> TtlMillis {
    TtlMillis::new(Duration::from_millis(millis)).unwrap()
}

#[test]
fn a_get_is_these_bytes() {
    let Payload::One(command) = get("k").payload else {
        panic!("one command");
    };
    assert_eq!(
        command.get_packed_command(),
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    );
}

#[test]
fn each_operation_is_one_command() {
    for (request, expected) in [
        (get("k"), "GET k"),
        (delete("k"), "DEL k"),
        (has("k"), "EXISTS k"),
        (increment("k", i64::MIN), "INCRBY k -9223372036854775808"),
        (
            expire("k", ttl_of(1 << 62)),
            "PEXPIRE k 4611686018427387904",
        ),
        (persist("k"), "PERSIST k"),
        (ttl("k"), "PTTL k"),
        (get_many(&["b", "a", "b"]), "MGET b a b"),
        (delete_many(&["b", "a"]), "DEL b a"),
        (take("k"), "GETDEL k"),
        (publish("c", b"m"), "PUBLISH c m"),
    ] {
        assert_eq!(sent(&request), [expected]);
    }
}

#[test]
fn a_set_carries_expiry_and_condition() {
    let after = Expiry::After(ttl_of(7));
    for (expiry, condition, expected) in [
        (Expiry::Never, Condition::Always, "SET k v"),
        (after, Condition::Always, "SET k v PX 7"),
        (Expiry::Keep, Condition::Always, "SET k v KEEPTTL"),
        (Expiry::Never, Condition::IfAbsent, "SET k v NX"),
        (after, Condition::IfAbsent, "SET k v PX 7 NX"),
        (Expiry::Keep, Condition::IfPresent, "SET k v KEEPTTL XX"),
    ] {
        assert_eq!(sent(&set("k", b"v", expiry, condition)), [expected]);
    }
    assert_eq!(sent(&replace("k", b"v", after)), ["SET k v PX 7 GET"]);
    assert_eq!(
        sent(&replace("k", b"v", Expiry::Keep)),
        ["SET k v KEEPTTL GET"]
    );
}

#[test]
fn scripts_declare_their_one_key() {
    let hash = scripts::SET_IF_EQUALS.hash();
    let equals = |expiry| sent(&set("k", b"new", expiry, Condition::IfEquals(b"old")));
    assert_eq!(
        equals(Expiry::Never),
        [format!("EVALSHA {hash} 1 k old new")]
    );
    assert_eq!(
        equals(Expiry::After(ttl_of(7))),
        [format!("EVALSHA {hash} 1 k old new PX 7")]
    );
    assert_eq!(
        equals(Expiry::Keep),
        [format!("EVALSHA {hash} 1 k old new KEEPTTL")]
    );
    assert_eq!(
        sent(&increment_with_ttl("k", -3, ttl_of(7))),
        [format!("EVALSHA {} 1 k -3 7", scripts::INCREMENT.hash())]
    );
    assert_eq!(
        sent(&compare_and_delete("k", b"old")),
        [format!(
            "EVALSHA {} 1 k old",
            scripts::COMPARE_AND_DELETE.hash()
        )]
    );
}

#[test]
fn a_batch_with_a_ttl_is_a_pipeline() {
    let entries: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
    assert_eq!(sent(&set_many(&entries, None)), ["MSET a 1 b 2"]);
    assert_eq!(
        sent(&set_many(&entries, Some(ttl_of(7)))),
        ["SET a 1 PX 7", "SET b 2 PX 7"]
    );
}

#[test]
fn a_scan_takes_its_prefix_literally() {
    assert_eq!(
        sent(&scan("a*[^b]?\\", 5, 10)),
        ["SCAN 5 MATCH a\\*\\[\\^b\\]\\?\\\\* COUNT 10"]
    );
    assert_eq!(sent(&scan("", 0, 0)), ["SCAN 0 COUNT 1"]);
}

#[test]
fn only_what_reads_may_be_sent_again() {
    for request in [
        get("k"),
        has("k"),
        ttl("k"),
        get_many(&["k"]),
        scan("", 0, 1),
    ] {
        assert_eq!(request.effect, Effect::None, "{:?}", sent(&request));
    }
    for request in [
        set("k", b"", Expiry::Never, Condition::Always),
        set("k", b"", Expiry::Never, Condition::IfEquals(b"")),
        delete("k"),
        increment("k", 1),
        increment_with_ttl("k", 1, ttl_of(1)),
        expire("k", ttl_of(1)),
        persist("k"),
        set_many(&[("k", b"")], None),
        delete_many(&["k"]),
        take("k"),
        replace("k", b"", Expiry::Never),
        compare_and_delete("k", b""),
        publish("c", b""),
    ] {
        assert_eq!(request.effect, Effect::Write, "{:?}", sent(&request));
    }
}
