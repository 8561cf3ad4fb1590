//! Which commands a fault strikes, and the handle by which a test follows and ends it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::live::PATIENCE;

/// A command as a client sent it.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    connection: usize,
    args: Vec<Vec<u8>>,
}

impl Command {
    pub(super) fn new(connection: usize, args: Vec<Vec<u8>>) -> Self {
        Self { connection, args }
    }

    /// The connection that it came by, counted from 1 in the order in which they were accepted.
    #[must_use]
    pub fn connection(&self) -> usize {
        self.connection
    }

    /// Its name in capitals, such as `SET`.
    #[must_use]
    pub fn name(&self) -> String {
        self.arg(0).to_ascii_uppercase()
    }

    /// All arguments, its name first.
    #[must_use]
    pub fn args(&self) -> &[Vec<u8>] {
        &self.args
    }

    /// The argument at `index`, where 0 is the name, as text; empty if there is none.
    #[must_use]
    pub fn arg(&self, index: usize) -> Cow<'_, str> {
        self.args.get(index).map(|arg| String::from_utf8_lossy(arg)).unwrap_or_default()
    }

    /// Whether it has this name, in capitals or not.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.args[0].eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Without its arguments, which may be tokens or passwords.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} ({} arguments)", self.connection, self.name(), self.args.len() - 1)
    }
}

type Predicate = Box<dyn Fn(&Command) -> bool + Send>;

/// Which commands a fault strikes.
pub struct Match {
    name: Option<String>,
    nth: Option<usize>,
    predicate: Option<Predicate>,
}

impl Match {
    /// Every command, those of a client's handshake included.
    #[must_use]
    pub fn any() -> Self {
        Self { name: None, nth: None, predicate: None }
    }

    /// Every command of this name, in capitals or not.
    #[must_use]
    pub fn command(name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::any() }
    }

    /// Only those that `predicate` holds for.
    ///
    /// It runs on the thread of the proxy, in the middle of its work: it must neither wait nor call
    /// the proxy.
    #[must_use]
    pub fn when(self, predicate: impl Fn(&Command) -> bool + Send + 'static) -> Self {
        Self { predicate: Some(Box::new(predicate)), ..self }
    }

    /// Only the n-th of those that match otherwise, counted from 1 at the injection.
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    #[must_use]
    pub fn nth(self, n: usize) -> Self {
        assert!(n > 0, "the first match is number 1");
        Self { nth: Some(n), ..self }
    }

    fn concerns(&self, command: &Command) -> bool {
        self.name.as_ref().is_none_or(|name| command.is(name))
            && self.predicate.as_ref().is_none_or(|predicate| predicate(command))
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("any command");
        let predicate = self.predicate.as_ref().map_or("", |_| " when a predicate holds");
        let nth = self.nth.map(|n| format!(", number {n}")).unwrap_or_default();
        write!(f, "{name}{predicate}{nth}")
    }
}

/// What happens to a command that a rule strikes.
///
/// All of these are things that a network, or a client that sends again, can do. A TCP connection
/// may lose its tail but never its middle, and keeps its order: what is behind a delayed or held
/// frame on the same connection waits too, and after a lost frame nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server gets it this much later, even if the client is gone by then.
    DelayRequest(Duration),
    /// The client gets the reply this much later.
    DelayReply(Duration),
    /// The server gets it when the rule is released, even if the client is gone by then.
    HoldRequest,
    /// The server handles it; the client gets the reply when the rule is released.
    HoldReply,
    /// The server never gets it, nor anything after it on this connection.
    DropRequest(Then),
    /// The server handles it, and the client gets neither its reply nor a later one on this
    /// connection. With [`Then::Hang`] later commands still reach the server.
    DropReply(Then),
    /// The server gets it twice in a row; the client gets the first reply.
    Duplicate,
}

/// What the client sees after something was lost on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Silence.
    Hang,
    /// A reset connection.
    Reset,
}

