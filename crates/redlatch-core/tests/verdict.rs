//! `Quorum::verdict` against a version that is obviously correct because it tries everything (R5, R8).

use redlatch_core::{NODES_MAX, NodeId, NodeSet, Quorum, Tally, Verdict};

/// What a node has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Applied,
    Refused,
    Unknown,
    Quarantined,
    Nothing,
}

const SAID: [Said; 5] =
    [Said::Applied, Said::Refused, Said::Unknown, Said::Quarantined, Said::Nothing];

/// Won if a majority applied; lost if the silent nodes cannot change that it did not, whichever of them
/// apply in the end; otherwise pending.
fn slow_verdict(said: &[Said]) -> Verdict {
    let is_majority = |applied: usize| 2 * applied > said.len();
    let applied = said.iter().filter(|&&said| said == Said::Applied).count();
    let silent = said.iter().filter(|&&said| said == Said::Nothing).count();
    // Each bit is one silent node, and whether it applies in the end.
    let mut completions = 0..1_u32 << silent;
    if is_majority(applied) {
        Verdict::Won
    } else if completions.any(|applying| is_majority(applied + applying.count_ones() as usize)) {
        Verdict::Pending
    } else {
        Verdict::Lost
    }
}

fn verdict(said: &[Said]) -> Verdict {
    let who = |what: &[Said]| -> NodeSet {
        let nodes = said.iter().enumerate().filter(|(_, said)| what.contains(said));
        nodes.filter_map(|(index, _)| NodeId::new(index)).collect()
    };
    let tally = Tally {
        applied: who(&[Said::Applied]),
        refused: who(&[Said::Refused]),
        unknown: who(&[Said::Unknown, Said::Quarantined]),
        quarantined: who(&[Said::Quarantined]),
    };
    Quorum::of(said.len()).expect("1 to 16 nodes").verdict(&tally)
}

#[test]
fn every_split_of_1_to_16_nodes_is_decided_as_soon_as_arithmetic_permits() {
    let mut splits = 0;
    for nodes in 1..=NODES_MAX {
        for applied in 0..=nodes {
            for refused in 0..=nodes - applied {
                for unknown in 0..=nodes - applied - refused {
                    let mut said = [Said::Nothing; NODES_MAX];
                    said[..applied].fill(Said::Applied);
                    said[applied..][..refused].fill(Said::Refused);
                    said[applied + refused..][..unknown].fill(Said::Unknown);
                    let said = &said[..nodes];
                    assert_eq!(verdict(said), slow_verdict(said), "{said:?}");
                    splits += 1;
                }
            }
        }
    }
    // Compositions of n into 4 parts, C(n + 3, 3), for n from 1 to 16.
    assert_eq!(splits, 4_844);
}

#[test]
fn it_matters_how_many_said_what_and_not_who() {
    for nodes in 1..=6 {
        for number in 0..SAID.len().pow(nodes) {
            let said: Vec<_> =
                (0..nodes).map(|node| SAID[number / 5_usize.pow(node) % 5]).collect();
            assert_eq!(verdict(&said), slow_verdict(&said), "{said:?}");
        }
    }
}

#[test]
fn a_tie_is_lost() {
    for nodes in (2..=NODES_MAX).step_by(2) {
        for other in [Said::Refused, Said::Unknown, Said::Quarantined] {
            let mut said = vec![Said::Applied; nodes];
            said[nodes / 2..].fill(other);
            assert_eq!(verdict(&said), Verdict::Lost, "{said:?}");
            said[nodes / 2] = Said::Nothing;
            assert_eq!(verdict(&said), Verdict::Pending, "{said:?}");
            said[nodes / 2] = Said::Applied;
            assert_eq!(verdict(&said), Verdict::Won, "{said:?}");
        }
    }
}

#[test]
fn unknown_is_not_a_vote() {
    for nodes in 1..=NODES_MAX {
        let said = vec![Said::Unknown; nodes];
        assert_eq!(verdict(&said), Verdict::Lost);
    }
}

/// The canary: a checker that counts unknown as silence must disagree with the verdict somewhere.
#[test]
fn the_slow_version_can_tell_a_wrong_verdict() {
    let said = [Said::Applied, Said::Unknown, Said::Unknown];
    let hopeful = said.map(|said| if said == Said::Unknown { Said::Nothing } else { said });
    assert_ne!(slow_verdict(&hopeful), verdict(&said));
}

#[test]
fn a_set_of_nodes_has_each_of_them_once_and_is_shown_by_their_names() {
    let set = |nodes: &[usize]| -> NodeSet {
        nodes.iter().filter_map(|index| NodeId::new(*index)).collect()
    };
    let both = set(&[0, 1]).union(set(&[1, 15]));
    assert_eq!(both, set(&[15, 1, 0]));
    assert_eq!(
        format!("{both:?}"),
        format!("{:?}", both.iter().collect::<std::collections::BTreeSet<_>>())
    );
}
