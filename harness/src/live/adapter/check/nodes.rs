//! What the nodes have under a key, asked directly.

use std::time::Duration;

use redis::{Client, Connection, RedisError};

/// How long a server may take, to connect or to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Nodes(Vec<Connection>);

/// What a node says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Absent,
    Forever,
    For(Duration),
}

impl Nodes {
    pub(super) fn connect(urls: &[String]) -> Result<Self, (usize, RedisError)> {
        let connect = |(index, url): (usize, &String)| {
            let connected = Client::open(url.as_str()).and_then(|client| {
                let connection = client.get_connection_with_timeout(PATIENCE)?;
                connection.set_read_timeout(Some(PATIENCE))?;
                Ok(connection)
            });
            connected.map_err(|error| (index, error))
        };
        urls.iter().enumerate().map(connect).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// What each node has under `key` now.
    pub(super) fn look(&mut self, key: &str) -> Result<Vec<Key>, (usize, RedisError)> {
        let ask = |(index, connection): (usize, &mut Connection)| {
            let remaining: Result<i64, _> = redis::cmd("PTTL").arg(key).query(connection);
            match remaining {
                Ok(-2) => Ok(Key::Absent),
                Ok(-1) => Ok(Key::Forever),
                Ok(ms) => Ok(Key::For(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))),
                Err(error) => Err((index, error)),
            }
        };
        self.0.iter_mut().enumerate().map(ask).collect()
    }
}
