//! Channels: who listens, and what was said to whom.

use super::resp::Resp;
use super::session::{Protocol, Session};
use super::table::{Call, Outcome};

/// Subscriptions of all sessions, and messages that have not been handed on yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Channels {
    /// Session and channel, in the order of subscribing.
    listeners: Vec<(u64, Vec<u8>)>,
    said: Vec<(u64, Resp)>,
}

impl Channels {
    /// The connections have ended, and with them what was still to be said.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The session has ended.
    pub(super) fn leave(&mut self, id: u64) {
        self.listeners.retain(|(listener, _)| *listener != id);
        self.said.retain(|(listener, _)| *listener != id);
    }

    /// What was said since this was last asked, and to which session.
    pub(super) fn take(&mut self) -> Vec<(u64, Resp)> {
        std::mem::take(&mut self.said)
    }

    fn of(&self, id: u64) -> impl Iterator<Item = &[u8]> {
        let own = self.listeners.iter().filter(move |(listener, _)| *listener == id);
        own.map(|(_, channel)| channel.as_slice())
    }
}

/// `PUBLISH channel message`: how many listen.
pub(super) fn publish(call: &mut Call<'_>) -> Outcome {
    let [_, channel, message] = *call.args else { return Ok(Resp::NO) };
    let Channels { listeners, said } = &mut call.store.channels;
    let mut heard = 0;
    for (id, _) in listeners.iter().filter(|(_, listened)| listened == channel) {
        let parts = [Resp::bulk("message"), Resp::bulk(channel), Resp::bulk(message)];
        said.push((*id, Resp::Push(parts.into())));
        heard += 1;
    }
    Ok(Resp::Int(heard))
}

/// `SUBSCRIBE channel…`: one answer for each.
pub(super) fn subscribe(call: &mut Call<'_>) -> Outcome {
    let id = call.session.id;
    let answers = call.args[1..].iter().map(|&channel| {
        let channels = &mut call.store.channels;
        if !channels.of(id).any(|own| own == channel) {
            channels.listeners.push((id, channel.to_vec()));
        }
        call.session.subscriptions = channels.of(id).count();
        answer("subscribe", Resp::bulk(channel), call.session)
    });
    Ok(Resp::Several(answers.collect()))
}

/// `UNSUBSCRIBE [channel…]`: one answer for each, or for all that there are.
pub(super) fn unsubscribe(call: &mut Call<'_>) -> Outcome {
    let id = call.session.id;
    let all: Vec<Vec<u8>> = match &call.args[1..] {
        [] => call.store.channels.of(id).map(<[u8]>::to_vec).collect(),
        named => named.iter().map(|channel| channel.to_vec()).collect(),
    };
    if all.is_empty() {
        return Ok(answer("unsubscribe", Resp::Nil, call.session));
    }
    let answers = all.into_iter().map(|channel| {
        let channels = &mut call.store.channels;
        channels.listeners.retain(|(listener, own)| *listener != id || *own != channel);
        call.session.subscriptions = channels.of(id).count();
        answer("unsubscribe", Resp::Bulk(channel), call.session)
    });
    Ok(Resp::Several(answers.collect()))
}

fn answer(what: &str, channel: Resp, session: &Session) -> Resp {
    let count = i64::try_from(session.subscriptions).unwrap_or(i64::MAX);
    Resp::Push(vec![Resp::bulk(what), channel, Resp::Int(count)])
}

/// Why a connection that has subscribed may not ask for `name`: in RESP2 it could not tell the answer from
/// a message.
pub(super) fn refusal(session: &Session, name: &str) -> Option<Resp> {
    const ALLOWED: [&str; 5] = ["subscribe", "unsubscribe", "ping", "quit", "reset"];
    let is_bound = session.subscriptions > 0 && session.protocol == Protocol::Resp2;
    (is_bound && !ALLOWED.contains(&name)).then(|| {
        Resp::error(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
             allowed in this context"
        ))
    })
}