/// An injected fault: how often it struck, and the way to end it.
///
/// A rule goes on without its handle: dropping the handle releases nothing.
#[derive(Clone, Debug)]
pub struct Rule {
    shared: Arc<RuleShared>,
}

#[derive(Debug)]
pub(super) struct RuleShared {
    what: String,
    pub(super) fault: Fault,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    struck: usize,
    answered: usize,
    is_released: bool,
}

impl Rule {
    /// How many commands it struck; a held one counts from the moment it is held.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.shared.progress.borrow().struck
    }

    /// How many of those the server has answered, whether or not the client was told.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.shared.progress.borrow().answered
    }

    /// Waits until it struck `n` commands in all.
    ///
    /// # Errors
    ///
    /// If that takes longer than [`PATIENCE`].
    pub async fn wait_struck(&self, n: usize) -> Result<(), InVain> {
        self.wait(&format!("to strike {n}"), |progress| progress.struck >= n).await
    }

    /// Waits until the server has answered `n` of the commands that it struck, and so has surely
    /// handled them; both copies of a duplicated one.
    ///
    /// # Errors
    ///
    /// If that takes longer than [`PATIENCE`].
    pub async fn wait_answered(&self, n: usize) -> Result<(), InVain> {
        self.wait(&format!("to see {n} answered"), |progress| progress.answered >= n).await
    }

    /// Ends the rule: it strikes no more, and what it held goes on its way.
    ///
    /// Held requests reach the server soon after this call returned; see
    /// [`wait_answered`](Self::wait_answered). What is lost stays lost.
    pub fn release(&self) {
        self.shared.update(|progress| progress.is_released = true);
    }

    async fn wait(
        &self,
        goal: &str,
        mut is_met: impl FnMut(&Progress) -> bool,
    ) -> Result<(), InVain> {
        let mut progress = self.shared.progress.subscribe();
        let met =
            tokio::time::timeout(PATIENCE, progress.wait_for(|now| is_met(now))).await.is_ok();
        if met {
            return Ok(());
        }
        let state = *self.shared.progress.borrow();
        Err(InVain(format!("the rule for {} was {goal}, but: {state:?}", self.shared.what)))
    }
}

/// A rule did not come to do something within [`PATIENCE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InVain(String);

impl fmt::Display for InVain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for InVain {}

impl RuleShared {
    fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    pub(super) fn note_strike(&self) {
        self.update(|progress| progress.struck += 1);
    }

    pub(super) fn note_answer(&self) {
        self.update(|progress| progress.answered += 1);
    }

    pub(super) async fn wait_released(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is a field of self, so it cannot be gone.
        let _ = progress.wait_for(|now| now.is_released).await;
    }

    fn is_released(&self) -> bool {
        self.progress.borrow().is_released
    }
}

/// The rules in force; of those that match, the first injected decides.
#[derive(Debug, Default)]
pub(super) struct Rules {
    armed: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    matcher: Match,
    matches: usize,
    shared: Arc<RuleShared>,
}

impl Rules {
    pub(super) fn add(&mut self, matcher: Match, fault: Fault) -> Rule {
        let what = format!("{matcher:?}: {fault:?}");
        let shared = Arc::new(RuleShared { what, fault, progress: watch::Sender::default() });
        self.armed.push(Armed { matcher, matches: 0, shared: Arc::clone(&shared) });
        Rule { shared }
    }

    pub(super) fn release_all(&mut self) {
        for armed in self.armed.drain(..) {
            Rule { shared: armed.shared }.release();
        }
    }

    /// The rule that strikes this command, if any does.
    pub(super) fn strike(&mut self, command: &Command) -> Option<Arc<RuleShared>> {
        self.armed.retain(|armed| !armed.shared.is_released());
        let struck = self.armed.iter_mut().find_map(|armed| {
            if !armed.matcher.concerns(command) {
                return None;
            }
            armed.matches += 1;
            armed.matcher.nth.is_none_or(|n| n == armed.matches).then_some(&armed.shared)
        })?;
        Some(Arc::clone(struck))
    }
}
