//! One connection to a real server, over which every byte is compared, with no client library between.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;

use crate::redis::codec;
use crate::redis::flavour::Flavour;
use crate::redis::resp::Resp;

use super::steps::Step;

/// Longer than any command of ours takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who we are for the server.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The user, if not the default one.
    pub user: Option<String>,
    /// The password, if the server wants one.
    pub password: Option<String>,
}

pub(super) struct Server {
    stream: TcpStream,
    buffer: BytesMut,
    info: String,
}

impl Server {
    pub(super) fn connect(address: SocketAddr, login: &Login) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut server = Self { stream, buffer: BytesMut::new(), info: String::new() };
        if let Some(password) = &login.password {
            let user = login.user.as_deref().unwrap_or("default");
            server.must(&["AUTH", user, password])?;
        }
        let reply = server.must(&["INFO", "server"])?;
        let Resp::Bulk(info) = reply else {
            return Err(io::Error::other(format!("INFO answered {reply:?}")));
        };
        server.info = String::from_utf8_lossy(&info).into_owned();
        Ok(server)
    }

    pub(super) fn version(&self) -> &str {
        self.field("valkey_version:").or_else(|| self.field("redis_version:")).unwrap_or("unknown")
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.info.lines().find_map(|line| line.strip_prefix(name))
    }

    /// The flavour whose commands the server has.
    pub(super) fn flavour(&mut self) -> io::Result<Flavour> {
        let mut has = |words: &[&str]| -> io::Result<bool> {
            let reply = self.ask(words)?;
            Ok(!matches!(reply, Resp::Error(text) if text.starts_with(b"ERR unknown command")))
        };
        Ok(if has(&["DELIFEQ", "redlatch", "0"])? {
            Flavour::Valkey9
        } else if has(&["DELEX", "redlatch"])? {
            Flavour::Redis8
        } else {
            Flavour::Redis7
        })
    }

    pub(super) fn is_empty(&mut self) -> io::Result<bool> {
        let reply = self.must(&["INFO", "keyspace"])?;
        Ok(!matches!(reply, Resp::Bulk(text) if String::from_utf8_lossy(&text).contains("\ndb")))
    }

    /// Brings the server and the connection back to the beginning.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        for words in [&["SELECT", "0"][..], &["FLUSHALL"], &["SCRIPT", "FLUSH"]] {
            self.must(words)?;
        }
        Ok(())
    }

    /// Subscribes: from now on there is nothing on this connection but messages, and what they are asked
    /// for with.
    pub(super) fn listen(&mut self, channel: &str) -> io::Result<()> {
        self.must(&["SUBSCRIBE", channel]).map(drop)
    }

    /// What was published since this was last asked: all that comes before the answer to a ping.
    pub(super) fn heard(&mut self) -> io::Result<Vec<Resp>> {
        let mut out = BytesMut::new();
        put(&["PING"], &mut out)?;
        self.stream.write_all(&out)?;
        let pong = Resp::Array(vec![Resp::bulk("pong"), Resp::bulk("")]);
        let mut heard = Vec::new();
        loop {
            match self.reply()? {
                reply if reply == pong => return Ok(heard),
                reply => heard.push(reply),
            }
        }
    }

    /// Carries out one command and tells between which microseconds of its wall clock it did.
    pub(super) fn run(&mut self, step: &Step) -> io::Result<(Resp, u64, u64)> {
        if step.is_alone {
            let first = self.time_us()?;
            let reply = self.ask(&step.args)?;
            return Ok((reply, first, self.time_us()?));
        }
        let mut out = BytesMut::new();
        put(&["MULTI"], &mut out)?;
        put(&["TIME"], &mut out)?;
        put(&step.args, &mut out)?;
        put(&["TIME"], &mut out)?;
        put(&["EXEC"], &mut out)?;
        self.stream.write_all(&out)?;
        let (_multi, _time, queued) = (self.reply()?, self.reply()?, self.reply()?);
        let (_time, executed) = (self.reply()?, self.reply()?);
        match (queued, executed) {
            (Resp::Simple(_), Resp::Array(replies)) => {
                let replies: Result<[Resp; 3], _> = replies.try_into();
                let [first, reply, last] = replies
                    .map_err(|other| io::Error::other(format!("EXEC answered {other:?}")))?;
                Ok((reply, micros(&first)?, micros(&last)?))
            }
            // It was refused before it was carried out, so the time is of no matter.
            (error @ Resp::Error(_), _) => {
                let now = self.time_us()?;
                Ok((error, now, now))
            }
            (queued, executed) => {
                Err(io::Error::other(format!("MULTI and EXEC answered {queued:?}, {executed:?}")))
            }
        }
    }

    pub(super) fn time_us(&mut self) -> io::Result<u64> {
        let time = self.must(&["TIME"])?;
        micros(&time)
    }

    fn must(&mut self, words: &[&str]) -> io::Result<Resp> {
        let reply = self.ask(words)?;
        let Resp::Error(text) = &reply else { return Ok(reply) };
        let text = String::from_utf8_lossy(text);
        Err(io::Error::other(format!("{} answered {text}", words[0])))
    }

    fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> io::Result<Resp> {
        let mut out = BytesMut::new();
        put(words, &mut out)?;
        self.stream.write_all(&out)?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Resp> {
        loop {
            if let Some(reply) = codec::take_reply(&mut self.buffer).map_err(io::Error::other)? {
                return Ok(reply);
            }
            let mut chunk = [0; 16 * 1024];
            let len = self.stream.read(&mut chunk)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&chunk[..len]);
        }
    }
}

fn put<A: AsRef<[u8]>>(words: &[A], out: &mut BytesMut) -> io::Result<()> {
    codec::put_command(words, out).map_err(io::Error::other)
}

fn micros(time: &Resp) -> io::Result<u64> {
    let part = |part: &Resp| match part {
        Resp::Bulk(text) => std::str::from_utf8(text).ok()?.parse::<u64>().ok(),
        Resp::Nil
        | Resp::Int(_)
        | Resp::Simple(_)
        | Resp::Verbatim(_)
        | Resp::Score(_)
        | Resp::Array(_)
        | Resp::Push(_)
        | Resp::Several(_)
        | Resp::Map(_)
        | Resp::Error(_) => None,
    };
    match time {
        Resp::Array(parts) => match parts.as_slice() {
            [seconds, micros] => part(seconds).zip(part(micros)).map(|(s, us)| s * 1_000_000 + us),
            [..] => None,
        },
        Resp::Nil
        | Resp::Int(_)
        | Resp::Simple(_)
        | Resp::Bulk(_)
        | Resp::Verbatim(_)
        | Resp::Score(_)
        | Resp::Push(_)
        | Resp::Several(_)
        | Resp::Map(_)
        | Resp::Error(_) => None,
    }
    .ok_or_else(|| io::Error::other(format!("TIME answered {time:?}")))
}
