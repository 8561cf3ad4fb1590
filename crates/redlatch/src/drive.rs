//! The loop that carries one lock: commands out, replies and timeouts in, events to whoever waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redlatch_core::wire::{Compare, Dialect};
use redlatch_core::{Cause, Command, Event, Instant, Lease, Lock, Loss, Op, Released, Reply};
use tokio::sync::{mpsc, oneshot, watch};

use crate::calls::{Heard, Waiter};
use crate::clock;
use crate::error::{AcquireError, ExtendError, ReleaseError};
use crate::flight::{Flights, Outcome};
use crate::measure::{End, Meter};
use crate::node::Node;
use crate::options::Resources;
use crate::poll::Poll;
use crate::reaper::Errand;
use crate::{spread, trace};

/// What a guard asks of its driver.
pub(crate) enum Request {
    Extend(oneshot::Sender<Result<Instant, ExtendError>>),
    Release(oneshot::Sender<Result<(), ReleaseError>>),
    /// Stop, and leave the keys to whoever takes the lease over.
    Detach(oneshot::Sender<Result<Handover, Loss>>),
}

/// A lease on its way out of a driver. Until it is said to be taken, it is the driver's to release.
pub(crate) struct Handover {
    pub(crate) lease: Lease,
    pub(crate) taken: oneshot::Sender<()>,
}

/// What a guard sees of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Not granted yet.
    Asked,
    Held {
        lease: Lease,
        risk: Risk,
    },
    Lost(Loss),
    /// Released or handed over.
    Ended,
}

/// Whether the last extension of a lease missed its majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Risk {
    None,
    Missed,
}

/// What a lock is about, and whom it asks.
pub(crate) struct Subject {
    pub(crate) nodes: Arc<[Arc<Node>]>,
    pub(crate) resources: Resources,
    pub(crate) dialect: NodeDialect,
    /// Set once nobody waits for the lock any more.
    is_wait_over: AtomicBool,
}

impl Subject {
    pub(crate) const fn new(
        nodes: Arc<[Arc<Node>]>,
        resources: Resources,
        dialect: NodeDialect,
    ) -> Self {
        Self { nodes, resources, dialect, is_wait_over: AtomicBool::new(false) }
    }

    /// What is to be sent at this moment for `op`, which may have been held up. A release that was to put
    /// its waiter into a queue must not do so after the one that took it out for good (R18).
    pub(crate) fn by_now(&self, op: &Op) -> Op {
        if let Op::Release { token, place: Some(_) } = *op
            && self.is_wait_over.load(Ordering::Relaxed)
        {
            return Op::Release { token, place: None };
        }
        *op
    }
}

/// The dialect, as far as it does not depend on the node.
#[derive(Clone, Copy)]
pub(crate) enum NodeDialect {
    Scripts(Dialect),
    Plain,
}

impl NodeDialect {
    pub(crate) const fn of(self, compare: Compare) -> Dialect {
        match self {
            Self::Scripts(dialect) => dialect,
            Self::Plain => Dialect::Plain { compare },
        }
    }
}

/// One lock and all that its loop needs.
pub(crate) struct Driver {
    pub(crate) subject: Arc<Subject>,
    pub(crate) lock: Lock,
    /// What the lock asks, until nobody is there to ask.
    pub(crate) requests: Option<mpsc::UnboundedReceiver<Request>>,
    /// Who waits for the grant.
    pub(crate) acquirer: Option<oneshot::Sender<Result<Lease, AcquireError>>>,
    /// Whom nodes call, while the lock is being acquired and may wait in their queues.
    pub(crate) waiter: Option<Waiter>,
    pub(crate) status: watch::Sender<Status>,
    /// Set once a guard has seen the end of its lease.
    pub(crate) seen_over: Arc<AtomicBool>,
    /// Changes after the machine was suspended, to the time that was missed beyond what the clock says,
    /// which is none but for a fake.
    pub(crate) woken: watch::Receiver<Duration>,
    pub(crate) errand: Errand,
    pub(crate) meter: Meter,
}

