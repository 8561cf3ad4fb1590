//! Commands and replies as bytes, in RESP2 and RESP3.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use redis_protocol::error::RedisProtocolError;
use redis_protocol::resp2::decode::decode_bytes;
use redis_protocol::resp2::types::BytesFrame as Frame2;
use redis_protocol::resp3::types::{BytesFrame as Frame3, VerbatimStringFormat};
use redis_protocol::{resp2, resp3};

use super::resp::Resp;
use super::session::Protocol;

/// The longest line of a command that comes as plain text, as Redis has it.
const INLINE_MAX: usize = 64 * 1024;

/// What came is no command, or no reply.
#[derive(Debug)]
pub(crate) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol error: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<RedisProtocolError> for Malformed {
    fn from(error: RedisProtocolError) -> Self {
        Self(error.details().to_owned())
    }
}

/// Takes the first command out of `buffer`, if it is there in full: an array of bulk strings, or a line
/// of words as a person types it.
pub(crate) fn take_command(buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, Malformed> {
    if buffer.first().is_some_and(|&first| first != b'*') {
        return take_line(buffer);
    }
    let Some(frame) = take_frame(buffer)? else { return Ok(None) };
    match frame {
        Frame2::Array(words) => words.into_iter().map(bulk).collect::<Result<_, _>>().map(Some),
        Frame2::Null => Ok(Some(Vec::new())),
        Frame2::SimpleString(_) | Frame2::Error(_) | Frame2::Integer(_) | Frame2::BulkString(_) => {
            Err(Malformed("expected an array".to_owned()))
        }
    }
}

fn bulk(word: Frame2) -> Result<Bytes, Malformed> {
    match word {
        Frame2::BulkString(bytes) => Ok(bytes),
        Frame2::SimpleString(_)
        | Frame2::Error(_)
        | Frame2::Integer(_)
        | Frame2::Array(_)
        | Frame2::Null => Err(Malformed("expected a bulk string".to_owned())),
    }
}

fn take_line(buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, Malformed> {
    let Some(end) = buffer.iter().position(|&byte| byte == b'\n') else {
        let too_long = buffer.len() > INLINE_MAX;
        return if too_long {
            Err(Malformed("too big inline request".to_owned()))
        } else {
            Ok(None)
        };
    };
    let line = buffer.split_to(end + 1).freeze();
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Ok(Some(words.map(|word| line.slice_ref(word)).collect()))
}

/// Takes the first reply in RESP2 out of `buffer`, if it is there in full.
pub(crate) fn take_reply(buffer: &mut BytesMut) -> Result<Option<Resp>, Malformed> {
    Ok(take_frame(buffer)?.map(from_frame))
}

/// The decoder wants `Bytes`; what is behind the frame goes back.
fn take_frame(buffer: &mut BytesMut) -> Result<Option<Frame2>, Malformed> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let bytes = buffer.split().freeze();
    let decoded = decode_bytes(&bytes);
    let used = decoded.as_ref().ok().and_then(Option::as_ref).map_or(0, |(_, used)| *used);
    let mut rest = bytes.clone();
    rest.advance(used);
    drop(bytes);
    match rest.try_into_mut() {
        Ok(rest) => *buffer = rest,
        // The frame still shares them.
        Err(rest) => buffer.extend_from_slice(&rest),
    }
    Ok(decoded?.map(|(frame, _)| frame))
}

fn from_frame(frame: Frame2) -> Resp {
    match frame {
        Frame2::Null => Resp::Nil,
        Frame2::Integer(int) => Resp::Int(int),
        Frame2::SimpleString(text) => Resp::simple(String::from_utf8_lossy(&text).into_owned()),
        Frame2::BulkString(bytes) => Resp::bulk(bytes),
        Frame2::Error(text) => Resp::error(text.as_bytes()),
        Frame2::Array(items) => Resp::Array(items.into_iter().map(from_frame).collect()),
    }
}

/// Appends a command to `buffer`.
pub(crate) fn put_command<A: AsRef<[u8]>>(
    words: &[A],
    buffer: &mut BytesMut,
) -> Result<(), Malformed> {
    let words = words.iter().map(|word| Frame2::BulkString(Bytes::copy_from_slice(word.as_ref())));
    resp2::encode::extend_encode(buffer, &Frame2::Array(words.collect()), false)?;
    Ok(())
}

/// Appends a reply to `buffer`.
pub(crate) fn put_reply(
    reply: &Resp,
    protocol: Protocol,
    buffer: &mut BytesMut,
) -> Result<(), Malformed> {
    if let Resp::Several(replies) = reply {
        return replies.iter().try_for_each(|reply| put_reply(reply, protocol, buffer));
    }
    match protocol {
        Protocol::Resp2 => resp2::encode::extend_encode(buffer, &to_frame2(reply), false)?,
        Protocol::Resp3 => {
            resp3::encode::complete::extend_encode(buffer, &to_frame3(reply), false)?
        }
    };
    Ok(())
}

fn to_frame2(reply: &Resp) -> Frame2 {
    match reply {
        Resp::Nil => Frame2::Null,
        Resp::Int(int) => Frame2::Integer(*int),
        Resp::Simple(text) => Frame2::SimpleString(line(text.as_bytes()).into()),
        Resp::Bulk(bytes) | Resp::Verbatim(bytes) => {
            Frame2::BulkString(Bytes::copy_from_slice(bytes))
        }
        Resp::Error(text) => Frame2::Error(line(text).into()),
        Resp::Score(score) => Frame2::BulkString(score.to_string().into()),
        Resp::Array(items) | Resp::Push(items) | Resp::Several(items) => {
            Frame2::Array(items.iter().map(to_frame2).collect())
        }
        Resp::Map(pairs) => {
            let flat = pairs.iter().flat_map(|(key, value)| [to_frame2(key), to_frame2(value)]);
            Frame2::Array(flat.collect())
        }
    }
}

fn to_frame3(reply: &Resp) -> Frame3 {
    let attributes = None;
    match reply {
        Resp::Nil => Frame3::Null,
        Resp::Int(int) => Frame3::Number { data: *int, attributes },
        Resp::Simple(text) => {
            Frame3::SimpleString { data: line(text.as_bytes()).into(), attributes }
        }
        Resp::Bulk(bytes) => Frame3::BlobString { data: Bytes::copy_from_slice(bytes), attributes },
        Resp::Verbatim(bytes) => Frame3::VerbatimString {
            data: Bytes::copy_from_slice(bytes),
            format: VerbatimStringFormat::Text,
            attributes,
        },
        Resp::Error(text) => Frame3::SimpleError { data: line(text).into(), attributes },
        #[expect(clippy::cast_precision_loss, reason = "no score is beyond 2^53")]
        Resp::Score(score) => Frame3::Double { data: *score as f64, attributes },
        Resp::Push(items) => {
            Frame3::Push { data: items.iter().map(to_frame3).collect(), attributes }
        }
        Resp::Array(items) | Resp::Several(items) => {
            Frame3::Array { data: items.iter().map(to_frame3).collect(), attributes }
        }
        // The library keeps maps in no order, and the order in which a server answers is of no
        // meaning either.
        Resp::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| (to_frame3(key), to_frame3(value)));
            Frame3::Map { data: pairs.collect(), attributes }
        }
    }
}

