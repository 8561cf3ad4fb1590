//! What the clients are made to do: contend for a few resources, work under the lock, give it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::adapter::{Adapter, AdapterError, Answer, Failure, FailureKind, Grant, Handle};
use super::ledger::Ledger;
use super::plan::{Cue, Fault, First, Kind, LiveKind, Plan};
use super::record::{Acquire, Demand, End, Extension, Hold, Operation, Why};

/// How much longer than it has to an operation may take before it is said to hang: clients retry, and some
/// bound that by a number of tries.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long the slow client waits for faults that are to meet it.
const CUE_MAX: Duration = Duration::from_secs(3);
/// How long a client that holds beyond its lease goes on.
const BEYOND: Duration = Duration::from_millis(60);
/// Of how many hundredths of its lease the slow client makes use.
const SLOW_PERCENT: u32 = 85;

/// How faults that have to meet a client at one point come to know of it.
#[derive(Debug)]
pub(super) struct Cues {
    /// The calm beginning is over.
    armed: AtomicBool,
    /// How many faults wait for client 0 to ask.
    asking_faults: usize,
    /// Whether some wait for it to be granted what it asked for.
    waits_for_grant: bool,
    begun: watch::Sender<usize>,
    asking: watch::Sender<bool>,
    granted: watch::Sender<bool>,
    /// Client 0 has had its answer; others may take its resource again.
    is_over: AtomicBool,
    stop: AtomicBool,
    /// How many clients have had a lock.
    warm: AtomicUsize,
}

impl Cues {
    pub(super) fn new(plan: &Plan) -> Self {
        let wait_for = |cue| plan.faults.iter().filter(move |fault| fault.when == cue).count();
        // Who has the key for a stranger waits for it too.
        let is_occupied = |fault: &Fault| fault.kind == Kind::Live(LiveKind::Occupied);
        Self {
            armed: AtomicBool::new(false),
            asking_faults: wait_for(Cue::Asking),
            waits_for_grant: wait_for(Cue::Granted) > 0 || plan.faults.iter().any(is_occupied),
            begun: watch::Sender::new(0),
            asking: watch::Sender::new(false),
            granted: watch::Sender::new(false),
            is_over: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            warm: AtomicUsize::new(0),
        }
    }

    /// All given: nobody waits for anything.
    pub(super) fn given() -> Self {
        Self {
            armed: AtomicBool::new(true),
            asking_faults: 0,
            waits_for_grant: false,
            begun: watch::Sender::new(0),
            asking: watch::Sender::new(true),
            granted: watch::Sender::new(true),
            is_over: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            warm: AtomicUsize::new(0),
        }
    }

    pub(super) fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn warm(&self) -> usize {
        self.warm.load(Ordering::Relaxed)
    }

    /// Waits until client 0 is about to ask; false if it never is.
    pub(super) async fn asked(&self) -> bool {
        let mut asking = self.asking.subscribe();
        timeout(CUE_MAX, asking.wait_for(|asking| *asking)).await.is_ok()
    }

    /// A fault that waited for that has begun.
    pub(super) fn begin(&self) {
        self.begun.send_modify(|begun| *begun += 1);
    }

    /// Waits until client 0 was granted what it asked for then; false if it never was.
    pub(super) async fn granted(&self) -> bool {
        let mut granted = self.granted.subscribe();
        timeout(CUE_MAX * 2, granted.wait_for(|granted| *granted)).await.is_ok()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether client 0 is to have the first resource for itself, to meet its faults there.
    fn is_reserved(&self) -> bool {
        self.armed.load(Ordering::Relaxed) && !self.is_over.load(Ordering::Relaxed)
    }

    /// Client 0 is about to ask: it lets the faults begin first that wait for that. Whether they meet it this time.
    async fn about_to_ask(&self) -> bool {
        if !self.is_reserved() {
            return false;
        }
        self.asking.send_replace(true);
        let mut begun = self.begun.subscribe();
        // A fault that does not come shows nothing, which its strike tells.
        drop(timeout(CUE_MAX, begun.wait_for(|begun| *begun >= self.asking_faults)).await);
        true
    }

    /// Client 0 has had its answer.
    fn answered(&self, is_granted: bool) {
        if is_granted {
            self.granted.send_replace(true);
        } else if self.waits_for_grant {
            // It asks again.
            return;
        }
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// What a fault does to a client.
#[derive(Debug)]
pub(super) enum Order {
    /// It stands still, until it is told to go on. Told whether it held a lock then.
    Pause(oneshot::Sender<bool>),
    /// It goes on.
    Resume(oneshot::Sender<()>),
    /// It dies. Told whether it held a lock then.
    Kill(oneshot::Sender<bool>),
}

/// A client at work.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) client: usize,
    pub(super) adapter: Adapter,
    pub(super) plan: Arc<Plan>,
    pub(super) resources: Arc<Vec<String>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) cues: Arc<Cues>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) can_extend: bool,
    pub(super) origin: Instant,
    pub(super) rng: Rng,
    pub(super) acquires: Vec<Acquire>,
    pub(super) pauses: Vec<std::ops::Range<Duration>>,
    pub(super) killed: Option<Duration>,
    /// Why it does not work any more: it hangs, or it died by itself.
    pub(super) broken: Option<String>,
    pub(super) is_warm: bool,
}

