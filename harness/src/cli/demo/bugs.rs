//! Bugs to plant, so that one can see them caught.

use redlatch_core::wire;
use redlatch_harness::embedded::Cluster;

/// A bug in what the nodes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bug {
    /// Release deletes the key, whoever's it is
    BlindRelease,
    /// Acquire takes the key, whoever's it is
    BlindAcquire,
    /// Every grant gets the same fence
    SameFence,
    /// Release says yes and deletes nothing
    IdleRelease,
}

impl Bug {
    /// As it is written on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::BlindRelease => "blind-release",
            Self::BlindAcquire => "blind-acquire",
            Self::SameFence => "same-fence",
            Self::IdleRelease => "idle-release",
        }
    }

    /// Plants it in every node.
    pub(super) fn plant(self, cluster: &Cluster) {
        let (script, text) = match self {
            Self::BlindRelease => (
                wire::RELEASE,
                "for i = 1, #KEYS do redis.call('DEL', KEYS[i]) end return {1}".to_owned(),
            ),
            Self::BlindAcquire => (
                wire::ACQUIRE,
                wire::ACQUIRE
                    .text
                    .replace("elseif held and held ~= heir then", "elseif false then"),
            ),
            Self::SameFence => {
                (wire::ACQUIRE, wire::ACQUIRE.text.replace("return {1, top}", "return {1, 7}"))
            }
            Self::IdleRelease => (wire::RELEASE, "return {1}".to_owned()),
        };
        for node in cluster {
            node.change_redis(|redis, _| redis.replace_script(script.sha1, &text));
        }
    }
}
