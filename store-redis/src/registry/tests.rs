use std::task::{Context, Poll, Waker};

use store_core::RawEvent;

use super::*;
use crate::error;

fn registry() -> Registry {
    let mut registry = Registry::new(Limits {
        messages: 8,
        bytes: 1024,
    });
    registry.connected();
    registry
}

fn join(registry: &mut Registry) -> Joined {
    registry.join(Kind::Channel, "c", None).unwrap()
}

/// Answers every command that waits, as a server does that confirms everything.
fn confirm_all(registry: &mut Registry) -> Vec<&'static str> {
    let mut sent = Vec::new();
    while let Some(command) = registry.next_command() {
        match command {
            Command::Join {
                kind, name, before, ..
            } => {
                registry.confirmed(kind, &name, before);
                sent.push("join");
            }
            Command::Leave { kind, name } => {
                registry.forgotten(kind, name);
                sent.push("leave");
            }
        }
    }
    sent
}

fn refuse_all(registry: &mut Registry) {
    while let Some(command) = registry.next_command() {
        if let Command::Join {
            kind, name, before, ..
        } = command
        {
            registry.refused(kind, &name, before, &error::reply("NOPERM", ""));
        }
    }
}

/// Answers as a server does that has no time now. Answers how many commands there were.
fn put_off_all(registry: &mut Registry) -> usize {
    let mut count = 0;
    while let Some(Command::Join { kind, name, .. } | Command::Leave { kind, name }) =
        registry.next_command()
    {
        registry.put_off(kind, name);
        count += 1;
    }
    count
}

fn publish(registry: &Registry, message: &str) {
    registry.deliver(Kind::Channel, b"c", b"c", message.as_bytes());
}

fn read(joined: &Joined) -> Vec<String> {
    let mut context = Context::from_waker(Waker::noop());
    let mut seen = Vec::new();
    while let Poll::Ready(Some(event)) = joined.ring.poll_next(&mut context) {
        seen.push(match event {
            RawEvent::Message { channel, message } => {
                format!("{channel} {}", String::from_utf8_lossy(&message))
            }
            RawEvent::Gap(gap) => format!("{:?} {:?}", gap.reason, gap.missed),
        });
    }
    seen
}

#[test]
fn a_member_hears_nothing_before_its_own_confirmation() {
    let mut registry = registry();
    let first = join(&mut registry);
    publish(&registry, "0");
    assert_eq!(confirm_all(&mut registry), ["join"]);
    publish(&registry, "1");
    let mut second = join(&mut registry);
    publish(&registry, "2");
    assert!(second.confirmed.try_recv().is_err());
    assert_eq!(confirm_all(&mut registry), ["join"]);
    assert!(second.confirmed.try_recv().unwrap().is_ok());
    publish(&registry, "3");
    assert_eq!(read(&first), ["c 1", "c 2", "c 3"]);
    assert_eq!(read(&second), ["c 3"]);
}

#[test]
fn the_last_one_to_leave_unsubscribes() {
    let mut registry = registry();
    let first = join(&mut registry);
    let second = join(&mut registry);
    confirm_all(&mut registry);
    registry.leave(Kind::Channel, "c", first.number);
    assert!(registry.next_command().is_none());
    registry.leave(Kind::Channel, "c", second.number);
    assert_eq!(confirm_all(&mut registry), ["leave"]);
    assert!(!registry.is_wanted());
}

#[test]
fn leaving_while_another_joins_keeps_the_servers_subscription() {
    let mut registry = registry();
    let first = join(&mut registry);
    confirm_all(&mut registry);
    let second = join(&mut registry);
    registry.leave(Kind::Channel, "c", first.number);
    assert_eq!(confirm_all(&mut registry), ["join"]);
    publish(&registry, "1");
    assert_eq!(read(&second), ["c 1"]);
}

