//! A span for each lock and events within it for `tracing`, if the feature of that name is on. Names
//! of resources and nodes are told, tokens and credentials never.

#[cfg(feature = "tracing")]
mod on {
    use redlatch_core::Event;
    use tracing::Instrument;

    use crate::failure::Failure;
    use crate::finding::Finding;
    use crate::options::Resources;

    /// Puts all that happens to one lock into a span.
    pub(crate) fn in_span<F: Future>(
        resources: &Resources,
        carried: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        carried.instrument(tracing::debug_span!(parent: None, "lock", resource = %resources))
    }

    pub(crate) fn event(event: &Event) {
        match event {
            Event::Granted(lease) => {
                let fence = lease.fence.map(redlatch_core::Fence::get);
                tracing::debug!(fence, "granted");
            }
            Event::Retrying { cause, .. } => tracing::debug!(?cause, "retrying"),
            Event::Failed { cause, .. } => tracing::debug!(?cause, "not acquired"),
            Event::Extended(_) => tracing::trace!("extended"),
            Event::AtRisk { .. } => tracing::warn!("an extension missed its majority"),
            Event::Lost { loss, .. } => tracing::warn!(?loss, "lost"),
            Event::Released(released) => tracing::debug!(?released, "released"),
        }
    }

    pub(crate) fn connected(node: &str) {
        tracing::debug!(node, "connected");
    }

    pub(crate) fn not_connected(node: &str, error: &Failure) {
        tracing::warn!(node, %error, "not connected");
    }

    pub(crate) fn found(finding: &Finding) {
        let (node, remedy) = (finding.node.as_deref(), finding.problem.remedy());
        tracing::warn!(node, remedy, "{}", finding.problem);
    }
}

#[cfg(feature = "tracing")]
pub(crate) use on::{connected, event, found, in_span, not_connected};

#[cfg(not(feature = "tracing"))]
mod off {
    use redlatch_core::Event;

    use crate::failure::Failure;
    use crate::finding::Finding;
    use crate::options::Resources;

    pub(crate) fn in_span<F: Future>(_: &Resources, carried: F) -> F {
        carried
    }

    pub(crate) fn event(_: &Event) {}
    pub(crate) fn connected(_: &str) {}
    pub(crate) fn not_connected(_: &str, _: &Failure) {}
    pub(crate) fn found(_: &Finding) {}
}

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{connected, event, found, in_span, not_connected};
