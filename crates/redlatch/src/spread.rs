//! Spreading renewals over time. Locks that were acquired together would be renewed together ever after:
//! a client that holds a thousand sends all of it at once, three times in a ttl.

use std::time::Duration;

use redlatch_core::{Config, Instant, Lease};

/// Below this, all at once is not much.
pub(crate) const CROWD: usize = 16;
/// Into how many parts the time between two renewals is divided. Those that fall into the same one are
/// renewed at the same instant, so that they go to each node in one piece.
const SLOTS: u64 = 64;

/// When to renew a lease for the first time, if it is to be renewed at all: at a random one of the
/// instants at which others are renewed as well, before the machine does it by itself. From then on it
/// keeps its place.
pub(crate) fn first_renewal(config: &Config, now: Instant, lease: &Lease) -> Option<Instant> {
    config.renewal()?;
    // The machine renews when a third of the validity is used up.
    let third = u64::try_from(config.validity().as_nanos() / 3).ok()?;
    let slot = (third / SLOTS).max(1);
    // One slot less than there are: the next multiple is up to a slot away.
    // The locks of one client share the first half of their nonces.
    let [.., drawn] = lease.token.nonce();
    let number = u64::from(drawn) % (SLOTS - 1);
    let at = now.as_nanos().checked_add(number * slot)?;
    let at = at.checked_next_multiple_of(slot)?;
    (at < now.as_nanos() + third).then(|| Instant::ZERO.saturating_add(Duration::from_nanos(at)))
}

#[cfg(test)]
mod tests {
    use redlatch_core::{Quorum, Renewal, Token, Ttl};

    use super::*;

    fn config() -> Config {
        let ttl = Ttl::new(Duration::from_secs(10)).unwrap();
        Config::new(Quorum::of(5).unwrap(), ttl).unwrap()
    }

    fn renewed() -> Config {
        config().with_renewal(Renewal::up_to(Duration::from_secs(60)))
    }

    fn lease(number: u8) -> Lease {
        let valid_until = Instant::ZERO.saturating_add(Duration::from_secs(10));
        Lease { token: Token::new(u128::from(number).to_be_bytes(), 1), fence: None, valid_until }
    }

    #[test]
    fn a_lock_that_is_not_renewed_is_not_renewed_early() {
        assert_eq!(first_renewal(&config(), Instant::ZERO, &lease(1)), None);
    }

    #[test]
    fn locks_of_one_instant_are_renewed_all_over_a_third_of_the_validity_and_no_later() {
        let config = renewed();
        let now = Instant::ZERO.saturating_add(Duration::from_millis(1234));
        let mut times: Vec<_> = (0..=u8::MAX)
            .filter_map(|number| first_renewal(&config, now, &lease(number)))
            .map(|at| at.saturating_duration_since(now))
            .collect();
        times.sort_unstable();
        let third = config.validity() / 3;
        assert!(times.first() < Some(&(third / 32)) && times.last() > Some(&(third * 30 / 32)));
        assert!(times.iter().all(|time| *time < third), "the machine is not late");
        times.dedup();
        assert!((60..=64).contains(&times.len()), "{} instants", times.len());
    }

    #[test]
    fn locks_of_two_instants_are_renewed_at_the_same_ones() {
        let config = renewed();
        let slot = config.validity().as_nanos() as u64 / 3 / SLOTS;
        for micros in [0, 400, 50_000] {
            let now = Instant::ZERO.saturating_add(Duration::from_micros(micros));
            let at = first_renewal(&config, now, &lease(7)).unwrap();
            assert_eq!(at.as_nanos() % slot, 0);
        }
    }
}
