//! Reading Redis's wire protocol: where a frame ends, and what it says.
//!
//! Two steps, so that a connection only finds ends, and who asked reads the answer.

/// A reply or push, borrowed from the buffer it was read into.
#[derive(Clone, Debug, PartialEq)]
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

/// How a push begins: what the server sends without having been asked.
pub(crate) const PUSH: u8 = b'>';

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

/// Finds where frames end in a buffer that fills, without looking twice at what is there already.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    at: usize,
    /// The frames that are not complete, and the items of the first of them, if it has begun.
    missing: Option<(usize, usize)>,
}

impl Framer {
    /// The length of the first `frames` frames of `input`, or `None` where they are not complete
    /// yet: then `input` must be the same again, with more behind it. Pushes between them are not
    /// counted; one at the start is, as what was asked for. The driver asks for none, but another
    /// client can have a server send some, such as by `CLIENT TRACKING … REDIRECT`.
    pub(crate) fn end(&mut self, input: &[u8], frames: usize) -> Result<Option<usize>, Malformed> {
        let mut reader = Reader { input, at: self.at };
        let (mut frames, mut items) = self.missing.take().unwrap_or((frames, 0));
        while frames > 0 || items > 0 {
            let is_between = items == 0 && self.at > 0 && input.get(self.at) == Some(&PUSH);
            let Some(item) = reader.item()? else {
                self.missing = Some((frames, items));
                return Ok(None);
            };
            if items == 0 {
                items = 1;
                frames -= usize::from(!is_between);
            }
            items -= 1;
            if let Item::Elements(count) = item {
                items += count;
            }
            self.at = reader.at;
        }
        Ok(Some(std::mem::take(&mut self.at)))
    }
}

/// What one line, and the bytes that it announces, say.
enum Item<'a> {
    Whole(Frame<'a>),
    /// So many frames that follow are its elements.
    Elements(usize),
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn frame(&mut self, depth: usize) -> Result<Option<Frame<'a>>, Malformed> {
        match self.item()? {
            None => Ok(None),
            Some(Item::Whole(frame)) => Ok(Some(frame)),
            Some(Item::Elements(count)) => self.elements(count, depth),
        }
    }

    /// Leaves `at` where it is if the item is not complete.
    fn item(&mut self) -> Result<Option<Item<'a>>, Malformed> {
        let start = self.at;
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        let [kind, text @ ..] = line else {
            return Err(Malformed);
        };
        let frame = match kind {
            b'+' | b',' | b'#' | b'(' => Frame::Line(text),
            b'-' => Frame::Error(text),
            b'_' => Frame::Nil,
            b':' => Frame::Integer(integer(text)?),
            b'$' | b'!' | b'=' => match integer(text)? {
                -1 => Frame::Nil,
                length @ 0..=MAX_BULK => {
                    let Some(bytes) = self.bulk(length as usize)? else {
                        self.at = start;
                        return Ok(None);
                    };
                    match kind {
                        b'!' => Frame::Error(bytes),
                        _ => Frame::Bulk(bytes),
                    }
                }
                _ => return Err(Malformed),
            },
            b'*' | b'>' | b'~' | b'%' => match (integer(text)?, kind) {
                (-1, _) => Frame::Nil,
                (count @ 0..=MAX_ELEMENTS, b'%') => {
                    return Ok(Some(Item::Elements(2 * count as usize)));
                }
                (count @ 0..=MAX_ELEMENTS, _) => return Ok(Some(Item::Elements(count as usize))),
                _ => return Err(Malformed),
            },
            _ => return Err(Malformed),
        };
        Ok(Some(Item::Whole(frame)))
    }

    fn elements(&mut self, count: usize, depth: usize) -> Result<Option<Frame<'a>>, Malformed> {
        if depth >= MAX_DEPTH {
            return Err(Malformed);
        }
        // The count is the server's word; only what really came is worth memory.
        let mut elements = Vec::with_capacity(count.min(128));
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
    // What a script is refused, Redis 6.2 begins with the place in the script.
    let place = line.strip_prefix("@user_script: ");
    let refused = place.and_then(|place| place.split_once(": -"));
    let line = refused.map_or(&*line, |(_number, refused)| refused);
    let (code, detail) = line.split_once(' ').unwrap_or((line, ""));
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
    fn the_code_of_an_error_is_its_first_word_also_behind_the_place_in_a_script() {
        let split = |line: &str| split_error(line.as_bytes());
        let of = |code: &str, detail: &str| (code.to_owned(), detail.to_owned());
        assert_eq!(split("OOM no memory"), of("OOM", "no memory"));
        assert_eq!(split("READONLY"), of("READONLY", ""));
        let of_redis_6 = "@user_script: 4: -OOM command not allowed: -2";
        assert_eq!(split(of_redis_6), of("OOM", "command not allowed: -2"));
        let other = "@user_script: 4: Unknown Redis command";
        assert_eq!(
            split(other),
            of("@user_script:", "4: Unknown Redis command")
        );
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
    fn the_end_of_frames_is_found_however_they_arrive() {
        let frames: [&[u8]; 6] = [
            b"+OK\r\n",
            b"$4\r\na\r\nb\r\n",
            b"*2\r\n*2\r\n:1\r\n$0\r\n\r\n%1\r\n+k\r\n*0\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"-ERR no\r\n",
        ];
        for frame in frames {
            let mut framer = Framer::default();
            for length in 0..frame.len() {
                assert_eq!(framer.end(&frame[..length], 1), Ok(None), "{length} bytes");
            }
            assert_eq!(framer.end(frame, 1), Ok(Some(frame.len())));
            let twice = [frame, frame, b"+more"].concat();
            assert_eq!(framer.end(&twice, 2), Ok(Some(2 * frame.len())));
        }
    }

    #[test]
    fn pushes_between_frames_are_not_counted() {
        let push = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
        let input = format!("+OK\r\n{push}{push}*2\r\n:1\r\n:2\r\n+more");
        let input = input.as_bytes();
        let expected = input.len() - "+more".len();
        let mut framer = Framer::default();
        for length in 0..expected {
            assert_eq!(framer.end(&input[..length], 2), Ok(None), "{length} bytes");
        }
        assert_eq!(framer.end(input, 2), Ok(Some(expected)));
        assert_eq!(
            framer.end(push.as_bytes(), 1),
            Ok(Some(push.len())),
            "what is first is what was asked for"
        );
    }

    #[test]
    fn garbage_is_refused() {
        for input in [
            b"hello\r\n".as_slice(),
            b":1x\r\n",
            b"$1\r\nabc",
            b"$-2\r\n",
            b"*-2\r\n",
            b"$999999999999\r\n",
            b"*99999999\r\n",
            b"+no carriage return\n",
            b"\r\n",
        ] {
            assert_eq!(parse(input), Err(Malformed), "{input:?}");
            assert_eq!(Framer::default().end(input, 1), Err(Malformed), "{input:?}");
        }
        assert_eq!(
            parse(&b"*1\r\n".repeat(20)),
            Err(Malformed),
            "nested too deep"
        );
        assert_eq!(parse(&[b'+'; MAX_LINE]), Err(Malformed), "an endless line");
    }
}
