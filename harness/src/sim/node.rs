//! A node of the world: what it keeps, its wall clock, its restart guard, and how it forgets.

use std::time::Duration;

use redlatch_core::{Reply, Token};

use crate::check::Nodes;
use crate::history::Asked;
use crate::node::{Call, WallMillis};
use crate::plan::{Keep, RESOURCES_MAX};
use crate::sim::clock::{Clock, TrueTime};
use crate::sim::system::{Node, Request};

/// What a node keeps, and what a crash may take back to an earlier state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Data<N> {
    pub(crate) cells: [N; RESOURCES_MAX],
    /// Which run of the process wrote the guard's marker; 0 for none.
    marker: u32,
    /// No vote until the wall clock has passed this; 0 for no quarantine.
    pub(super) quarantine: WallMillis,
}

impl<N: Node> Data<N> {
    fn nothing() -> Self {
        Self { cells: [N::default(); RESOURCES_MAX], marker: 0, quarantine: 0 }
    }
}

/// Whether fence numbers outlive what a node forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fences {
    Survive,
    AreForgotten,
}

#[derive(Debug)]
pub(crate) struct SimNode<N> {
    pub(crate) clock: Clock,
    /// How far off the clock is without a fault.
    pub(crate) ppm: i64,
    pub(crate) data: Data<N>,
    synced: Data<N>,
    synced_at: u64,
    replica: Data<N>,
    /// The number of this run of the process: its run_id.
    run: u32,
    /// How many faults keep the process down.
    pub(crate) down: u8,
    pub(crate) paused_until: TrueTime,
    /// How many of a thousand scripts stop half-way.
    pub(crate) half_permille: u16,
    /// Whether it takes requests and never answers.
    pub(crate) hung: bool,
}

impl<N: Node> SimNode<N> {
    /// A node that has been declared fresh.
    pub(crate) fn new(reading: u64, ppm: i64) -> Self {
        let data = Data { marker: 1, ..Data::nothing() };
        Self {
            clock: Clock::new(reading, ppm),
            ppm,
            data,
            synced: data,
            synced_at: 0,
            replica: data,
            run: 1,
            down: 0,
            paused_until: 0,
            half_permille: 0,
            hung: false,
        }
    }

    pub(crate) fn wall(&self, now: TrueTime) -> WallMillis {
        self.clock.read(now) / 1_000_000
    }

    /// Notes what is on disk, before something changes.
    pub(crate) fn sync(&mut self, now: TrueTime, every: u64) {
        let at = now / every;
        if at != self.synced_at {
            self.synced = self.data;
            self.synced_at = at;
        }
    }

    /// Carries out `request` as the scripts do: the guard first (R16).
    pub(crate) fn execute<R: Request>(
        &mut self,
        now: TrueTime,
        resource: usize,
        request: &R,
        guard: Option<u64>,
        script: Script,
        call: Call<'_>,
    ) -> Reply
    where
        N: Node<Request = R>,
    {
        let wall = self.wall(now);
        if let Some(ttl_max) = guard
            && request.asked() == Asked::Acquire
        {
            if self.data.marker != self.run {
                self.data.quarantine = wall + ttl_max;
                self.data.marker = self.run;
            }
            if wall <= self.data.quarantine {
                let remaining = Duration::from_millis(self.data.quarantine - wall);
                return Reply::Quarantined { remaining };
            }
        }
        let cell = &mut self.data.cells[resource];
        match script {
            Script::Runs => cell.apply_calling(wall, request, call),
            Script::StopsBefore => Reply::Unknown,
            Script::StopsWithin => {
                let had_owner = cell.owner(wall).is_some();
                let _ = cell.apply_calling(wall, request, call);
                // The number is written before the key.
                if request.asked() == Asked::Acquire && !had_owner {
                    cell.drop_key();
                }
                Reply::Unknown
            }
        }
    }

    /// The process dies; `keep` says what is there when it comes back, as another run.
    pub(crate) fn crash(&mut self, now: TrueTime, keep: Keep, every: u64, fences: Fences) {
        self.sync(now, every);
        self.run += 1;
        match keep {
            Keep::All => {}
            Keep::Synced => self.become_older(self.synced, fences),
            Keep::Nothing => self.become_older(Data::nothing(), fences),
        }
        self.down += 1;
    }

    /// Everything is forgotten, and the process runs on.
    pub(crate) fn flush(&mut self, fences: Fences) {
        self.become_older(Data::nothing(), fences);
    }

    /// Lock keys are evicted, nothing else.
    pub(crate) fn evict(&mut self) {
        for cell in &mut self.data.cells {
            cell.drop_key();
        }
    }

    /// A replica stops to follow.
    pub(crate) const fn lag(&mut self) {
        self.replica = self.data;
    }

    /// The replica takes over.
    pub(crate) fn promote(&mut self, fences: Fences) {
        self.run += 1;
        self.become_older(self.replica, fences);
    }

    fn become_older(&mut self, older: Data<N>, fences: Fences) {
        let data = match fences {
            Fences::AreForgotten => older,
            Fences::Survive => {
                let mut data = Data { cells: self.data.cells, ..older };
                for (cell, older) in data.cells.iter_mut().zip(older.cells) {
                    if *cell != older {
                        cell.drop_key();
                    }
                }
                data
            }
        };
        self.data = data;
        self.synced = data;
    }

    fn is_withheld(&self, at: TrueTime) -> bool {
        self.down > 0 || self.data.marker != self.run || self.wall(at) <= self.data.quarantine
    }

    /// The true time at which the quarantine ends.
    pub(crate) fn quarantined_until(&self) -> TrueTime {
        self.clock.when((self.data.quarantine + 1) * 1_000_000)
    }
}

/// How a script goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Runs,
    /// An error, and nothing is done.
    StopsBefore,
    /// An error, and half of it is done.
    StopsWithin,
}

/// What the checker sees of the nodes.
#[derive(Debug)]
pub(crate) struct View<'a, N> {
    pub(crate) nodes: &'a [SimNode<N>],
    pub(crate) guarded: bool,
}

impl<N: Node> Nodes for View<'_, N> {
    fn count(&self) -> usize {
        self.nodes.len()
    }

    fn owner(&self, node: usize, resource: usize, at: TrueTime) -> Option<Token> {
        let node = &self.nodes[node];
        node.data.cells[resource].owner(node.wall(at))
    }

    fn is_withheld(&self, node: usize, at: TrueTime) -> bool {
        self.guarded && self.nodes[node].is_withheld(at)
    }

    fn fence(&self, node: usize, resource: usize) -> u64 {
        self.nodes[node].data.cells[resource].fence()
    }
}
