//! The loop that carries one lock: commands out, replies and timeouts in, events to whoever waits.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::pin::Pin;

use futures_channel::{mpsc, oneshot};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, select_biased};
use redlatch_core::wire::{Answer, Dialect, Form, Keys, KeysError, Wire, WireError};
use redlatch_core::{
    Cause, Command, Event, Instant, Lease, Lock, Loss, NodeId, Op, Quorum, Released, Reply,
};

use crate::clock;
use crate::error::{AcquireError, ExtendError, ReleaseError, Vote, Votes};
use crate::node::{Failure, Transport};
use crate::poll::Poll;

/// What a guard asks of its driver.
pub(crate) enum Request {
    Extend(oneshot::Sender<Result<(), ExtendError>>),
    Release(oneshot::Sender<Result<(), ReleaseError>>),
}

/// What a guard sees of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Not granted yet.
    Asked,
    Held(Lease),
    Lost(Loss),
    Released,
}

/// What a driver and its guard share.
pub(crate) struct Shared {
    pub(crate) status: Cell<Status>,
    /// Set once the guard has seen the end of its lease.
    pub(crate) seen_over: Cell<bool>,
    /// Who waits for the loss.
    pub(crate) waiting: RefCell<Vec<oneshot::Sender<Loss>>>,
}

/// The names of the resources that one lock is about, and how nodes are spoken to.
pub(crate) struct Subject {
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) dialect: Dialect,
}

impl Subject {
    pub(crate) fn keys(&self) -> Result<Keys<'_>, KeysError> {
        let mut names: [&[u8]; Keys::MAX] = [b""; Keys::MAX];
        let count = self.names.len();
        let names = names.get_mut(..count).ok_or(KeysError::Count { count })?;
        for (place, name) in names.iter_mut().zip(&self.names) {
            *place = name;
        }
        Keys::new(names)
    }

    pub(crate) fn wire(&self) -> Result<Wire<'_>, WireError> {
        Wire::new(self.keys()?, self.dialect)
    }
}

/// One lock and all that its loop needs.
pub(crate) struct Driver<T> {
    pub(crate) transport: Rc<T>,
    pub(crate) subject: Rc<Subject>,
    pub(crate) lock: Lock,
    /// What the guard asks, until there is none.
    pub(crate) requests: Option<mpsc::UnboundedReceiver<Request>>,
    /// Who waits for the grant.
    pub(crate) acquirer: Option<oneshot::Sender<Result<Lease, AcquireError>>>,
    pub(crate) shared: Rc<Shared>,
}

/// A reply and, where it explains a vote, what the node said.
struct Outcome {
    command: Command,
    reply: Reply,
    failure: Option<Failure>,
}

/// The loop's own state.
struct Loop<T> {
    driver: Driver<T>,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome>>>>,
    /// What the nodes said to the latest acquire or extend.
    asked: Poll<Vote>,
    /// What the nodes said to the latest release.
    released: Poll<Vote>,
    /// The deadline of the latest command.
    deadline: Instant,
    extenders: Vec<oneshot::Sender<Result<(), ExtendError>>>,
    releaser: Option<oneshot::Sender<Result<(), ReleaseError>>>,
    /// When to stop waiting for late replies, once the machine is idle.
    linger_until: Option<Instant>,
}

/// Drives `driver.lock` until nothing of it is left on any node that answers.
pub(crate) async fn run<T: Transport>(driver: Driver<T>) {
    let mut this = Loop {
        driver,
        in_flight: FuturesUnordered::new(),
        asked: Poll::new(),
        released: Poll::new(),
        deadline: Instant::ZERO,
        extenders: Vec::new(),
        releaser: None,
        linger_until: None,
    };
    while this.step().await {}
}

impl<T: Transport> Loop<T> {
    /// One round of the loop; `false` when there is nothing more to do.
    async fn step(&mut self) -> bool {
        self.send_commands();
        self.tell_events();
        self.show_lease();
        if self.is_over() {
            return false;
        }
        let timeout = self.timeout();
        let transport = self.driver.transport.clone();
        let mut sleep = Box::pin(clock::sleep_until(&*transport, timeout).fuse());
        let mut request = Box::pin(receive(&mut self.driver.requests).fuse());
        select_biased! {
            outcome = self.in_flight.select_next_some() => {
                drop(request);
                self.handle_reply(outcome);
            }
            asked = request => {
                drop(request);
                self.handle_request(asked);
            }
            () = sleep => {
                drop(request);
                self.driver.lock.handle_timeout(transport.now());
            }
        }
        true
    }

