//! A lock that is broken on purpose: one node is enough for it, and it deletes keys without looking whose they are.
//!
//! As long as nothing fails, nobody notices. The harness has to.

use std::time::{Duration, Instant};

use redis::{Client as Node, Cmd, Connection, FromRedisValue, RedisResult};
use redlatch_adapters::{Client, Events, Failure, Granted, Options, serve};

/// How long one node may take.
const NODE_TIMEOUT: Duration = Duration::from_millis(50);
/// The pause between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(50);

struct Toy(Vec<(Node, Option<Connection>)>);

impl Client for Toy {
    type Lock = String;
    const NAME: &'static str = "toy";
    const CAPS: &'static [&'static str] = &[];

    fn start(nodes: Vec<String>, _options: &Options) -> Result<Self, Failure> {
        let nodes = nodes.into_iter().map(|url| Ok((Node::open(url)?, None)));
        nodes
            .collect::<RedisResult<_>>()
            .map(Self)
            .map_err(|error| Failure::definite("other", error))
    }

    async fn acquire(
        &mut self,
        resource: &str,
        ttl: Duration,
        wait: Duration,
        _events: Events,
    ) -> Result<Granted<String>, Failure> {
        let until = Instant::now() + wait;
        let mut set = redis::cmd("SET");
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        set.arg(resource).arg("toy").arg("NX").arg("PX").arg(ttl_ms);
        loop {
            let begin = Instant::now();
            // The first node that answers decides, and the others are only told.
            let mut answers = self.0.iter_mut().filter_map(|node| ask::<bool>(node, &set).ok());
            match answers.next() {
                Some(true) => {
                    answers.for_each(drop);
                    let valid = ttl.saturating_sub(begin.elapsed());
                    return Ok(Granted { lock: resource.into(), valid, fence: None });
                }
                None => return Err(Failure::unsure("unavailable", "no node answers")),
                Some(false) if Instant::now() >= until => {
                    return Err(Failure::unsure("contended", "the lock is taken"));
                }
                Some(false) => tokio::time::sleep(RETRY_DELAY).await,
            }
        }
    }

    async fn release(&mut self, resource: String) -> Result<(), Failure> {
        let mut del = redis::cmd("DEL");
        del.arg(resource);
        self.0.iter_mut().for_each(|node| drop(ask::<u64>(node, &del)));
        Ok(())
    }
}

fn ask<T: FromRedisValue>(
    (node, kept): &mut (Node, Option<Connection>),
    cmd: &Cmd,
) -> RedisResult<T> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => node.get_connection_with_timeout(NODE_TIMEOUT)?,
    };
    connection.set_read_timeout(Some(NODE_TIMEOUT))?;
    let answer = cmd.query(&mut connection)?;
    *kept = Some(connection);
    Ok(answer)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    serve::<Toy>().await;
}
