//! Frames of the Redis protocol (RESP2 and RESP3): where each ends, and the arguments of a command.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::log::Answer;

/// Longest frame that the proxy carries. Locks need some hundred bytes; what is longer is an error
/// of the test or of this parser, and is better seen than buffered.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// Room for one read: some hundred commands of locks.
const READ_BYTES: usize = 16 << 10;

/// How much of a text an [`Answer`] keeps; tokens are shorter.
const TEXT_BYTES_MAX: usize = 256;

/// How deep arrays may lie in each other, and how many items they may have: those of lock scripts are flat and few.
const DEPTH_MAX: usize = 4;
const ITEMS_MAX: usize = 1_000;

/// Reads whole frames off a byte stream.
pub(in crate::live) struct Frames<R> {
    reader: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(in crate::live) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new() }
    }

    /// The next frame as it came, or `None` at the end of the stream; safe to cancel.
    pub(in crate::live) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(length) = frame_length(&self.buffer)? {
                return Ok(Some(self.buffer.drain(..length).collect()));
            }
            if self.buffer.len() > FRAME_BYTES_MAX {
                return Err(malformed("a frame beyond all bounds"));
            }
            self.buffer.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Length of the first frame, or `None` while it is incomplete.
fn frame_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut end = 0;
    let mut values_missing: usize = 1;
    // Bounded by the bytes: each turn takes a line off them.
    while values_missing > 0 {
        let Some((line, after)) = line(bytes, end) else { return Ok(None) };
        end = after;
        values_missing -= 1;
        match line.first() {
            // A blob: text, error or verbatim text, with its length ahead; -1 stands for none.
            Some(b'$' | b'!' | b'=') => {
                if let Some(length) = count(line)? {
                    end += length + 2;
                }
            }
            Some(b'*' | b'~' | b'>') => values_missing += count(line)?.unwrap_or(0),
            Some(b'%') => values_missing += 2 * count(line)?.unwrap_or(0),
            // Attributes stand ahead of the value that they belong to.
            Some(b'|') => values_missing += 2 * count(line)?.unwrap_or(0) + 1,
            // Simple values, and commands typed as one line.
            Some(_) | None => {}
        }
    }
    Ok((end <= bytes.len()).then_some(end))
}

/// Whether a frame from the server answers no command. In RESP3 what confirms a subscription has the form of a push,
/// and is an answer all the same.
pub(super) fn is_push(frame: &[u8]) -> bool {
    let confirms = || {
        let Some((_, at)) = line(frame, 0) else { return false };
        let Some((_, at)) = line(frame, at) else { return false };
        line(frame, at).is_some_and(|(kind, _)| kind.ends_with(b"subscribe"))
    };
    frame.first() == Some(&b'>') && !confirms()
}

/// What a whole frame from the server says.
pub(in crate::live) fn answer(frame: &[u8]) -> Answer {
    value(frame, 0, 0).map_or(Answer::Other, |(answer, _)| answer)
}

/// The value that starts at `from`, and where the next begins; `None` for one that we do not care to read.
fn value(frame: &[u8], from: usize, depth: usize) -> Option<(Answer, usize)> {
    let (header, mut at) = line(frame, from)?;
    let text = || String::from_utf8_lossy(header.get(1..).unwrap_or_default()).into_owned();
    let answer = match header.first()? {
        b'+' => Answer::Status(text()),
        b'-' => Answer::Error(text()),
        b':' => Answer::Integer(text().parse().ok()?),
        b'_' => Answer::Nil,
        b'#' => Answer::Integer(i64::from(header.get(1) == Some(&b't'))),
        kind @ (b'$' | b'!' | b'=') => match count(header).ok()? {
            None => Answer::Nil,
            Some(length) => {
                let bytes = frame.get(at..at + length)?;
                at += length + 2;
                let bytes = &bytes[..length.min(TEXT_BYTES_MAX)];
                match kind {
                    b'!' => Answer::Error(String::from_utf8_lossy(bytes).into_owned()),
                    _ => Answer::Text(bytes.to_vec()),
                }
            }
        },
        b'*' | b'~' => match count(header).ok()? {
            None => Answer::Nil,
            Some(length) if length > ITEMS_MAX || depth == DEPTH_MAX => return None,
            Some(length) => {
                let mut items = Vec::with_capacity(length);
                for _ in 0..length {
                    let (item, after) = value(frame, at, depth + 1)?;
                    items.push(item);
                    at = after;
                }
                Answer::Array(items)
            }
        },
        _ => return None,
    };
    Some((answer, at))
}

/// The arguments of a command frame, at least its name.
pub(super) fn arguments(frame: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let args = if frame.starts_with(b"*") { array(frame)? } else { words(frame) };
    // Redis answers nothing to an empty command, so it would shift all replies after it.
    if args.is_empty() { Err(malformed("an empty command")) } else { Ok(args) }
}