    fn send_commands(&mut self) {
        while let Some(command) = self.driver.lock.poll_command() {
            self.poll_for(&command).ask(&command);
            self.deadline = self.deadline.max(command.deadline);
            let transport = self.driver.transport.clone();
            self.in_flight.push(Box::pin(carry(transport, self.driver.subject.clone(), command)));
        }
    }

    fn poll_for(&mut self, command: &Command) -> &mut Poll<Vote> {
        match command.op {
            Op::Release { .. } => &mut self.released,
            Op::Acquire { .. } | Op::Seal { .. } | Op::Extend { .. } => &mut self.asked,
        }
    }

    fn handle_reply(&mut self, outcome: Outcome) {
        let now = self.driver.transport.now();
        self.driver.lock.handle_reply(now, outcome.command.id, outcome.reply);
        let command = outcome.command;
        self.poll_for(&command).note(&command, vote(outcome));
    }

    fn handle_request(&mut self, request: Option<Request>) {
        let now = self.driver.transport.now();
        let lock = &mut self.driver.lock;
        match request {
            Some(Request::Extend(reply)) => match lock.extend(now) {
                Ok(()) => self.extenders.push(reply),
                Err(_) => {
                    let loss = self.loss();
                    tell(reply, Err(ExtendError::Lost(loss)));
                }
            },
            Some(Request::Release(reply)) => match lock.release(now) {
                Ok(()) => {
                    // R12: nobody believes in it any more when the first node is told.
                    self.driver.shared.status.set(Status::Released);
                    self.releaser = Some(reply);
                }
                Err(_) => {
                    let loss = self.loss();
                    tell(reply, Err(ReleaseError::Lost(loss)));
                }
            },
            // The guard, or the future that was to return it, was dropped.
            None => {
                self.driver.requests = None;
                if lock.release(now).is_ok() {
                    self.driver.shared.status.set(Status::Released);
                }
            }
        }
    }

    /// Why the lock is not held, for a guard that asks something of it.
    fn loss(&mut self) -> Loss {
        // The question itself may have brought the loss to light.
        self.tell_events();
        match self.driver.shared.status.get() {
            Status::Lost(loss) => loss,
            Status::Asked | Status::Held(_) | Status::Released => Loss::Expired,
        }
    }

