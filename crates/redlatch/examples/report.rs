//! Takes a lock on the nodes that `REDLATCH_NODES` names, twice.

use redlatch::{Options, Redlatch};
use std::time::Duration;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    report(&std::env::var("REDLATCH_NODES")?).await
}

pub(crate) async fn report(nodes: &str) -> Result<(), Error> {
    let redlatch = Redlatch::new(nodes.split(','))?;
    let ttl = Duration::from_secs(30);

    // Renewed while the work goes on, stopped if the lock is lost, released in any case.
    redlatch
        .using("report", Options::new(ttl), async |lease| {
            println!("writing with fence {:?}", lease.fence());
        })
        .await?;

    // Or step by step.
    let guard = redlatch.acquire("report", ttl).await?;
    println!("fence {:?}, good for {:?}", guard.fence(), guard.remaining());
    guard.release().await?;

    redlatch.shutdown().await;
    Ok(())
}
