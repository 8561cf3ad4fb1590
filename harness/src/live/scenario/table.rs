//! The table.

use super::{Breaks, Group, Scenario, draw};
use crate::live::node::Ability;
use crate::live::plan::First;

const CALM: Scenario = Scenario {
    name: "calm",
    group: Group::None,
    fault: "nothing happens",
    holds: "everything",
    notice: "that the lock does not lock",
    breaks: Breaks::Nothing,
    needs: &[],
    nodes_min: 1,
    even: false,
    goes_on: true,
    is_outage: false,
    first: First::Alike,
    draw: draw::nothing,
};

/// Every scenario.
pub const SCENARIOS: &[Scenario] = &[
    CALM,
    Scenario {
        name: "node-down",
        group: Group::Node,
        fault: "one node is killed, and comes back with its data",
        holds: "everything; locks are granted meanwhile",
        notice: "every acquire fails, or takes as long as a timeout, while one node is down",
        needs: &[Ability::Process],
        nodes_min: 3,
        draw: draw::node_down,
        ..CALM
    },
    Scenario {
        name: "node-hung",
        group: Group::Node,
        fault: "one node stands still: it accepts connections and bytes, and answers nothing",
        holds: "everything; locks are granted meanwhile",
        notice: "callers wait for a node that will not answer, for ever where there is no timeout",
        needs: &[Ability::Pause],
        nodes_min: 3,
        draw: draw::node_hung,
        ..CALM
    },
    Scenario {
        name: "two-hung",
        group: Group::Node,
        fault: "two of five nodes stand still",
        holds: "everything; locks are granted meanwhile",
        notice: "timeouts add up: a lock is granted when most of its time is over",
        needs: &[Ability::Pause],
        nodes_min: 5,
        draw: draw::two_hung,
        ..CALM
    },
    Scenario {
        name: "partition-minority",
        group: Group::Network,
        fault: "a client that holds a lock is cut off from all nodes but a minority",
        holds: "everything; it hears of its loss in time, and others get the lock after the ttl",
        notice: "a job goes on although its lock has gone to somebody else",
        first: First::Careless,
        nodes_min: 3,
        draw: draw::partition_minority,
        ..CALM
    },
    Scenario {
        name: "partition-majority",
        group: Group::Network,
        fault: "all clients are cut off from a majority of nodes",
        holds: "everything; whatever is asked for ends, with an error that says so",
        notice: "an outage looks like a lock that is taken, or like nothing at all: calls hang",
        goes_on: false,
        is_outage: true,
        draw: draw::partition_majority,
        ..CALM
    },
    Scenario {
        name: "slow-link",
        group: Group::Network,
        fault: "messages to and from two nodes take 20 to 40 ms more",
        holds: "everything",
        notice: "the time that asking takes is not taken off the lock's",
        draw: draw::slow_link,
        ..CALM
    },
    Scenario {
        name: "late-set",
        group: Group::Network,
        fault: "the commands that take the lock arrive on a majority of nodes after those that undo them",
        holds: "everything; what is left behind is gone after the ttl",
        notice: "nobody gets a lock that nobody holds",
        first: First::Slow,
        draw: draw::late_set,
        ..CALM
    },
    Scenario {
        name: "duplicate-acquire",
        group: Group::Network,
        fault: "every command of a lock arrives twice",
        holds: "everything",
        notice: "a client is refused by its own first copy",
        draw: draw::duplicate,
        ..CALM
    },
    Scenario {
        name: "reply-lost",
        group: Group::Network,
        fault: "a majority of nodes grants the lock, and the answers are lost",
        holds: "everything; a lock that nobody knows to have is given back",
        notice: "the resource stays locked for a whole ttl by nobody",
        first: First::Slow,
        draw: draw::reply_lost,
        ..CALM
    },
    Scenario {
        name: "reset-after-request",
        group: Group::Network,
        fault: "a majority of nodes grants the lock, and resets the connection before it answers",
        holds: "everything; a lock that nobody knows to have is given back",
        notice: "the same; or a client that never connects again",
        first: First::Slow,
        draw: draw::reset_after,
        ..CALM
    },
    Scenario {
        name: "even-split",
        group: Group::Network,
        fault: "of an even number of nodes each client is refused a connection by half",
        holds: "everything; whatever is asked for ends",
        notice: "calls that wait for a decision which never comes",
        nodes_min: 2,
        even: true,
        goes_on: false,
        is_outage: true,
        draw: draw::even_split,
        ..CALM
    },
    Scenario {
        name: "restart-with-data",
        group: Group::Data,
        fault: "the nodes that keep a lock are killed and come back with their data",
        holds: "everything",
        notice: "a second holder",
        needs: &[Ability::Process],
        first: First::Slow,
        goes_on: false,
        draw: draw::restart_with_data,
        ..CALM
    },
    Scenario {
        name: "restart-without-data",
        group: Group::Data,
        fault: "a node whose vote the holder needs is killed and comes back empty",
        holds: "everything where the client guards against it; else nothing can be promised",
        notice: "a second holder",
        breaks: Breaks::Memory,
        needs: &[Ability::Process, Ability::Wipe],
        first: First::Slow,
        goes_on: false,
        draw: draw::restart_without_data,
        ..CALM
    },
    Scenario {
        name: "restart-everysec",
        group: Group::Data,
        fault: "the same, with what it had written to disk a moment before the lock was taken",
        holds: "everything where the client guards against it; else nothing can be promised",
        notice: "a second holder, with the append-only file on",
        breaks: Breaks::Memory,
        needs: &[Ability::Process, Ability::PowerLoss],
        first: First::Slow,
        goes_on: false,
        draw: draw::restart_everysec,
        ..CALM
    },
    Scenario {
        name: "flush",
        group: Group::Data,
        fault: "a node whose vote the holder needs is flushed",
        holds: "everything where the client guards against it; else nothing can be promised",
        notice: "a second holder",
        breaks: Breaks::Memory,
        needs: &[Ability::Command],
        first: First::Slow,
        goes_on: false,
        draw: draw::flush,
        ..CALM
    },
    Scenario {
        name: "eviction",
        group: Group::Data,
        fault: "a node whose vote the holder needs is short of memory and evicts the lock",
        holds: "what fences promise; no guard sees a single key go, so nothing else can be promised",
        notice: "a second holder",
        breaks: Breaks::Keys,
        needs: &[Ability::Command],
        first: First::Slow,
        goes_on: false,
        draw: draw::eviction,
        ..CALM
    },
    Scenario {
        name: "failover",
        group: Group::Data,
        fault: "a node whose vote the holder needs dies, and a replica that lagged takes its address",
        holds: "everything where the client guards against it; else nothing can be promised",
        notice: "a second holder",
        breaks: Breaks::Memory,
        needs: &[Ability::Process, Ability::Command],
        first: First::Slow,
        goes_on: false,
        draw: draw::failover,
        ..CALM
    },
    Scenario {
        name: "scripts-flushed",
        group: Group::Data,
        fault: "all nodes forget all scripts, again and again",
        holds: "everything; locks are granted meanwhile",
        notice: "every acquire or release fails until the program is started again",
        needs: &[Ability::Command],
        draw: draw::scripts_flushed,
        ..CALM
    },
    Scenario {
        name: "clock-fast",
        group: Group::Clock,
        fault: "the clocks of a majority of nodes run twice as fast",
        holds: "what fences promise: the resource refuses whoever is late",
        notice: "a second holder; where there are no fences, a lost update",
        breaks: Breaks::Keys,
        needs: &[Ability::ClockRate],
        first: First::Slow,
        goes_on: false,
        draw: draw::clock_fast,
        ..CALM
    },
    Scenario {
        name: "clock-slow",
        group: Group::Clock,
        fault: "the clocks of a majority of nodes run at half their speed",
        holds: "everything; locks of the dead are kept for longer",
        notice: "that locks of crashed programs last",
        needs: &[Ability::ClockRate],
        goes_on: false,
        draw: draw::clock_slow,
        ..CALM
    },
    Scenario {
        name: "clock-jump",
        group: Group::Clock,
        fault: "the clocks of a majority of nodes jump ahead by more than the ttl",
        holds: "what fences promise: the resource refuses whoever is late",
        notice: "a second holder; where there are no fences, a lost update",
        breaks: Breaks::Keys,
        needs: &[Ability::Command],
        first: First::Slow,
        goes_on: false,
        draw: draw::clock_jump,
        ..CALM
    },
    Scenario {
        name: "client-paused",
        group: Group::Client,
        fault: "a client that holds a lock stands still beyond its lease, and then writes",
        holds: "everything; its late write is refused, by its fence",
        notice: "an update that is lost, with every lock that has no fences",
        first: First::Slow,
        draw: draw::client_paused,
        ..CALM
    },
    Scenario {
        name: "client-killed",
        group: Group::Client,
        fault: "a client that holds a lock is killed",
        holds: "everything; its keys are gone after the ttl, and others get the lock",
        notice: "a resource that stays locked",
        first: First::Slow,
        draw: draw::client_killed,
        ..CALM
    },
];