/// Whether the worker goes on.
type Flow = Result<(), Over>;

/// It does not.
#[derive(Debug)]
struct Over;

impl Worker {
    /// Works until it is told to stop, or its process is gone.
    pub(super) async fn run(mut self) -> Self {
        while !self.cues.is_stopped() {
            if self.turn().await.is_err() {
                break;
            }
            let (least, most) = self.plan.work.rest_ms;
            let rest = Duration::from_millis(self.rng.u32(least..=most.max(least)).into());
            if self.idle(rest).await.is_err() {
                break;
            }
        }
        // Whoever waits for it does not wait in vain.
        if self.is_first() {
            self.cues.is_over.store(true, Ordering::Relaxed);
        }
        self
    }

    /// Whether it can still be asked for something.
    pub(super) const fn is_well(&self) -> bool {
        self.killed.is_none() && self.broken.is_none()
    }

    /// Client 0, where it works differently.
    fn is_first(&self) -> bool {
        self.client == 0 && self.plan.work.first != First::Alike
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.plan.shape.ttl_ms.into())
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.origin)
    }

    async fn turn(&mut self) -> Flow {
        let count = self.resources.len();
        let resource = match self.is_first() {
            true => 0,
            false if self.cues.is_reserved() && self.plan.work.first != First::Alike => {
                1.min(count - 1) + self.rng.usize(..count.saturating_sub(1).max(1))
            }
            false => self.rng.usize(..count),
        };
        let is_cued = self.is_first() && self.cues.about_to_ask().await;
        let wait = Duration::from_millis(self.plan.shape.wait_ms.into());
        let granted = self.acquire(resource, wait).await;
        if is_cued {
            self.cues.answered(matches!(granted, Ok(Some(_))));
        }
        let Some((handle, hold)) = granted? else { return Ok(()) };
        if !self.is_warm {
            self.is_warm = true;
            self.cues.warm.fetch_add(1, Ordering::Relaxed);
        }
        let (hold, flow) = self.hold(resource, &handle, hold, is_cued).await;
        if let Some(last) = self.acquires.last_mut() {
            last.end = End::Granted(hold);
        }
        flow
    }

    /// Asks for a lock once; what came of it is in the record.
    async fn acquire(
        &mut self,
        resource: usize,
        wait: Duration,
    ) -> Result<Option<(Handle, Hold)>, Over> {
        let ttl = self.ttl();
        let number = u32::try_from(self.acquires.len()).unwrap_or(u32::MAX).saturating_add(1);
        let patience = wait + ttl + PATIENCE;
        let asked = self.now();
        let name = self.resources[resource].clone();
        let answer = self.adapter.acquire(&name, ttl, wait, patience).await;
        let client = self.client;
        let mut note = |asked, end| {
            self.acquires.push(Acquire { client, number, resource, asked, end });
        };
        match answer {
            Ok(Answer { sent, read, outcome: Ok(Grant { handle, valid, fence }) }) => {
                let at = read.saturating_duration_since(self.origin);
                let asked = sent.saturating_duration_since(self.origin);
                let hold = Hold { at, until: at + valid, fence, ..Hold::default() };
                note(asked, End::Granted(hold.clone()));
                Ok(Some((handle, hold)))
            }
            Ok(Answer { read, outcome: Err(failure), .. }) => {
                let at = read.saturating_duration_since(self.origin);
                note(asked, End::Refused { at, why: why(&failure), text: failure.text });
                Ok(None)
            }
            Err(error) => {
                let at = self.origin.elapsed();
                match &error {
                    AdapterError::Hung { .. } => note(asked, End::Hung { at }),
                    AdapterError::NotStarted { .. }
                    | AdapterError::Refused(_)
                    | AdapterError::Died { .. }
                    | AdapterError::Nonsense { .. }
                    | AdapterError::Busy => note(asked, End::Killed { at }),
                }
                Err(self.gone(&error))
            }
        }
    }

    /// Its process is of no more use.
    fn gone(&mut self, error: &AdapterError) -> Over {
        self.broken = Some(error.to_string());
        self.adapter.kill();
        Over
    }

    /// Works under the lock.
    async fn hold(
        &mut self,
        resource: usize,
        handle: &Handle,
        mut hold: Hold,
        is_cued: bool,
    ) -> (Hold, Flow) {
        let number = self.acquires.last().map_or(0, |last| last.number);
        let read = self.ledger.read(self.client, number, resource, hold.fence);
        let valid = hold.until - hold.at;
        let (least, most) = self.plan.work.hold_ms;
        let short = Duration::from_millis(self.rng.u32(least..=most.max(least)).into());
        let extends = self.rng.u16(..1_000) < self.plan.work.extend_permille && self.can_extend;
        let lapses = self.rng.u16(..1_000) < self.plan.work.lapse_permille;
        let is_careless = self.is_first() && self.plan.work.first == First::Careless && is_cued;
        let length = match (self.is_first(), self.plan.work.first) {
            // In the calm it works as the others do.
            (true, First::Slow) if is_cued => valid * SLOW_PERCENT / 100,
            (true, _) if is_careless => valid + super::judge::LOSS_LATE + BEYOND,
            _ if lapses => valid + super::judge::LOSS_LATE + BEYOND,
            _ => short,
        };
        let end = self.origin + hold.at + length;
        let mut extend_at = match extends && !lapses || is_careless && self.can_extend {
            true => Some(self.origin + hold.at + length.min(valid) / 2),
            false => None,
        };
        let mut was_paused = false;
        loop {
            let until = extend_at.map_or(end, |at| at.min(end));
            match self.rest(until, &mut hold, handle).await {
                Ok(Rested::Through) => {}
                Ok(Rested::Paused) => {
                    was_paused = true;
                    break;
                }
                Ok(Rested::Lost) => break,
                Err(over) => return (hold, Err(over)),
            }
            if extend_at.take().is_none() {
                break;
            }
            if let Err(over) = self.extend(handle, &mut hold).await {
                return (hold, Err(over));
            }
        }
        // A careful program looks at its lease before it writes; one that was paused in between does not
        // know that it was.
        let good = super::judge::until_max(&hold);
        if let Some(read) = read
            && (was_paused || hold.lost.is_none() && self.now() < good)
        {
            self.ledger.write(self.client, number, resource, hold.fence, read);
        }
        let flow = self.release(handle, &mut hold).await;
        (hold, flow)
    }

    async fn extend(&mut self, handle: &Handle, hold: &mut Hold) -> Flow {
        let ttl = self.ttl();
        let answer = self.adapter.extend(handle, ttl, ttl + PATIENCE).await;
        self.note_losses(handle, hold);
        match answer {
            Ok(Answer { sent, read, outcome }) => {
                let (asked, at) = (self.since(sent), self.since(read));
                let until = outcome.ok().map(|valid| at + valid);
                hold.extensions.push(Extension { asked, at, until, knew: None });
                Ok(())
            }
            Err(error) => {
                if matches!(error, AdapterError::Hung { .. }) {
                    hold.hung = Some((Operation::Extend, self.now()));
                }
                Err(self.gone(&error))
            }
        }
    }

    async fn release(&mut self, handle: &Handle, hold: &mut Hold) -> Flow {
        hold.given_up = Some(self.now());
        let patience = self.ttl() + PATIENCE;
        let answer = self.adapter.release(handle, patience).await;
        self.note_losses(handle, hold);
        match answer {
            Ok(Answer { read, outcome, .. }) => {
                hold.released = Some((self.since(read), outcome.is_ok()));
                Ok(())
            }
            Err(error) => {
                if matches!(error, AdapterError::Hung { .. }) {
                    hold.hung = Some((Operation::Release, self.now()));
                }
                Err(self.gone(&error))
            }
        }
    }

    fn note_losses(&mut self, handle: &Handle, hold: &mut Hold) {
        for loss in self.adapter.losses() {
            if loss.handle == *handle && hold.lost.is_none() {
                hold.lost = Some(self.since(loss.read));
            }
        }
    }

    /// Waits, and does what faults want of it meanwhile.
    async fn rest(
        &mut self,
        until: Instant,
        hold: &mut Hold,
        handle: &Handle,
    ) -> Result<Rested, Over> {
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Pause(done)) => {
                        self.stand_still(done, true).await?;
                        return Ok(Rested::Paused);
                    }
                    Some(Order::Kill(done)) => return Err(self.die(done, true)),
                    Some(Order::Resume(done)) => {
                        let _ = done.send(());
                    }
                    None => return Err(Over),
                },
                lost = self.adapter.lost() => match lost {
                    Some(loss) if loss.handle == *handle => {
                        hold.lost = Some(self.since(loss.read));
                        return Ok(Rested::Lost);
                    }
                    Some(_) => {}
                    // It has closed its stdout; the next operation tells why.
                    None => {
                        sleep_until(until.into()).await;
                        return Ok(Rested::Through);
                    }
                },
                () = sleep_until(until.into()) => return Ok(Rested::Through),
            }
        }
    }

    /// Waits without a lock.
    async fn idle(&mut self, rest: Duration) -> Flow {
        let until = Instant::now() + rest;
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Pause(done)) => self.stand_still(done, false).await?,
                    Some(Order::Kill(done)) => return Err(self.die(done, false)),
                    Some(Order::Resume(done)) => {
                        let _ = done.send(());
                    }
                    None => return Err(Over),
                },
                () = sleep_until(until.into()) => return Ok(()),
            }
        }
    }

    /// The process stands still, and so does whoever uses it.
    async fn stand_still(&mut self, done: oneshot::Sender<bool>, holds: bool) -> Flow {
        let begin = self.now();
        let paused = self.adapter.pause();
        let _ = done.send(holds && paused.is_ok());
        loop {
            match self.orders.recv().await {
                Some(Order::Resume(done)) => {
                    let resumed = self.adapter.resume();
                    self.pauses.push(begin..self.now());
                    let _ = done.send(());
                    return resumed.map_err(|_| Over);
                }
                Some(Order::Kill(done)) => return Err(self.die(done, holds)),
                Some(Order::Pause(done)) => drop(done.send(holds)),
                None => return Err(Over),
            }
        }
    }

    fn die(&mut self, done: oneshot::Sender<bool>, holds: bool) -> Over {
        // Nothing is believed from when its end is certain.
        self.killed = Some(self.now());
        self.adapter.kill();
        let _ = done.send(holds);
        Over
    }

    /// Asks for a lock that is free until it has it, or until `due`.
    pub(super) async fn demand(&mut self, resource: usize, due: Duration) -> Demand {
        let asked = self.now();
        let mut demand = Demand {
            client: self.client,
            resource,
            asked,
            due,
            granted: None,
            last: String::new(),
        };
        while self.is_well() && self.now() < due {
            let left = due.saturating_sub(self.now());
            match self.acquire(resource, left.min(self.ttl())).await {
                Ok(Some((handle, mut hold))) => {
                    demand.granted = Some(hold.at);
                    drop(self.release(&handle, &mut hold).await);
                    if let Some(last) = self.acquires.last_mut() {
                        last.end = End::Granted(hold);
                    }
                    break;
                }
                Ok(None) => {
                    if let Some(Acquire { end: End::Refused { text, .. }, .. }) =
                        self.acquires.last()
                    {
                        demand.last.clone_from(text);
                    }
                    sleep(Duration::from_millis(10)).await;
                }
                Err(Over) => demand.last = self.broken.clone().unwrap_or_default(),
            }
        }
        demand
    }
}

/// How a rest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rested {
    Through,
    Paused,
    Lost,
}

fn why(failure: &Failure) -> Why {
    match failure.kind {
        FailureKind::Contended => Why::Contended,
        FailureKind::Unavailable => Why::Unavailable,
        FailureKind::Lost => Why::Lost,
        FailureKind::Timeout => Why::Timeout,
        FailureKind::Other => Why::Other,
    }
}
