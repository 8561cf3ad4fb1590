//! What recorders of the `metrics` facade are told, on real servers, and what is made of it: the table
//! of the guide, the dashboard for Grafana, and the queries that it sends to Prometheus.

#[path = "../native/mod.rs"]
#[expect(dead_code, reason = "other tests share more of it")]
mod native;

mod dashboard;
mod events;
mod exposition;
mod guide;
mod prometheus;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use redlatch::{BuildError, Builder, Redlatch};

use exposition::Exposition;

/// A recorder that only the clients built with it report to.
pub(crate) struct Recorder {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(&redlatch::metrics::BUCKETS);
        let recorder = builder.expect("bounds of buckets").build_recorder();
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    pub(crate) fn build(&self, builder: Builder) -> Result<Redlatch, BuildError> {
        metrics::with_local_recorder(&self.recorder, || builder.build())
    }

    /// What a scrape would get at this moment.
    pub(crate) fn scrape(&self) -> Exposition {
        Exposition(self.handle.render())
    }
}
