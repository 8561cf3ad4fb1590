//! What a lock may be configured with: if it exists it is legal, and an error says what to do.

use std::time::Duration;

use redlatch_core::{Config, ConfigError, Drift, Event, Instant, Quorum, Ttl};

use crate::support::*;

/// R2: with any configuration that exists, a lock can be granted.
#[test]
fn every_configuration_allows_a_grant() {
    for ttl in [4, 5, 10, 100, 1_000, 86_400_000] {
        let ttl = Ttl::from_millis(ttl).unwrap();
        for nodes in [1, 2, 16] {
            let config = Config::new(Quorum::of(nodes).unwrap(), ttl).unwrap();
            let most = config.validity().saturating_sub(Duration::from_nanos(1));
            let mut rig = Rig::new(config.with_validity_min(most).unwrap());
            rig.acquire();
            rig.answers(0..=nodes / 2, YES);
            assert!(matches!(rig.event(), Some(Event::Granted(_))), "{nodes} nodes, {ttl:?}");
            assert!(config.with_validity_min(config.validity()).is_err());
        }
    }
}

/// R1: drift may not eat up the ttl.
#[test]
fn a_ttl_that_drift_eats_up_is_refused() {
    let quorum = Quorum::of(3).unwrap();
    for ttl in [1, 2] {
        let error = Config::new(quorum, Ttl::from_millis(ttl).unwrap()).unwrap_err();
        assert!(matches!(error, ConfigError::TtlTooShort { .. }));
        assert!(error.to_string().contains("ask for a longer ttl"), "{error}");
    }
    let half = Drift::from_ppm(500_000).unwrap();
    assert_eq!(Drift::from_ppm(500_001), None);
    assert_eq!(config(3).with_drift(half).unwrap().validity(), millis(498));
    let error = config(3).with_validity_min(millis(500)).unwrap().with_drift(half).unwrap_err();
    assert!(matches!(error, ConfigError::TtlTooShort { .. }), "checked in any order");
}

/// R9: a node needs time to answer; by default a tenth of the ttl, from 50 ms to 500 ms.
#[test]
fn a_node_has_time_to_answer() {
    let error = config(3).with_node_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(error, ConfigError::NodeTimeoutZero);
    assert!(error.to_string().contains("nodes need time to answer"), "{error}");
    for (ttl, timeout) in [(100, 50), (500, 50), (2_000, 200), (5_000, 500), (60_000, 500)] {
        let config = Config::new(config(3).quorum(), Ttl::from_millis(ttl).unwrap()).unwrap();
        assert_eq!(config.node_timeout(), millis(timeout), "of {ttl} ms");
    }
}

/// R8: from 1 to 16 nodes.
#[test]
fn a_number_of_nodes_that_cannot_vote_is_refused() {
    for nodes in [0, 17, usize::MAX] {
        let error = Quorum::of(nodes).unwrap_err().to_string();
        assert!(error.contains("1 to 16") && error.contains(&nodes.to_string()), "{error}");
    }
}

#[test]
fn a_ttl_is_whole_milliseconds_up_to_a_day() {
    for illegal in [
        Duration::ZERO,
        Duration::from_micros(999),
        Duration::from_micros(1_500),
        Duration::from_millis(86_400_001),
        Duration::MAX,
    ] {
        let error = Ttl::new(illegal).unwrap_err().to_string();
        assert!(error.contains("it must be 1 ms to 24 h, in whole milliseconds"), "{error}");
    }
    assert_eq!(Ttl::MAX.as_duration(), Duration::from_secs(24 * 60 * 60));
    assert!(Ttl::from_millis(u64::MAX).is_err());
}

/// R17: time is counted for 584 years, and ends there.
#[test]
fn durations_are_counted_up_to_the_end_of_time() {
    let after = |seconds| Instant::ZERO.saturating_add(Duration::from_secs(seconds)).as_nanos();
    assert_eq!(after(1_000_000_000), 1_000_000_000_000_000_000);
    assert_eq!(after(u64::MAX), u64::MAX);
}