#[test]
fn a_new_member_after_the_last_one_left_joins_behind_the_leaving() {
    let mut registry = registry();
    let first = join(&mut registry);
    confirm_all(&mut registry);
    registry.leave(Kind::Channel, "c", first.number);
    let second = join(&mut registry);
    assert_eq!(confirm_all(&mut registry), ["leave", "join"]);
    publish(&registry, "1");
    assert_eq!(read(&second), ["c 1"]);
}

#[test]
fn a_new_connection_is_a_gap_before_the_first_message() {
    let mut registry = registry();
    let first = join(&mut registry);
    confirm_all(&mut registry);
    publish(&registry, "1");
    registry.connection_lost();
    let mut joining = join(&mut registry);
    registry.connected();
    assert_eq!(confirm_all(&mut registry), ["join"], "one for both members");
    publish(&registry, "2");
    assert_eq!(read(&first), ["c 1", "Reconnected None", "c 2"]);
    assert!(joining.confirmed.try_recv().unwrap().is_ok());
    assert_eq!(read(&joining), ["c 2"], "it never had a connection to lose");
}

#[test]
fn a_refused_member_gets_the_error() {
    let mut registry = registry();
    let mut joined = join(&mut registry);
    refuse_all(&mut registry);
    assert!(joined.confirmed.try_recv().unwrap().is_err());
    assert!(!registry.is_wanted());
}

#[test]
fn a_refusal_is_for_those_who_had_asked_by_then() {
    let mut registry = registry();
    let mut first = join(&mut registry);
    let Some(Command::Join {
        kind, name, before, ..
    }) = registry.next_command()
    else {
        panic!("the first one is asked for");
    };
    let mut second = join(&mut registry);
    registry.refused(kind, &name, before, &error::reply("NOPERM", ""));
    assert!(matches!(first.confirmed.try_recv(), Ok(Err(_))));
    assert_eq!(confirm_all(&mut registry), ["join"]);
    assert!(matches!(second.confirmed.try_recv(), Ok(Ok(()))));
}

#[test]
fn a_member_refused_after_a_reconnect_hears_of_it_and_is_tried_again() {
    let mut registry = registry();
    let member = join(&mut registry);
    confirm_all(&mut registry);
    registry.connection_lost();
    registry.connected();
    refuse_all(&mut registry);
    assert_eq!(read(&member), ["Refused None"]);
    assert!(registry.has_refused());
    registry.ask_for_refused();
    refuse_all(&mut registry);
    assert_eq!(read(&member), [""; 0], "told once");
    registry.connection_lost();
    registry.connected();
    refuse_all(&mut registry);
    assert_eq!(read(&member), [""; 0], "nor again on another connection");
    registry.ask_for_refused();
    confirm_all(&mut registry);
    publish(&registry, "1");
    assert_eq!(read(&member), ["Reconnected None", "c 1"]);
    assert!(!registry.has_refused());
}

#[test]
fn a_pattern_names_the_concrete_channel() {
    let mut registry = registry();
    let member = registry.join(Kind::Pattern, "n*", None).unwrap();
    confirm_all(&mut registry);
    registry.deliver(Kind::Pattern, b"n*", b"news", b"1");
    registry.deliver(Kind::Pattern, b"n*", b"n\xff", b"2");
    registry.deliver(Kind::Pattern, b"n*", b"next", b"3");
    assert_eq!(
        read(&member),
        ["news 1", "UnnamableChannel Some(1)", "next 3"]
    );
}

#[test]
fn closing_ends_what_is_there_and_refuses_what_comes() {
    let mut registry = registry();
    let mut member = join(&mut registry);
    registry.close();
    assert!(member.confirmed.try_recv().is_err());
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(member.ring.poll_next(&mut context), Poll::Ready(None));
    assert!(registry.join(Kind::Channel, "c", None).is_none());
    registry.leave(Kind::Channel, "c", member.number);
    assert!(registry.next_command().is_none());
}

