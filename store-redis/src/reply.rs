//! What the answers mean: each function takes the one shape its command can have.
//!
//! Anything else is [`Refusal::Malformed`], never a value: numbers are checked and never wrap. Behind
//! such an answer none is known to belong to its request, so a connection asks the [`Shape`] before it
//! hands one out.

use std::time::Duration;

use bytes::Bytes;
use store_core::{Error, Ttl};

use crate::error;
use crate::resp::{self, Frame};

/// Why an answer is no value.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It has a shape that the command cannot have.
    Malformed,
    /// The server refused.
    Error(Error),
}

type Reply<T> = Result<T, Refusal>;

/// What the answer to a command can be, if it is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Value,
    Values(usize),
    Written,
    Done,
    /// Of a pipeline of so many commands.
    AllDone(usize),
    Flag,
    Count,
    Counter,
    CounterText,
    Ttl,
    Page,
    Pong,
    Role,
    /// So many frames, whatever they are.
    #[cfg(test)]
    Any(usize),
}

impl Shape {
    /// How many frames the answer has.
    pub(crate) fn frames(self) -> usize {
        match self {
            Self::AllDone(count) => count,
            #[cfg(test)]
            Self::Any(count) => count,
            _ => 1,
        }
    }

    /// The answer in `bytes`, that of a pipeline as an array; `None` if it is none.
    pub(crate) fn answer(self, bytes: &[u8]) -> Option<Frame<'_>> {
        let mut at = 0;
        let mut next = || {
            loop {
                let is_push = at > 0 && bytes.get(at) == Some(&resp::PUSH);
                let (frame, length) = resp::parse(&bytes[at..]).ok()??;
                at += length;
                if !is_push {
                    return Some(frame);
                }
            }
        };
        match self {
            Self::AllDone(count) => {
                let frames: Option<Vec<_>> = (0..count).map(|_| next()).collect();
                frames.map(Frame::Array)
            }
            _ => next(),
        }
    }

    /// Whether `bytes`, which are whole frames, are an answer of this shape, or an error.
    pub(crate) fn fits(self, bytes: &[u8]) -> bool {
        // What most answers are is told by its first byte.
        if self == Self::Value && bytes.first() == Some(&b'$') {
            return true;
        }
        let read = match self.answer(bytes) {
            None => Err(Refusal::Malformed),
            Some(Frame::Error(_)) => Ok(()),
            Some(frame) => match self {
                Self::Value => text(frame).map(drop),
                Self::Values(count) => each_text(frame, count, |_| ()),
                Self::Written => written(frame).map(drop),
                Self::Done => done(frame),
                Self::AllDone(count) => all_done(frame, count),
                Self::Flag => flag(frame).map(drop),
                Self::Count => count(frame).map(drop),
                Self::Counter => counter(frame).map(drop),
                Self::CounterText => counter_text(frame).map(drop),
                Self::Ttl => ttl(frame).map(drop),
                Self::Page => cursor_and_keys(frame).map(drop),
                Self::Pong => pong(frame),
                Self::Role => is_replica(frame).map(drop),
                #[cfg(test)]
                Self::Any(_) => Ok(()),
            },
        };
        !matches!(read, Err(Refusal::Malformed))
    }
}

/// A value or its absence, as `GET` answers.
pub(crate) fn bytes(frame: Frame<'_>) -> Reply<Option<Bytes>> {
    text(frame).map(|text| text.map(Bytes::copy_from_slice))
}

/// As many values as keys were asked for, as `MGET` answers.
pub(crate) fn values(frame: Frame<'_>, count: usize) -> Reply<Vec<Option<Bytes>>> {
    let mut values = Vec::with_capacity(count);
    each_text(frame, count, |text| {
        values.push(text.map(Bytes::copy_from_slice))
    })?;
    Ok(values)
}

fn text(frame: Frame<'_>) -> Reply<Option<&[u8]>> {
    match frame {
        Frame::Bulk(text) => Ok(Some(text)),
        Frame::Nil => Ok(None),
        other => Err(refusal(other)),
    }
}