/// The loop's own state.
struct Loop {
    driver: Driver,
    in_flight: Flights,
    alarm: clock::Alarm,
    woken: Woken,
    /// What the nodes said to the latest acquire or extend.
    asked: Poll,
    /// What the nodes said to the latest release.
    released: Poll,
    /// The deadline of the latest command.
    deadline: Instant,
    /// Until when each node that owes answers should have given the first of them.
    answer_due: Vec<Option<Instant>>,
    /// When to renew for the first time, if others are to be renewed at other times.
    renew_at: Option<Instant>,
    extenders: Vec<oneshot::Sender<Result<Instant, ExtendError>>>,
    releaser: Option<oneshot::Sender<Result<(), ReleaseError>>>,
    /// When to stop waiting for late replies, once the machine is idle.
    linger_until: Option<Instant>,
    /// Tells when a lease that was handed over has been taken.
    taken: Option<oneshot::Receiver<()>>,
    stage: Stage,
}

/// The news that the machine was suspended. Whoever waits for a change of a channel is entered in a list
/// there: once, and not anew for every reply.
struct Woken(BoxFuture<'static, watch::Receiver<Duration>>);

impl Woken {
    fn by(mut channel: watch::Receiver<Duration>) -> Self {
        Self(Box::pin(async move {
            if channel.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            channel
        }))
    }

    /// The time that was missed.
    async fn next(&mut self) -> Duration {
        let mut channel = (&mut self.0).await;
        let missed = *channel.borrow_and_update();
        *self = Self::by(channel);
        missed
    }
}

/// Whether the lock is this loop's to look after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Ours,
    /// The lease was handed over: nothing is begun any more.
    Detached,
}

/// Drives `driver.lock` until nothing of it is left on any node that answers.
pub(crate) fn run(driver: Driver) -> impl Future<Output = ()> + Send {
    let subject = driver.subject.clone();
    // The future has the state in it once, and is not much larger: it is moved for each lock.
    let mut this = Loop::new(driver);
    trace::in_span(&subject.resources, async move { while this.step().await {} })
}

impl Loop {
    fn new(driver: Driver) -> Self {
        let nodes = driver.subject.nodes.len();
        Self {
            in_flight: Flights::new(driver.subject.clone()),
            alarm: clock::Alarm::default(),
            woken: Woken::by(driver.woken.clone()),
            driver,
            asked: Poll::new(nodes),
            released: Poll::new(nodes),
            deadline: Instant::ZERO,
            answer_due: vec![None; nodes],
            renew_at: None,
            extenders: Vec::new(),
            releaser: None,
            linger_until: None,
            taken: None,
            stage: Stage::Ours,
        }
    }

    /// One round of the loop; `false` when there is nothing more to do.
    async fn step(&mut self) -> bool {
        if self.stage == Stage::Detached {
            self.carry_out().await;
            return false;
        }
        self.pass_on();
        if self.is_over() {
            return false;
        }
        let timeout = self.timeout();
        tokio::select! {
            biased;
            Some(outcome) = self.in_flight.next() => {
                self.handle_reply(outcome);
                while let Some(outcome) = self.in_flight.next_landed() {
                    self.pass_on();
                    self.handle_reply(outcome);
                }
            }
            () = told(&mut self.taken) => self.stage = Stage::Detached,
            heard = hear(&mut self.driver.waiter) => match heard {
                Heard::Call(node) => self.driver.lock.handle_call(clock::now(), node),
                Heard::Listening => self.driver.lock.handle_listening(clock::now()),
            },
            request = receive(&mut self.driver.requests) => self.handle_request(request),
            () = self.alarm.ring(timeout) => self.handle_timeout(clock::now()),
            missed = self.woken.next() => {
                self.alarm.forget();
                self.handle_timeout(clock::now().saturating_add(missed));
            }
        }
        true
    }

    /// Hands on all that the machine has to say.
    fn pass_on(&mut self) {
        self.send_commands();
        self.tell_events();
        self.show_lease();
    }