#[test]
fn nothing_gathers_while_there_is_no_connection() {
    let mut registry = registry();
    let member = join(&mut registry);
    confirm_all(&mut registry);
    registry.connection_lost();
    for _ in 0..3 {
        let other = registry.join(Kind::Channel, "other", None).unwrap();
        registry.leave(Kind::Channel, "other", other.number);
    }
    assert!(registry.next_command().is_none());
    registry.connected();
    assert_eq!(confirm_all(&mut registry), ["join"]);
    assert_eq!(read(&member), ["Reconnected None"]);
}

#[test]
fn what_was_put_off_is_asked_for_again_unless_it_was_given_up() {
    let mut registry = registry();
    let mut patient = join(&mut registry);
    let gone = registry.join(Kind::Channel, "gone", None).unwrap();
    assert_eq!(put_off_all(&mut registry), 2);
    registry.leave(Kind::Channel, "gone", gone.number);
    assert_eq!(put_off_all(&mut registry), 1);
    registry.ask_for_put_off();
    assert_eq!(confirm_all(&mut registry), ["join"]);
    assert!(patient.confirmed.try_recv().unwrap().is_ok());
    registry.ask_for_put_off();
    assert!(registry.next_command().is_none());
}

#[test]
fn what_is_not_answered_yet_is_not_asked_for_again() {
    let mut registry = registry();
    let _members = ["a", "b"].map(|name| registry.join(Kind::Channel, name, None));
    let Some(Command::Join { kind, name, .. }) = registry.next_command() else {
        panic!("the first one is asked for");
    };
    registry.put_off(kind, name);
    let unanswered = registry.next_command();
    registry.ask_for_put_off();
    assert_eq!(put_off_all(&mut registry), 1);
    assert!(unanswered.is_some());
}

#[test]
fn who_left_while_the_server_was_busy_leaves_again_unless_somebody_has_joined() {
    let mut registry = registry();
    for somebody_joins in [false, true] {
        let member = join(&mut registry);
        assert_eq!(confirm_all(&mut registry), ["join"]);
        registry.leave(Kind::Channel, "c", member.number);
        assert_eq!(put_off_all(&mut registry), 1);
        let next = somebody_joins.then(|| join(&mut registry));
        confirm_all(&mut registry);
        registry.ask_for_put_off();
        let expected: &[&str] = if somebody_joins { &[] } else { &["leave"] };
        assert_eq!(confirm_all(&mut registry), expected);
        publish(&registry, "1");
        assert!(next.is_none_or(|next| read(&next) == ["c 1"]));
        registry.ask_for_put_off();
        assert!(registry.next_command().is_none());
    }
}

#[test]
fn what_was_confirmed_after_it_was_given_up_is_left() {
    let mut registry = registry();
    let member = join(&mut registry);
    let Some(Command::Join {
        kind, name, before, ..
    }) = registry.next_command()
    else {
        panic!("it is asked for");
    };
    registry.leave(Kind::Channel, "c", member.number);
    registry.confirmed(kind, &name, before);
    assert_eq!(put_off_all(&mut registry), 1);
    registry.ask_for_put_off();
    assert_eq!(confirm_all(&mut registry), ["leave"]);
}

#[test]
fn a_new_connection_has_nothing_to_forget() {
    let mut registry = registry();
    let member = join(&mut registry);
    confirm_all(&mut registry);
    registry.leave(Kind::Channel, "c", member.number);
    put_off_all(&mut registry);
    registry.connection_lost();
    registry.connected();
    registry.ask_for_put_off();
    assert!(registry.next_command().is_none());
}

#[test]
fn what_the_server_has_forgotten_takes_no_memory_and_is_not_left_again() {
    let mut registry = registry();
    let member = join(&mut registry);
    confirm_all(&mut registry);
    registry.leave(Kind::Channel, "c", member.number);
    assert_eq!(confirm_all(&mut registry), ["leave"]);
    assert!(registry.held.is_empty());
    let member = join(&mut registry);
    registry.leave(Kind::Channel, "c", member.number);
    assert_eq!(put_off_all(&mut registry), 2);
    registry.ask_for_put_off();
    assert!(registry.next_command().is_none());
}
