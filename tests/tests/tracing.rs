//! What subscribers of `tracing` are told: what happened to which lock, and no secret.

#![expect(clippy::unwrap_used, reason = "a log that cannot be read fails the test")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redlatch::Redlatch;
use redlatch_tests::{Cluster, Owner, eventually, unique_resource};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_life_of_a_lock_is_told_in_its_span_and_its_token_is_not() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let cluster = Cluster::start(3);
    let redlatch = Redlatch::new(cluster.urls()).unwrap();
    let resource = unique_resource("traced");
    let guard = redlatch.acquire(&resource, Duration::from_secs(60)).await.unwrap();
    let is_taken = async || cluster[0].owner_of(&resource) != Owner::Nobody;
    eventually("the first node is asked", is_taken).await;
    let Owner::Token(token) = cluster[0].owner_of(&resource) else { panic!("nobody has it") };
    guard.extend().await.unwrap();
    guard.release().await.unwrap();
    redlatch.shutdown().await;

    eventually("the release is told", async || log.text().contains("released")).await;
    let text = log.text();
    for news in ["connected", "granted", "extended", "released"] {
        let line =
            text.lines().find(|line| line.contains(news)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(&resource) || news == "connected", "{line}");
    }
    assert!(!text.contains(&token[..32]), "the token is told");
}