    fn tell_events(&mut self) {
        while let Some(event) = self.driver.lock.poll_event() {
            match event {
                Event::Granted(lease) => {
                    self.driver.shared.status.set(Status::Held(lease));
                    if let Some(acquirer) = self.driver.acquirer.take() {
                        // Whoever does not take the grant has dropped its requests as well.
                        tell(acquirer, Ok(lease));
                    }
                }
                Event::Retrying { .. } => {}
                Event::Failed { cause, .. } => {
                    let error = self.acquire_error(cause);
                    if let Some(acquirer) = self.driver.acquirer.take() {
                        tell(acquirer, Err(error));
                    }
                    self.driver.requests = None;
                }
                Event::Extended(_) => {
                    self.show_lease();
                    for extender in self.extenders.drain(..) {
                        tell(extender, Ok(()));
                    }
                }
                Event::AtRisk { lease, .. } => {
                    let votes = self.votes(&self.asked);
                    let remaining = clock::until(&*self.driver.transport, lease.valid_until);
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

    /// Late answers lengthen a lease without an event (R1). If the guard has seen the lease's end before
    /// the news came, the end stands (R11).
    fn show_lease(&mut self) {
        let Some(lease) = self.driver.lock.lease() else { return };
        let Status::Held(seen) = self.driver.shared.status.get() else { return };
        if lease.valid_until <= seen.valid_until {
            return;
        }
        if self.driver.shared.seen_over.get() {
            self.lost(Loss::Expired);
            if self.driver.lock.release(self.driver.transport.now()).is_ok() {
                self.send_commands();
            }
        } else {
            self.driver.shared.status.set(Status::Held(lease));
        }
    }

    fn lost(&mut self, loss: Loss) {
        self.driver.shared.status.set(Status::Lost(loss));
        for extender in self.extenders.drain(..) {
            tell(extender, Err(ExtendError::Lost(loss)));
        }
        for waiter in self.driver.shared.waiting.take() {
            tell(waiter, loss);
        }
    }

    fn released(&mut self, released: Released) {
        let result = match released {
            Released::Confirmed => Ok(()),
            Released::Unconfirmed { expires_at } => Err(ReleaseError::Unconfirmed {
                expires_in: clock::until(&*self.driver.transport, expires_at),
                votes: self.votes(&self.released),
            }),
        };
        if let Some(releaser) = self.releaser.take() {
            tell(releaser, result);
        }
    }

    fn acquire_error(&self, cause: Cause) -> AcquireError {
        let votes = self.votes(&self.asked);
        match cause {
            Cause::Contended { retry_after } => AcquireError::Contended { retry_after, votes },
            Cause::NoQuorum => AcquireError::NoQuorum { votes },
            Cause::TooLate => AcquireError::TooLate { votes },
            Cause::Quarantined { remaining } => AcquireError::Quarantined { remaining, votes },
            Cause::DeadlineExceeded => AcquireError::DeadlineExceeded { votes },
            Cause::Cancelled => AcquireError::Cancelled,
        }
    }

    fn votes(&self, poll: &Poll<Vote>) -> Votes {
        let vote = |node: NodeId| poll.said(node).cloned().unwrap_or(Vote::Silent);
        Votes(self.quorum().nodes().iter().map(vote).collect())
    }

    fn quorum(&self) -> Quorum {
        self.driver.lock.config().quorum()
    }

    /// Nothing is left to be done, or to be waited for.
    fn is_over(&mut self) -> bool {
        if self.driver.requests.is_some() {
            return false;
        }
        if !self.driver.lock.is_idle() {
            self.linger_until = None;
            return false;
        }
        // R6: a late reply may still ask for one more release. It is waited for as long as a key that
        // was set just now would live.
        let now = self.driver.transport.now();
        let ttl = self.driver.lock.config().ttl().as_duration();
        let until = *self.linger_until.get_or_insert(now.saturating_add(ttl));
        self.in_flight.is_empty() || now >= until
    }

    /// When to look at the clock again.
    fn timeout(&self) -> Option<Instant> {
        let machine = self.driver.lock.poll_timeout();
        [machine, self.linger_until].into_iter().flatten().min()
    }
}

/// Answers whoever waited, who may have gone.
fn tell<T>(waiter: oneshot::Sender<T>, news: T) {
    let _gone = waiter.send(news);
}

async fn receive(requests: &mut Option<mpsc::UnboundedReceiver<Request>>) -> Option<Request> {
    match requests {
        Some(requests) => requests.next().await,
        None => core::future::pending().await,
    }
}

fn vote(outcome: Outcome) -> Vote {
    match (outcome.reply, outcome.failure) {
        (_, Some(failure)) => Vote::Failed(failure.to_string()),
        (Reply::Applied { .. }, None) => Vote::Applied,
        // A node from which there is nothing to delete is free, which is what was asked.
        (Reply::Refused { .. }, None) if matches!(outcome.command.op, Op::Release { .. }) => {
            Vote::Applied
        }
        (Reply::Refused { remaining, .. }, None) => Vote::Refused { remaining },
        (Reply::Quarantined { remaining }, None) => Vote::Quarantined { remaining },
        (Reply::Unknown, None) => Vote::Silent,
    }
}

/// Carries one command to its node and brings the reply back, however late.
async fn carry<T: Transport>(transport: Rc<T>, subject: Rc<Subject>, command: Command) -> Outcome {
    let (reply, failure) = match ask(&*transport, &subject, &command).await {
        Ok(reply) => (reply, None),
        Err(failure) => (Reply::Unknown, Some(failure)),
    };
    Outcome { command, reply, failure }
}

async fn ask<T: Transport>(
    transport: &T,
    subject: &Subject,
    command: &Command,
) -> Result<Reply, Failure> {
    let args = {
        let wire = subject.wire().map_err(text)?;
        let mut buffer = alloc::vec![0; wire.buffer_len()];
        let args = wire.encode(&command.op, Form::Text, &mut buffer).map_err(text)?;
        args.as_slice().iter().map(|arg| arg.to_vec()).collect()
    };
    let value = transport.send(command.id.node().index(), args).await?;
    if let crate::Value::Error(error) = &value {
        return Err(Failure::new(error.clone()));
    }
    let wire = subject.wire().map_err(text)?;
    match value.lend(|value| wire.decode(&command.op, value)) {
        Answer::Reply(Reply::Unknown) | Answer::ScriptMissing => {
            Err(Failure::new("the answer is none that the protocol knows"))
        }
        Answer::Reply(reply) => Ok(reply),
    }
}

fn text(error: impl core::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