/// Hands each of `count` texts to `take`.
fn each_text(frame: Frame<'_>, count: usize, mut take: impl FnMut(Option<&[u8]>)) -> Reply<()> {
    match frame {
        Frame::Array(values) if values.len() == count => {
            let mut values = values.into_iter();
            values.try_for_each(|value| text(value).map(&mut take))
        }
        other => Err(refusal(other)),
    }
}

/// Whether a `SET` wrote.
pub(crate) fn written(frame: Frame<'_>) -> Reply<bool> {
    match frame {
        Frame::Line(b"OK") => Ok(true),
        Frame::Nil => Ok(false),
        other => Err(refusal(other)),
    }
}

/// That a command was carried out, where it has no other answer.
pub(crate) fn done(frame: Frame<'_>) -> Reply<()> {
    match frame {
        Frame::Line(b"OK") => Ok(()),
        other => Err(refusal(other)),
    }
}

/// That each of `count` pipelined commands was carried out.
pub(crate) fn all_done(frame: Frame<'_>, count: usize) -> Reply<()> {
    let Frame::Array(values) = frame else {
        return Err(refusal(frame));
    };
    if values.len() != count {
        return Err(Refusal::Malformed);
    }
    let mut first = None;
    let mut written = 0;
    for value in values {
        match done(value) {
            Ok(()) => written += 1,
            Err(Refusal::Error(error)) => first = first.or(Some(error)),
            Err(Refusal::Malformed) => return Err(Refusal::Malformed),
        }
    }
    match first {
        Some(error) => Err(Refusal::Error(error::batch(error, written, count))),
        None => Ok(()),
    }
}

/// Zero or one.
pub(crate) fn flag(frame: Frame<'_>) -> Reply<bool> {
    match frame {
        Frame::Integer(0) => Ok(false),
        Frame::Integer(1) => Ok(true),
        other => Err(refusal(other)),
    }
}

/// A number of things.
pub(crate) fn count(frame: Frame<'_>) -> Reply<u64> {
    match frame {
        Frame::Integer(count) => u64::try_from(count).map_err(|_| Refusal::Malformed),
        other => Err(refusal(other)),
    }
}

/// A counter, as `INCRBY` answers.
pub(crate) fn counter(frame: Frame<'_>) -> Reply<i64> {
    match frame {
        Frame::Integer(counter) => Ok(counter),
        other => Err(refusal(other)),
    }
}