fn words(frame: &[u8]) -> Vec<Vec<u8>> {
    frame
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

fn array(frame: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut args = Vec::new();
    let (_, mut at) = line(frame, 0).ok_or_else(|| malformed("an array without a length"))?;
    while let Some((header, start)) = line(frame, at) {
        if header.first() != Some(&b'$') {
            return Err(malformed("a command argument that is no blob"));
        }
        let length = count(header)?.ok_or_else(|| malformed("a command argument without text"))?;
        let text = frame.get(start..start + length);
        args.push(text.ok_or_else(|| malformed("a cut argument"))?.to_vec());
        at = start + length + 2;
    }
    Ok(args)
}

/// The line that starts at `from`, without its end, and where the next begins.
fn line(bytes: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(from..)?;
    let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..length], from + length + 2))
}

/// The number behind the type byte of a line; `None` stands for -1, the length of no value.
fn count(line: &[u8]) -> io::Result<Option<usize>> {
    let number: Option<i64> =
        line.get(1..).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    match number {
        Some(-1) => Ok(None),
        Some(number) => match usize::try_from(number) {
            Ok(number) if number <= FRAME_BYTES_MAX => Ok(Some(number)),
            Ok(_) | Err(_) => Err(malformed("a length beyond all bounds")),
        },
        None => Err(malformed("a length that is no number")),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::{Answer, answer, arguments, frame_length, is_push};

    #[test]
    fn what_confirms_a_subscription_is_an_answer_and_a_message_is_none() {
        assert!(!is_push(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"));
        assert!(is_push(b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$9\r\nsubscribe\r\n"));
        assert!(is_push(b">2\r\n$10\r\ninvalidate\r\n_\r\n"));
        assert!(!is_push(b"+OK\r\n"));
    }

    #[test]
    fn an_answer_is_read_as_far_as_locks_need_it() {
        let text = |text: &str| Answer::Text(text.into());
        for (frame, expected) in [
            ("+OK\r\n", Answer::Status("OK".into())),
            ("$-1\r\n", Answer::Nil),
            ("*-1\r\n", Answer::Nil),
            ("_\r\n", Answer::Nil),
            (":-2\r\n", Answer::Integer(-2)),
            ("-NOSCRIPT No such\r\n", Answer::Error("NOSCRIPT No such".into())),
            ("$2\r\n\r\n\r\n", text("\r\n")),
            (
                "*3\r\n:1\r\n*1\r\n$1\r\na\r\n$-1\r\n",
                Answer::Array(vec![
                    Answer::Integer(1),
                    Answer::Array(vec![text("a")]),
                    Answer::Nil,
                ]),
            ),
            ("%1\r\n+k\r\n:1\r\n", Answer::Other),
            ("*9999\r\n", Answer::Other),
        ] {
            assert!(answer(frame.as_bytes()) == expected, "{frame:?}");
        }
    }

    #[test]
    fn a_frame_ends_where_its_last_value_ends() {
        let frames: &[&str] = &[
            "+OK\r\n",
            ":1\r\n",
            "-ERR no\r\n",
            "_\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "$0\r\n\r\n",
            "$4\r\n\r\n\r\n\r\n",
            "=7\r\ntxt:abc\r\n",
            "*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
            "%1\r\n+k\r\n*2\r\n:1\r\n:2\r\n",
            "|1\r\n+ttl\r\n:9\r\n$1\r\na\r\n",
            ">2\r\n+message\r\n$1\r\na\r\n",
            "PING\r\n",
        ];
        for frame in frames {
            let bytes = frame.as_bytes();
            for cut in 0..bytes.len() {
                let length = frame_length(&bytes[..cut]).expect("a well-formed start");
                assert_eq!(length, None, "{frame:?} cut at {cut}");
            }
            let more = [bytes, b"+next\r\n"].concat();
            let length = frame_length(&more).expect("a well-formed frame");
            assert_eq!(length, Some(bytes.len()), "{frame:?}");
        }
    }

    #[test]
    fn a_command_is_an_array_or_a_line() {
        for frame in ["*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n", "GET a\r\n"] {
            let args = arguments(frame.as_bytes()).expect("a well-formed command");
            assert_eq!(args[0], b"GET", "{frame:?}");
            assert_eq!(args.len(), 2, "{frame:?}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for frame in ["*x\r\n", "$-2\r\n", "$99999999999\r\n"] {
            assert!(frame_length(frame.as_bytes()).is_err(), "{frame:?}");
        }
        for frame in ["*0\r\n", "\r\n", "*1\r\n:1\r\n"] {
            assert!(arguments(frame.as_bytes()).is_err(), "{frame:?}");
        }
    }
}