    /// The lease is somebody else's. Nodes that are slow still get what they were sent: a lease that only
    /// a bare majority has would not outlive one node more.
    async fn carry_out(&mut self) {
        let deadline = clock::sleep_until(Some(self.deadline));
        let answers = async { while self.in_flight.next().await.is_some() {} };
        tokio::select! {
            () = answers => {}
            () = deadline => {}
        }
    }

    fn send_commands(&mut self) {
        while let Some(mut command) = self.driver.lock.poll_command() {
            self.keep_place(&mut command);
            self.poll_for(&command.op).sent(command.id);
            if let Some(due) = self.answer_due.get_mut(command.id.node().index()) {
                due.get_or_insert(command.deadline);
            }
            self.deadline = self.deadline.max(command.deadline);
            self.driver.meter.sent(&command);
            self.in_flight.launch(command);
        }
    }

    /// A place is taken only at nodes whose calls would be heard (R18).
    fn keep_place(&mut self, command: &mut Command) {
        if let Op::Release { place, .. } = &mut command.op
            && place.is_some()
        {
            let id = command.id.node();
            let node = self.driver.subject.nodes.get(id.index());
            let can_call = node.zip(self.driver.waiter.as_mut());
            if !can_call.is_some_and(|(node, waiter)| waiter.can_be_called(id, node)) {
                *place = None;
            }
        }
    }

    fn poll_for(&mut self, op: &Op) -> &mut Poll {
        match op {
            Op::Release { .. } => &mut self.released,
            Op::Acquire { .. } | Op::Seal { .. } | Op::Extend { .. } => &mut self.asked,
        }
    }

    fn handle_reply(&mut self, mut outcome: Outcome) {
        let now = clock::now();
        self.driver.meter.answered(now, &outcome.id, &outcome.op, &outcome.reply);
        if let (Op::Release { place: None, .. }, Reply::Applied { .. }) =
            (outcome.op, outcome.reply)
            && self.driver.waiter.is_some()
        {
            // The key is gone either way, but this yes is none to a place.
            outcome.reply = Reply::Refused { remaining: None, fence: None };
        }
        self.driver.lock.handle_reply(now, outcome.id, outcome.reply);
        // A node that answers anything is not silent.
        if let Some(due) = self.answer_due.get_mut(outcome.id.node().index()) {
            *due = None;
        }
        self.poll_for(&outcome.op).answered(outcome);
        self.pass_over_silent_nodes();
    }