/// A counter as text, as scripts answer.
pub(crate) fn counter_text(frame: Frame<'_>) -> Reply<i64> {
    match frame {
        Frame::Bulk(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(Refusal::Malformed),
        other => Err(refusal(other)),
    }
}

/// What is left of a life, as `PTTL` answers.
pub(crate) fn ttl(frame: Frame<'_>) -> Reply<Ttl> {
    match frame {
        Frame::Integer(-2) => Ok(Ttl::Missing),
        Frame::Integer(-1) => Ok(Ttl::Forever),
        // The key is there, so something is left, if less than the server's clock can tell.
        Frame::Integer(millis @ 0..) => Ok(Ttl::Left(Duration::from_millis(
            millis.unsigned_abs().max(1),
        ))),
        other => Err(refusal(other)),
    }
}

/// The cursor and the keys of a step of a scan, as `SCAN` answers.
pub(crate) fn page(frame: Frame<'_>) -> Reply<(u64, Vec<Vec<u8>>)> {
    let (cursor, keys) = cursor_and_keys(frame)?;
    Ok((cursor, keys.into_iter().map(<[u8]>::to_vec).collect()))
}

fn cursor_and_keys(frame: Frame<'_>) -> Reply<(u64, Vec<&[u8]>)> {
    let Frame::Array(parts) = frame else {
        return Err(refusal(frame));
    };
    let Ok([Frame::Bulk(cursor), Frame::Array(keys)]) = <[Frame<'_>; 2]>::try_from(parts) else {
        return Err(Refusal::Malformed);
    };
    let cursor = std::str::from_utf8(cursor)
        .ok()
        .and_then(|cursor| cursor.parse().ok())
        .ok_or(Refusal::Malformed)?;
    let keys = keys
        .into_iter()
        .map(|key| match key {
            Frame::Bulk(key) => Ok(key),
            _ => Err(Refusal::Malformed),
        })
        .collect::<Reply<_>>()?;
    Ok((cursor, keys))
}

/// The answer to `PING`.
pub(crate) fn pong(frame: Frame<'_>) -> Reply<()> {
    match frame {
        Frame::Line(b"PONG") => Ok(()),
        other => Err(refusal(other)),
    }
}

/// Whether the server is a replica, as `HELLO` or `ROLE` answers. A proxy may leave the role out, or
/// have an answer of its own, but no value or number: that would be the answer to another command.
pub(crate) fn is_replica(frame: Frame<'_>) -> Reply<bool> {
    let parts = match frame {
        Frame::Array(parts) => parts,
        Frame::Line(_) | Frame::Nil => return Ok(false),
        Frame::Error(_) | Frame::Bulk(_) | Frame::Integer(_) => return Err(refusal(frame)),
    };
    // Redis has a word for each of the two commands, and other servers have the other one.
    let means_replica = |role: &Frame<'_>| matches!(role, Frame::Bulk(b"replica" | b"slave"));
    let mut pairs = parts.chunks_exact(2);
    Ok(parts.first().is_some_and(means_replica)
        || pairs.any(|pair| pair[0] == Frame::Bulk(b"role") && means_replica(&pair[1])))
}

fn refusal(frame: Frame<'_>) -> Refusal {
    match frame {
        Frame::Error(line) => {
            let (code, detail) = resp::split_error(line);
            Refusal::Error(error::reply(&code, &detail).into_error())
        }
        _ => Refusal::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use store_core::ErrorKind;

    use super::*;

    fn bulk(text: &str) -> Frame<'_> {
        Frame::Bulk(text.as_bytes())
    }

    fn parsed(wire: &str) -> Frame<'_> {
        resp::parse(wire.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn numbers_are_checked_and_never_wrap() {
        assert!(matches!(count(Frame::Integer(-1)), Err(Refusal::Malformed)));
        assert!(matches!(flag(Frame::Integer(2)), Err(Refusal::Malformed)));
        assert!(matches!(ttl(Frame::Integer(-3)), Err(Refusal::Malformed)));
        assert!(matches!(
            counter_text(bulk("9223372036854775808")),
            Err(Refusal::Malformed)
        ));
        assert_eq!(
            counter_text(bulk("-9223372036854775808")).unwrap(),
            i64::MIN
        );
    }

    #[test]
    fn a_key_in_its_last_millisecond_has_one_left() {
        assert_eq!(ttl(Frame::Integer(-2)).unwrap(), Ttl::Missing);
        assert_eq!(ttl(Frame::Integer(-1)).unwrap(), Ttl::Forever);
        let left = |millis| Ttl::Left(Duration::from_millis(millis));
        assert_eq!(ttl(Frame::Integer(0)).unwrap(), left(1));
        assert_eq!(ttl(Frame::Integer(7)).unwrap(), left(7));
    }

    #[test]
    fn an_answer_of_another_shape_is_no_value() {
        assert!(matches!(bytes(Frame::Integer(1)), Err(Refusal::Malformed)));
        assert!(matches!(bytes(Frame::Line(b"OK")), Err(Refusal::Malformed)));
        assert!(matches!(written(bulk("OK")), Err(Refusal::Malformed)));
        let one = Frame::Array(vec![bulk("a")]);
        assert!(matches!(values(one, 2), Err(Refusal::Malformed)));
        assert!(matches!(
            page(parsed("*1\r\n:1\r\n")),
            Err(Refusal::Malformed)
        ));
        assert!(matches!(
            page(parsed("*2\r\n$1\r\nx\r\n*0\r\n")),
            Err(Refusal::Malformed)
        ));
    }

    #[test]
    fn an_error_reply_is_an_error_everywhere() {
        let wrong_type = || parsed("-WRONGTYPE no\r\n");
        let kind = |refusal| match refusal {
            Refusal::Error(error) => error.kind(),
            Refusal::Malformed => panic!("an error reply is not malformed"),
        };
        for refused in [
            bytes(wrong_type()).map(drop).unwrap_err(),
            values(wrong_type(), 1).map(drop).unwrap_err(),
            written(wrong_type()).map(drop).unwrap_err(),
            all_done(wrong_type(), 1).unwrap_err(),
            flag(wrong_type()).map(drop).unwrap_err(),
            count(wrong_type()).map(drop).unwrap_err(),
            counter(wrong_type()).map(drop).unwrap_err(),
            counter_text(wrong_type()).map(drop).unwrap_err(),
            ttl(wrong_type()).map(drop).unwrap_err(),
            page(wrong_type()).map(drop).unwrap_err(),
            pong(wrong_type()).unwrap_err(),
            is_replica(wrong_type()).map(drop).unwrap_err(),
        ] {
            assert_eq!(kind(refused), ErrorKind::WrongType);
        }
    }

    #[test]
    fn the_role_is_read_from_hello_and_from_role() {
        for (wire, expected) in [
            (
                "%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$7\r\nreplica\r\n",
                true,
            ),
            ("%1\r\n$4\r\nrole\r\n$5\r\nslave\r\n", true),
            ("%1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n", false),
            ("%0\r\n", false),
            ("*2\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n", true),
            ("*2\r\n$7\r\nreplica\r\n$9\r\n127.0.0.1\r\n", true),
            ("*3\r\n$6\r\nmaster\r\n:7\r\n*0\r\n", false),
            ("+OK\r\n", false),
            ("$-1\r\n", false),
        ] {
            assert_eq!(is_replica(parsed(wire)).unwrap(), expected, "{wire:?}");
        }
        for other in [bulk("value"), Frame::Integer(1)] {
            assert!(matches!(is_replica(other), Err(Refusal::Malformed)));
        }
    }

    #[test]
    fn pushes_between_the_answers_of_a_pipeline_are_passed_over() {
        let push = ">1\r\n+hello\r\n";
        let answer = format!("+OK\r\n{push}{push}+PONG\r\n");
        let frames = vec![Frame::Line(b"OK"), Frame::Line(b"PONG")];
        let shape = Shape::AllDone(2);
        assert_eq!(shape.answer(answer.as_bytes()), Some(Frame::Array(frames)));
        assert!(!shape.fits(answer.as_bytes()));
    }

    #[test]
    fn a_shape_is_fitted_by_what_its_command_can_answer() {
        use Shape::*;
        for (wire, shapes) in [
            ("+OK\r\n", vec![Written, Done, AllDone(1), Role]),
            ("+GARBAGE\r\n", vec![Role]),
            ("+PONG\r\n", vec![Pong, Role]),
            (":0\r\n", vec![Flag, Count, Counter, Ttl]),
            (":2\r\n", vec![Count, Counter, Ttl]),
            (":-1\r\n", vec![Counter, Ttl]),
            ("$1\r\n5\r\n", vec![Value, CounterText]),
            ("$1\r\nx\r\n", vec![Value]),
            ("$-1\r\n", vec![Value, Written, Role]),
            ("*2\r\n$1\r\n5\r\n$-1\r\n", vec![Values(2), Role]),
            ("*2\r\n$1\r\n5\r\n*0\r\n", vec![Page, Role]),
            ("*2\r\n$1\r\n5\r\n:1\r\n", vec![Role]),
        ] {
            let all = [
                Value,
                Values(2),
                Written,
                Done,
                AllDone(1),
                Flag,
                Count,
                Counter,
                CounterText,
                Ttl,
                Page,
                Pong,
                Role,
            ];
            let fitting = all.into_iter().filter(|shape| shape.fits(wire.as_bytes()));
            assert_eq!(fitting.collect::<Vec<_>>(), shapes, "{wire:?}");
            assert!(all.iter().all(|shape| shape.fits(b"-ERR no\r\n")));
        }
        assert!(AllDone(2).fits(b"+OK\r\n-OOM full\r\n"));
        assert!(!AllDone(2).fits(b"+OK\r\n:1\r\n"));
        assert!(Values(1).fits(b"*1\r\n-ERR no\r\n"));
    }

    #[test]
    fn a_failed_entry_of_a_batch_is_an_error() {
        let refused = all_done(parsed("*2\r\n+OK\r\n-OOM full\r\n"), 2).unwrap_err();
        let Refusal::Error(error) = refused else {
            panic!("an error");
        };
        assert_eq!(error.kind(), ErrorKind::Indeterminate);
        assert!(all_done(parsed("*2\r\n+OK\r\n+OK\r\n"), 2).is_ok());
    }
}
