//! The nodes of a run: their faults, and what they saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis::Connection;
use redlatch_harness::live::node::{Backend, Keep, Node, Processes};

use crate::record::Seen;
use crate::scenario::{NODES, Scenario};

/// How long a node may take to answer us.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what is in the air may take to arrive once all is well again.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);
/// How often a node is asked how many calls it got.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// What a client may leave: a lock of these names.
const LOCKS: [&str; 2] = ["bench:", "redlock:bench:"];

/// Five servers.
pub struct Arena {
    nodes: Vec<Arc<dyn Node>>,
}

impl Arena {
    /// Starts them.
    pub fn start() -> Result<Self, String> {
        let nodes = Processes::new().without_clocks().start(NODES);
        Ok(Self { nodes: nodes.map_err(|error| error.to_string())? })
    }

    /// Where they are.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url()).collect()
    }

    /// `redis_version` and the like, of the first.
    pub fn server(&self) -> String {
        let info = ask::<String>(&self.nodes[0], &["INFO", "server"]).unwrap_or_default();
        field(&info, "redis_version").map_or_else(|| "unknown".to_owned(), str::to_owned)
    }

    /// Makes the last nodes as unwell as the scenario wants them.
    pub fn harm(&self, scenario: &Scenario) -> Result<(), String> {
        let last = self.nodes.iter().rev();
        for node in last.clone().take(scenario.hung) {
            node.pause().map_err(|error| error.to_string())?;
        }
        for node in last.take(scenario.down) {
            node.kill().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Makes all nodes well.
    pub fn heal(&self, scenario: &Scenario) -> Result<(), String> {
        let last = self.nodes.iter().rev();
        for node in last.clone().take(scenario.hung) {
            node.resume().map_err(|error| error.to_string())?;
        }
        for node in last.take(scenario.down) {
            node.start(Keep::Nothing).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Counts the locks that are left, and empties all nodes.
    pub fn clear(&self) -> Result<u64, String> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let mut left = self.locks()?;
        while left > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            left = self.locks()?;
        }
        for node in &self.nodes {
            ask::<()>(node, &["FLUSHALL"])?;
        }
        Ok(left)
    }

    fn locks(&self) -> Result<u64, String> {
        let mut left = 0;
        for node in &self.nodes {
            let keys: Vec<String> = ask(node, &["KEYS", "*"])?;
            left +=
                keys.iter().filter(|key| LOCKS.iter().any(|lock| key.starts_with(lock))).count();
        }
        Ok(left as u64)
    }

    /// Begins to look at the nodes that answer, without those that `scenario` has harmed.
    pub fn look(&self, scenario: &Scenario) -> Result<Look, String> {
        let well = NODES - scenario.hung - scenario.down;
        let nodes = self.nodes[..well].to_vec();
        for node in &nodes {
            ask::<()>(node, &["CONFIG", "RESETSTAT"])?;
        }
        let before = nodes.iter().map(cpu_us).sum::<Result<f64, String>>()?;
        Ok(Look { sampler: Sampler::start(&nodes[0])?, nodes, before })
    }
}

/// What is asked of the nodes during one phase.
pub struct Look {
    nodes: Vec<Arc<dyn Node>>,
    before: f64,
    sampler: Sampler,
}

impl Look {
    /// What they saw since then.
    pub fn end(self) -> Result<Seen, String> {
        let peak = self.sampler.end();
        let count = self.nodes.len() as f64;
        let mut seen = Seen { peak, ..Seen::default() };
        for node in &self.nodes {
            let info = ask::<String>(node, &["INFO", "commandstats"])?;
            for (command, calls) in calls(&info) {
                *seen.calls.entry(command).or_default() += calls / count;
            }
            let info = ask::<String>(node, &["INFO", "stats"])?;
            seen.reads += number(&info, "total_reads_processed") / count;
        }
        let after = self.nodes.iter().map(cpu_us).sum::<Result<f64, String>>()?;
        seen.cpu_us = (after - self.before) / count;
        // Our own questions.
        for ours in ["info", "config|resetstat", "client|setinfo"] {
            seen.calls.remove(ours);
        }
        Ok(seen)
    }
}

/// Counts a node's scripts every tenth of a second.
struct Sampler {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
}

impl Sampler {
    fn start(node: &Arc<dyn Node>) -> Result<Self, String> {
        let mut connection = connect(node)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let info = redis::cmd("INFO").arg("commandstats").query::<String>(&mut connection);
                samples.push(
                    info.map_or(0.0, |info| {
                        calls(&info).get("evalsha").copied().unwrap_or_default()
                    }),
                );
                thread::sleep(SAMPLE_EVERY);
            }
            samples
        });
        Ok(Self { is_over, thread })
    }

    /// The busiest tenth of a second, as a multiple of the average one.
    fn end(self) -> Option<f64> {
        self.is_over.store(true, Ordering::Relaxed);
        peak(&self.thread.join().unwrap_or_default())
    }
}

/// The largest step of a counter, as a multiple of the average step.
fn peak(samples: &[f64]) -> Option<f64> {
    let steps: Vec<_> = samples.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = steps.iter().sum::<f64>() / steps.len() as f64;
    let most = steps.iter().copied().fold(0.0, f64::max);
    (mean > 0.0).then(|| most / mean)
}

fn connect(node: &Arc<dyn Node>) -> Result<Connection, String> {
    let client = redis::Client::open(node.url()).map_err(|error| error.to_string())?;
    client.get_connection_with_timeout(PATIENCE).map_err(|error| error.to_string())
}

fn ask<T: redis::FromRedisValue>(node: &Arc<dyn Node>, words: &[&str]) -> Result<T, String> {
    let mut connection = connect(node)?;
    let mut command = redis::Cmd::new();
    command.arg(words);
    command.query(&mut connection).map_err(|error| format!("{}: {error}", node.name()))
}

fn cpu_us(node: &Arc<dyn Node>) -> Result<f64, String> {
    let info = ask::<String>(node, &["INFO", "cpu"])?;
    Ok((number(&info, "used_cpu_user") + number(&info, "used_cpu_sys")) * 1e6)
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn number(info: &str, name: &str) -> f64 {
    field(info, name).and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

/// `cmdstat_set:calls=3,usec=…`, for each command.
fn calls(info: &str) -> BTreeMap<String, f64> {
    let stats = info.lines().filter_map(|line| {
        let (command, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((command.to_owned(), stats.split(',').next()?.parse().ok()?))
    });
    stats.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_what_a_server_tells() {
        let info = "# Commandstats\r\ncmdstat_set:calls=3,usec=9,usec_per_call=3.00\r\ncmdstat_config|resetstat:calls=1,usec=2\r\n";
        let calls = calls(info);
        assert_eq!(calls["set"], 3.0);
        assert_eq!(calls["config|resetstat"], 1.0);
        assert_eq!(number("a:1\r\nused_cpu_sys:0.25\r\n", "used_cpu_sys"), 0.25);
    }

    #[test]
    fn a_counter_that_stands_still_has_no_peak() {
        assert_eq!(peak(&[0.0, 10.0, 10.0, 20.0, 20.0]), Some(2.0));
        assert_eq!(peak(&[5.0, 5.0]), None);
        assert_eq!(peak(&[]), None);
    }
}