/// A text on one line.
fn line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    #[test]
    fn commands_are_taken_one_by_one_and_in_full() {
        let mut buffer = buffer(b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nPING  \r\n*1\r\n$4\r\nPI");
        let first = take_command(&mut buffer).unwrap().unwrap();
        assert_eq!(first, ["ECHO", "hi"]);
        assert_eq!(take_command(&mut buffer).unwrap().unwrap(), ["PING"]);
        assert!(take_command(&mut buffer).unwrap().is_none());
        buffer.extend_from_slice(b"NG\r\n");
        assert_eq!(take_command(&mut buffer).unwrap().unwrap(), ["PING"]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        assert!(take_command(&mut buffer(b"*1\r\n:1\r\n")).is_err());
    }

    #[test]
    fn replies_are_written_in_both_protocols() {
        let reply =
            Resp::Map(vec![(Resp::bulk("proto"), Resp::Array(vec![Resp::Nil, Resp::Int(3)]))]);
        let (mut two, mut three) = (BytesMut::new(), BytesMut::new());
        put_reply(&reply, Protocol::Resp2, &mut two).unwrap();
        put_reply(&reply, Protocol::Resp3, &mut three).unwrap();
        assert_eq!(two, &b"*2\r\n$5\r\nproto\r\n*2\r\n$-1\r\n:3\r\n"[..]);
        assert_eq!(three, &b"%1\r\n$5\r\nproto\r\n*2\r\n_\r\n:3\r\n"[..]);
    }
}