    /// Of those who contend for a lock, half may have half of the nodes that answer: whoever then waits for
    /// one that has been silent for long keeps its half from all others, for as long as a node may take. So
    /// once some node refused and all but silent ones have answered, their silence is an answer (R5).
    fn pass_over_silent_nodes(&mut self) {
        if self.driver.waiter.is_none() || !self.asked.is_contended() {
            return;
        }
        for id in self.asked.take_open_if_all(&self.driver.subject.nodes, Node::is_silent) {
            self.driver.lock.handle_reply(clock::now(), id, Reply::Unknown);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for (node, due) in self.driver.subject.nodes.iter().zip(&mut self.answer_due) {
            if due.take_if(|due| now >= *due).is_some() {
                node.suspect();
            }
        }
        self.driver.lock.handle_timeout(now);
        if self.renew_at.take_if(|at| now >= *at).is_some() {
            // A lock that is not held by now has nothing to renew.
            let _is_over = self.driver.lock.extend(now);
        }
    }

    fn handle_request(&mut self, request: Option<Request>) {
        let lock = &mut self.driver.lock;
        let now = clock::now();
        match request {
            Some(Request::Extend(reply)) => match lock.extend(now) {
                Ok(()) => self.extenders.push(reply),
                Err(_) => {
                    let loss = self.loss();
                    tell(reply, Err(ExtendError::Lost(loss)));
                }
            },
            Some(Request::Release(reply)) => {
                // It is the last thing that a guard asks. Nobody need be woken when the guard has gone.
                self.driver.requests = None;
                self.release(now, reply);
            }
            Some(Request::Detach(reply)) => self.detach(now, reply),
            // The guard, or the future that was to return it, was dropped.
            None => {
                self.driver.requests = None;
                self.give_up(now);
            }
        }
    }

    fn release(&mut self, now: Instant, reply: oneshot::Sender<Result<(), ReleaseError>>) {
        if self.give_up(now) {
            self.releaser = Some(reply);
        } else {
            let loss = self.loss();
            tell(reply, Err(ReleaseError::Lost(loss)));
        }
    }

    /// Gives the lock up; `false` if there was nothing to give up.
    fn give_up(&mut self, now: Instant) -> bool {
        let is_given_up = self.driver.lock.release(now).is_ok();
        if is_given_up {
            // R12: nobody believes in it any more when the first node is told.
            self.driver.status.send_replace(Status::Ended);
            self.driver.meter.ended(End::Released);
            self.end_wait();
        }
        is_given_up
    }

    fn detach(&mut self, now: Instant, reply: oneshot::Sender<Result<Handover, Loss>>) {
        self.driver.lock.handle_timeout(now);
        let Some(lease) = self.driver.lock.lease() else {
            let loss = self.loss();
            tell(reply, Err(loss));
            return;
        };
        // Whoever gives a lease away believes in it no longer when somebody else may.
        self.driver.status.send_replace(Status::Ended);
        self.driver.meter.ended(End::HandedOver);
        let (taken, is_taken) = oneshot::channel();
        self.taken = Some(is_taken);
        tell(reply, Ok(Handover { lease, taken }));
    }

    /// Why the lock is not held, for a guard that asks something of it.
    fn loss(&mut self) -> Loss {
        // The question itself may have brought the loss to light.
        self.tell_events();
        match *self.driver.status.borrow() {
            Status::Lost(loss) => loss,
            Status::Asked | Status::Held { .. } | Status::Ended => Loss::Expired,
        }
    }

    fn tell_events(&mut self) {
        while let Some(event) = self.driver.lock.poll_event() {
            trace::event(&event);
            self.driver.meter.event(&event);
            match event {
                Event::Granted(lease) => {
                    if self.driver.errand.is_one_of(spread::CROWD) {
                        let config = self.driver.lock.config();
                        self.renew_at = spread::first_renewal(config, clock::now(), &lease);
                    }
                    self.driver.status.send_replace(Status::Held { lease, risk: Risk::None });
                    self.end_wait();
                    if let Some(acquirer) = self.driver.acquirer.take() {
                        // Whoever does not take the grant has dropped its requests as well.
                        tell(acquirer, Ok(lease));
                    }
                }
                Event::Retrying { .. } => {}
                Event::Failed { cause, .. } => {
                    let error = self.acquire_error(cause);
                    self.end_wait();
                    if let Some(acquirer) = self.driver.acquirer.take() {
                        tell(acquirer, Err(error));
                    }
                    self.driver.requests = None;
                }
                Event::Extended(lease) => {
                    self.set_risk(Risk::None);
                    self.show_lease();
                    for extender in self.extenders.drain(..) {
                        tell(extender, Ok(lease.valid_until));
                    }
                }
                Event::AtRisk { lease, .. } => {
                    self.set_risk(Risk::Missed);
                    let votes = self.asked.votes(&self.driver.subject.nodes);
                    let remaining = clock::until(lease.valid_until);
                    for extender in self.extenders.drain(..) {
                        let error = ExtendError::AtRisk { remaining, votes: votes.clone() };
                        tell(extender, Err(error));
                    }
                }
                Event::Lost { loss, .. } => self.lost(loss),
                Event::Released(released) => self.released(released),
            }
        }
    }

    fn end_wait(&mut self) {
        self.driver.subject.is_wait_over.store(true, Ordering::Relaxed);
        self.driver.waiter = None;
    }

    fn set_risk(&mut self, now: Risk) {
        self.driver.status.send_if_modified(|status| match status {
            Status::Held { risk, .. } => {
                *risk = now;
                true
            }
            Status::Asked | Status::Lost(_) | Status::Ended => false,
        });
    }

    /// Late answers lengthen a lease without an event (R1). What a guard sees must not lag behind; and
    /// if one has seen the lease's end before the news came, the end stands (R11).
    fn show_lease(&mut self) {
        let Some(longer) = self.driver.lock.lease() else { return };
        let seen_over = &self.driver.seen_over;
        let mut is_over = false;
        self.driver.status.send_if_modified(|status| {
            let Status::Held { lease, .. } = status else { return false };
            if longer.valid_until <= lease.valid_until {
                return false;
            }
            // Nobody looks while this is decided.
            is_over = seen_over.load(Ordering::SeqCst);
            if !is_over {
                *lease = longer;
            }
            !is_over
        });
        if is_over {
            // It was to be lost at the instant that was seen.
            self.lost(Loss::Expired);
            if self.driver.lock.release(clock::now()).is_ok() {
                self.send_commands();
            }
        }
    }

    fn lost(&mut self, loss: Loss) {
        self.driver.status.send_replace(Status::Lost(loss));
        self.driver.meter.ended(End::Lost);
        for extender in self.extenders.drain(..) {
            tell(extender, Err(ExtendError::Lost(loss)));
        }
    }

    fn released(&mut self, released: Released) {
        let result = match released {
            Released::Confirmed => Ok(()),
            Released::Unconfirmed { expires_at } => Err(ReleaseError::Unconfirmed {
                expires_in: clock::until(expires_at),
                votes: self.released.votes(&self.driver.subject.nodes),
            }),
        };
        if let Some(releaser) = self.releaser.take() {
            tell(releaser, result);
        }
    }

    fn acquire_error(&self, cause: Cause) -> AcquireError {
        let votes = self.asked.votes(&self.driver.subject.nodes);
        match cause {
            Cause::Contended { retry_after } => AcquireError::Contended { retry_after, votes },
            Cause::NoQuorum => AcquireError::NoQuorum { votes },
            Cause::TooLate => AcquireError::TooLate { votes },
            Cause::Quarantined { remaining } => AcquireError::Quarantined { remaining, votes },
            Cause::DeadlineExceeded => AcquireError::DeadlineExceeded { votes: Some(votes) },
            Cause::Cancelled => AcquireError::Cancelled,
        }
    }

    /// Nothing is left to be done, or to be waited for.
    fn is_over(&mut self) -> bool {
        if self.driver.requests.is_some() || self.releaser.is_some() {
            return false;
        }
        let now = clock::now();
        let silent = self.in_flight.is_empty() || now >= self.deadline;
        if silent && !self.driver.errand.linger() {
            return true;
        }
        if !self.driver.lock.is_idle() {
            self.linger_until = None;
            return false;
        }
        // R6: a late reply may still ask for one more release. It is waited for as long as a key that
        // was set just now would live.
        let ttl = self.driver.lock.config().ttl().as_duration();
        let until = *self.linger_until.get_or_insert(now.saturating_add(ttl));
        self.in_flight.is_empty() || now >= until
    }

    /// When to look at the clock again.
    fn timeout(&self) -> Option<Instant> {
        let machine = self.driver.lock.poll_timeout();
        let answers_due = !self.in_flight.is_empty() && clock::now() < self.deadline;
        let last_answer = answers_due.then_some(self.deadline);
        let first_answer = self.answer_due.iter().flatten().min().copied();
        let ours = [self.renew_at, first_answer, last_answer, self.linger_until];
        ours.into_iter().chain([machine]).flatten().min()
    }
}

/// Answers whoever waited, who may have gone.
fn tell<T>(waiter: oneshot::Sender<T>, news: T) {
    let _gone = waiter.send(news);
}

/// Completes when the lease was taken. If whoever was to take it has gone, so has its guard, and the
/// lock is released as it is whenever a guard is dropped.
async fn told(taken: &mut Option<oneshot::Receiver<()>>) {
    if let Some(is_taken) = taken {
        let result = is_taken.await;
        *taken = None;
        if result.is_ok() {
            return;
        }
    }
    std::future::pending().await
}

async fn hear(waiter: &mut Option<Waiter>) -> Heard {
    match waiter {
        Some(waiter) => waiter.hear().await,
        None => std::future::pending().await,
    }
}

async fn receive(requests: &mut Option<mpsc::UnboundedReceiver<Request>>) -> Option<Request> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}
