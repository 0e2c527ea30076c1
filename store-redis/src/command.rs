//! Which command each operation sends: pure construction, no I/O.

use std::borrow::Cow;

use redis::{Cmd, Pipeline, cmd};
use store_core::{Condition, Expiry, TtlMillis, pattern};

use crate::scripts::{self, Source};

/// What a call sends, and what is known of its effect.
pub(crate) struct Request<'a> {
    pub(crate) payload: Payload<'a>,
    pub(crate) effect: Effect,
}

/// What goes over the wire, in one round trip.
pub(crate) enum Payload<'a> {
    One(Cmd),
    Many(Pipeline),
    Script(Script<'a>),
}

/// What may have happened when a request was sent and no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it only reads, so it may also be sent again.
    None,
    /// It may have been applied, so it is never sent again.
    Write,
}

/// A call of a script on one key.
pub(crate) struct Script<'a> {
    source: &'static Source,
    key: &'a str,
    arguments: Vec<Cow<'a, [u8]>>,
}

impl Script<'_> {
    /// Calls the script by its hash.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", self.source.hash())
    }

    /// Sends the script itself, which makes the server remember it.
    pub(crate) fn by_code(&self) -> Cmd {
        self.command("EVAL", self.source.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(1).arg(self.key);
        for argument in &self.arguments {
            command.arg(&**argument);
        }
        command
    }
}

fn read(command: Cmd) -> Request<'static> {
    Request {
        payload: Payload::One(command),
        effect: Effect::None,
    }
}

fn write(command: Cmd) -> Request<'static> {
    Request {
        payload: Payload::One(command),
        effect: Effect::Write,
    }
}

fn script<'a>(source: &'static Source, key: &'a str, arguments: Vec<Cow<'a, [u8]>>) -> Request<'a> {
    Request {
        payload: Payload::Script(Script {
            source,
            key,
            arguments,
        }),
        effect: Effect::Write,
    }
}

fn on(name: &str, key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(6, name.len() + key.len() + 64);
    command.arg(name).arg(key);
    command
}

fn on_all(name: &str, keys: &[&str]) -> Cmd {
    let mut command = cmd(name);
    for key in keys {
        command.arg(*key);
    }
    command
}

fn set_command(key: &str, value: &[u8], expiry: Expiry) -> Cmd {
    let mut command = Cmd::with_capacity(6, key.len() + value.len() + 64);
    command.arg("SET").arg(key).arg(value);
    match expiry {
        Expiry::After(ttl) => {
            command.arg("PX").arg(ttl.as_millis());
        }
        Expiry::Keep => {
            command.arg("KEEPTTL");
        }
        _ => {}
    }
    command
}

pub(crate) fn get(key: &str) -> Request<'_> {
    read(on("GET", key))
}

pub(crate) fn set<'a>(
    key: &'a str,
    value: &'a [u8],
    expiry: Expiry,
    condition: Condition<'a>,
) -> Request<'a> {
    if let Condition::IfEquals(expected) = condition {
        return set_if_equals(key, value, expiry, expected);
    }
    let mut command = set_command(key, value, expiry);
    match condition {
        Condition::IfAbsent => {
            command.arg("NX");
        }
        Condition::IfPresent => {
            command.arg("XX");
        }
        _ => {}
    }
    write(command)
}

fn set_if_equals<'a>(
    key: &'a str,
    value: &'a [u8],
    expiry: Expiry,
    expected: &'a [u8],
) -> Request<'a> {
    let mut arguments = vec![Cow::Borrowed(expected), Cow::Borrowed(value)];
    match expiry {
        Expiry::After(ttl) => {
            arguments.push(Cow::Borrowed(b"PX"));
            arguments.push(decimal(ttl.as_millis()));
        }
        Expiry::Keep => arguments.push(Cow::Borrowed(b"KEEPTTL")),
        _ => {}
    }
    script(&scripts::SET_IF_EQUALS, key, arguments)
}

pub(crate) fn delete(key: &str) -> Request<'_> {
    write(on("DEL", key))
}

pub(crate) fn has(key: &str) -> Request<'_> {
    read(on("EXISTS", key))
}

/// `INCRBY`, for negative numbers too: `DECRBY` has no `i64::MIN`.
pub(crate) fn increment(key: &str, delta: i64) -> Request<'_> {
    let mut command = on("INCRBY", key);
    command.arg(delta);
    write(command)
}

pub(crate) fn increment_with_ttl(key: &str, delta: i64, ttl: TtlMillis) -> Request<'_> {
    script(
        &scripts::INCREMENT,
        key,
        vec![decimal(delta), decimal(ttl.as_millis())],
    )
}

pub(crate) fn expire(key: &str, ttl: TtlMillis) -> Request<'_> {
    let mut command = on("PEXPIRE", key);
    command.arg(ttl.as_millis());
    write(command)
}

pub(crate) fn persist(key: &str) -> Request<'_> {
    write(on("PERSIST", key))
}

pub(crate) fn ttl(key: &str) -> Request<'_> {
    read(on("PTTL", key))
}

pub(crate) fn get_many(keys: &[&str]) -> Request<'static> {
    read(on_all("MGET", keys))
}

/// `MSET`, or a pipeline of `SET … PX` since `MSET` has no ttl.
pub(crate) fn set_many(entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Request<'static> {
    let Some(ttl) = ttl else {
        let mut command = cmd("MSET");
        for (key, value) in entries {
            command.arg(*key).arg(*value);
        }
        return write(command);
    };
    let mut pipeline = Pipeline::with_capacity(entries.len());
    for (key, value) in entries {
        pipeline.add_command(set_command(key, value, Expiry::After(ttl)));
    }
    Request {
        payload: Payload::Many(pipeline),
        effect: Effect::Write,
    }
}

pub(crate) fn delete_many(keys: &[&str]) -> Request<'static> {
    write(on_all("DEL", keys))
}

pub(crate) fn take(key: &str) -> Request<'_> {
    write(on("GETDEL", key))
}

pub(crate) fn replace(key: &str, value: &[u8], expiry: Expiry) -> Request<'static> {
    let mut command = set_command(key, value, expiry);
    command.arg("GET");
    write(command)
}

pub(crate) fn compare_and_delete<'a>(key: &'a str, expected: &'a [u8]) -> Request<'a> {
    script(
        &scripts::COMPARE_AND_DELETE,
        key,
        vec![Cow::Borrowed(expected)],
    )
}

pub(crate) fn publish(channel: &str, message: &[u8]) -> Request<'static> {
    let mut command = on("PUBLISH", channel);
    command.arg(message);
    write(command)
}

/// One step of a scan. The server matches the prefix literally; an empty one needs no match.
pub(crate) fn scan(prefix: &str, cursor: u64, page_size: usize) -> Request<'static> {
    let mut command = cmd("SCAN");
    command.arg(cursor);
    if !prefix.is_empty() {
        command.arg("MATCH").arg(pattern::escape(prefix) + "*");
    }
    // `COUNT 0` is an error to the server.
    command.arg("COUNT").arg(page_size.max(1));
    read(command)
}

pub(crate) fn ping() -> Request<'static> {
    read(cmd("PING"))
}

fn decimal(number: impl ToString) -> Cow<'static, [u8]> {
    Cow::Owned(number.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
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
            (ping(), "PING"),
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
            ping(),
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
}
