//! The part of Redis's wire protocol that the handshake and pub/sub read.
//!
//! Commands go through the `redis` crate. Pub/sub has its own reader because a subscription must
//! become live exactly at its confirmation, in the order of the wire, and without an unbounded
//! queue in between.

/// A reply or push, borrowed from the buffer it was read into.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame<'a> {
    /// A status, boolean, double or big number: one line.
    Line(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Nil,
    /// An array, set, push, or map (keys and values in turn).
    Array(Vec<Frame<'a>>),
}

/// The bytes are not Redis's protocol.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed;

/// The longest bulk string: Redis's own limit of 512 MiB.
const MAX_BULK: i64 = 512 << 20;
const MAX_ELEMENTS: i64 = 1 << 20;
const MAX_DEPTH: usize = 8;
/// A line is a status, an error, or a number.
const MAX_LINE: usize = 64 << 10;

/// Reads one frame from the start of `input`: the frame and its length, or `None` where it is not
/// complete yet.
pub(crate) fn parse(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let mut reader = Reader { input, at: 0 };
    let frame = reader.frame(0)?;
    Ok(frame.map(|frame| (frame, reader.at)))
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn frame(&mut self, depth: usize) -> Result<Option<Frame<'a>>, Malformed> {
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        let [kind, text @ ..] = line else {
            return Err(Malformed);
        };
        match kind {
            b'+' | b',' | b'#' | b'(' => Ok(Some(Frame::Line(text))),
            b'-' => Ok(Some(Frame::Error(text))),
            b'_' => Ok(Some(Frame::Nil)),
            b':' => Ok(Some(Frame::Integer(integer(text)?))),
            b'$' | b'!' | b'=' => match integer(text)? {
                -1 => Ok(Some(Frame::Nil)),
                length @ 0..=MAX_BULK => Ok(self.bulk(length as usize)?.map(|bytes| match kind {
                    b'!' => Frame::Error(bytes),
                    _ => Frame::Bulk(bytes),
                })),
                _ => Err(Malformed),
            },
            b'*' | b'>' | b'~' => self.elements(integer(text)?, depth),
            b'%' => self.elements(integer(text)?.saturating_mul(2), depth),
            _ => Err(Malformed),
        }
    }

    fn elements(&mut self, count: i64, depth: usize) -> Result<Option<Frame<'a>>, Malformed> {
        match count {
            -1 => return Ok(Some(Frame::Nil)),
            0..=MAX_ELEMENTS if depth < MAX_DEPTH => {}
            _ => return Err(Malformed),
        }
        // The count is the server's word; only what really came is worth memory.
        let mut elements = Vec::with_capacity(count.min(16) as usize);
        for _ in 0..count {
            let Some(element) = self.frame(depth + 1)? else {
                return Ok(None);
            };
            elements.push(element);
        }
        Ok(Some(Frame::Array(elements)))
    }

    fn bulk(&mut self, length: usize) -> Result<Option<&'a [u8]>, Malformed> {
        let end = self.at + length;
        let Some(terminator) = self.input.get(end..end + 2) else {
            return Ok(None);
        };
        if terminator != b"\r\n" {
            return Err(Malformed);
        }
        let bytes = &self.input[self.at..end];
        self.at = end + 2;
        Ok(Some(bytes))
    }

    fn line(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.input[self.at..];
        let Some(length) = rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
            return if rest.len() < MAX_LINE {
                Ok(None)
            } else {
                Err(Malformed)
            };
        };
        self.at += length + 1;
        rest[..length]
            .strip_suffix(b"\r")
            .map(Some)
            .ok_or(Malformed)
    }
}

fn integer(text: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed)
}

/// Splits an error line into its code and the rest.
pub(crate) fn split_error(line: &[u8]) -> (String, String) {
    let line = String::from_utf8_lossy(line);
    let (code, detail) = line.split_once(' ').unwrap_or((&line, ""));
    (code.to_owned(), detail.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8]) -> Frame<'_> {
        let (frame, length) = parse(input).unwrap().unwrap();
        assert_eq!(length, input.len());
        frame
    }

    #[test]
    fn every_kind_of_frame_is_read() {
        assert_eq!(whole(b"+PONG\r\n"), Frame::Line(b"PONG"));
        assert_eq!(whole(b"-ERR no\r\n"), Frame::Error(b"ERR no"));
        assert_eq!(whole(b":-7\r\n"), Frame::Integer(-7));
        assert_eq!(whole(b"$4\r\na\r\nb\r\n"), Frame::Bulk(b"a\r\nb"));
        assert_eq!(whole(b"$-1\r\n"), Frame::Nil);
        assert_eq!(whole(b"_\r\n"), Frame::Nil);
        assert_eq!(
            whole(b">2\r\n$1\r\na\r\n:1\r\n"),
            Frame::Array(vec![Frame::Bulk(b"a"), Frame::Integer(1)])
        );
        assert_eq!(
            whole(b"%1\r\n+role\r\n*0\r\n"),
            Frame::Array(vec![Frame::Line(b"role"), Frame::Array(vec![])])
        );
    }

    #[test]
    fn an_incomplete_frame_waits_for_the_rest() {
        let input = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\na\r\n\r\n";
        for length in 0..input.len() {
            assert_eq!(parse(&input[..length]), Ok(None), "{length} bytes");
        }
        assert!(parse(input).unwrap().is_some());
    }

    #[test]
    fn garbage_is_refused() {
        for input in [
            b"hello\r\n".as_slice(),
            b":1x\r\n",
            b"$1\r\nabc",
            b"$-2\r\n",
            b"$999999999999\r\n",
            b"*99999999\r\n",
            b"+no carriage return\n",
            b"\r\n",
        ] {
            assert_eq!(parse(input), Err(Malformed), "{input:?}");
        }
        assert_eq!(
            parse(&b"*1\r\n".repeat(20)),
            Err(Malformed),
            "nested too deep"
        );
        assert_eq!(parse(&[b'+'; MAX_LINE]), Err(Malformed), "an endless line");
    }
}
