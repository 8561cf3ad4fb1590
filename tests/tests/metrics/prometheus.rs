//! A real Prometheus scrapes a client, and answers every query of the dashboard.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use redlatch::{Options, Redlatch};
use redlatch_harness::live::process::Process;
use redlatch_harness::port::Port;
use redlatch_tests::{Cluster, eventually, unique_resource};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Recorder;
use crate::dashboard::queries;
use crate::native::ends;

/// A server that has scraped since it started, with a folder of its own.
struct Prometheus {
    port: Port,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    fn start(exporter: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "scrape_configs:\n- job_name: redlatch\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  \
             static_configs:\n  - targets: ['{exporter}']\n"
        );
        fs::write(&config, text).expect("it can be written");
        let port = Port::reserve().expect("a free port");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={}", port.addr()))
            .args(["--log.level=error"])
            .stdin(Stdio::null());
        let process = Process::start(command).unwrap_or_else(|error| {
            panic!("Prometheus does not start; `just setup` installs it: {error}")
        });
        Self { port, _process: process, _folder: folder }
    }

    /// The answer to an instant query; an error while it cannot be asked yet.
    async fn query(&self, query: &str) -> io::Result<Value> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut stream = TcpStream::connect(self.port.addr()).await?;
        let request = format!("GET /api/v1/query?query={escaped} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let body = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?.1;
        Ok(serde_json::from_str(body)?)
    }
}

/// Answers every request with what `recorder` has at that moment.
async fn export(recorder: Recorder, listener: TcpListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).await?;
        let body = recorder.scrape().0;
        let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
    }
}

/// What a panel would show: the values of an answer that has some, none of them no number.
fn values(answer: &Value) -> Option<Vec<f64>> {
    let results = answer["data"]["result"].as_array()?;
    let value = |result: &Value| result["value"][1].as_str()?.parse::<f64>().ok();
    let values: Vec<f64> = results.iter().map(value).collect::<Option<_>>()?;
    (!values.is_empty() && values.iter().all(|value| !value.is_nan())).then_some(values)
}

#[tokio::test]
async fn prometheus_answers_all_that_the_dashboard_asks() {
    let servers = Cluster::start(3);
    let recorder = Recorder::new();
    let builder = servers.urls().into_iter().fold(Redlatch::builder(), |b, url| b.node(url));
    let redlatch = recorder.build(builder).expect("a client");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let prometheus = Prometheus::start(listener.local_addr().expect("an address"));
    let exporter = tokio::spawn(export(recorder, listener));

    // Something happens all the time.
    let work = tokio::spawn({
        let redlatch = redlatch.clone();
        async move {
            loop {
                let options = Options::new(Duration::from_secs(10));
                let guard = redlatch.acquire(unique_resource("scraped"), options).await;
                drop(guard.expect("three nodes").release().await);
            }
        }
    });
    for (title, query) in queries() {
        let query = query.replace("$__rate_interval", "10s").replace("$__range", "1h");
        let query = query.replace("$job", "redlatch");
        let what = format!("{title}: Prometheus has an answer to {query}");
        eventually(&what, async || {
            let Ok(answer) = prometheus.query(&query).await else { return false };
            assert_eq!(answer["status"], "success", "{title}: {query}: {answer}");
            values(&answer).is_some()
        })
        .await;
    }

    // What is shown is what is.
    let not_up = queries().into_iter().find(|(title, _)| title == "Nodes not up");
    let (_, not_up) = not_up.expect("there is such a panel");
    let not_up = not_up.replace("$job", "redlatch");
    let shows = async |count: f64| {
        eventually(&format!("{count} nodes are not up"), async || {
            let answer = prometheus.query(&not_up).await;
            answer.is_ok_and(|answer| values(&answer) == Some(vec![count]))
        })
        .await;
    };
    shows(0.0).await;
    servers[0].kill();
    shows(1.0).await;

    work.abort();
    exporter.abort();
    ends(redlatch.shutdown()).await;
}
