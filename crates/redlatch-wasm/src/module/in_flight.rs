//! The commands that may still be answered.

use alloc::boxed::Box;

use redlatch_core::Command;

/// How many commands that were given up are remembered for the sake of a late answer: twice as many as one
/// fan-out can have.
const GIVEN_UP_MAX: usize = 32;

/// Commands that were handed out, the latest first. A list, because what makes a vector grow is more code
/// than all that is done with it.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    latest: Link,
}

type Link = Option<Box<Sent>>;

/// One command that was handed out.
#[derive(Debug)]
struct Sent {
    id: u32,
    command: Command,
    given_up: bool,
    before: Link,
}

impl InFlight {
    pub(crate) fn push(&mut self, id: u32, command: Command) {
        self.forget_oldest();
        let before = self.latest.take();
        self.latest = Some(Box::new(Sent { id, command, given_up: false, before }));
    }

    /// The latest command that was not answered.
    pub(crate) fn latest(&self) -> Option<&Command> {
        self.latest.as_ref().map(|sent| &sent.command)
    }

    /// The command `id`, which is answered now.
    pub(crate) fn take(&mut self, id: u32) -> Option<Command> {
        Some(unlink(self.find(|sent| sent.id == id)?)?.command)
    }

    /// The command `id`, which is given up now; `None` if it was before.
    pub(crate) fn give_up(&mut self, id: u32) -> Option<Command> {
        let sent = self.find(|sent| sent.id == id && !sent.given_up)?.as_mut()?;
        sent.given_up = true;
        Some(sent.command)
    }

    /// How many were neither answered nor given up.
    pub(crate) fn open(&self) -> usize {
        self.iter().filter(|sent| !sent.given_up).count()
    }

    /// Bounds what is remembered of a node that never answers.
    fn forget_oldest(&mut self) {
        let mut given_up = self.iter().filter(|sent| sent.given_up).map(|sent| sent.id);
        let oldest = given_up.nth(GIVEN_UP_MAX - 1);
        drop(given_up);
        oldest.and_then(|oldest| self.take(oldest));
    }

    fn iter(&self) -> impl Iterator<Item = &Sent> {
        core::iter::successors(self.latest.as_deref(), |sent| sent.before.as_deref())
    }

    /// The link to the latest command that is wanted.
    fn find(&mut self, is_wanted: impl Fn(&Sent) -> bool) -> Option<&mut Link> {
        let mut link = &mut self.latest;
        while !is_wanted(link.as_ref()?) {
            link = &mut link.as_mut()?.before;
        }
        Some(link)
    }
}

/// Takes the command behind `link` out of its list.
fn unlink(link: &mut Link) -> Link {
    let mut sent = link.take()?;
    *link = sent.before.take();
    Some(sent)
}

/// One by one, because a long list that drops itself needs as much stack.
impl Drop for InFlight {
    fn drop(&mut self) {
        while unlink(&mut self.latest).is_some() {}
    }
}
