//! Sorted sets, as far as queues need them: members with scores that are whole numbers.

use super::keyspace::{SortedSet, Value};
use super::number::{integer, parse};
use super::resp::Resp;
use super::table::{Call, Outcome};

/// What a key of another type is told.
pub(super) fn wrong_type() -> Resp {
    Resp::error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

/// The largest score that a double tells from its neighbours.
const SCORE_MAX: i64 = 1 << 53;

impl Call<'_> {
    /// The members of `key`, in order; none if it is not there.
    fn members(&mut self, key: &[u8]) -> Result<SortedSet, Resp> {
        match self.store.keyspace.find(self.now, self.session.db, key).map(|entry| &entry.value) {
            None => Ok(SortedSet::new()),
            Some(Value::Sorted(members)) => Ok(members.clone()),
            Some(Value::String(_)) => Err(wrong_type()),
        }
    }

    /// Puts them back, in a key that keeps its expiry. A set without members is no key.
    fn put_members(&mut self, key: &[u8], mut members: SortedSet) {
        members.sort_unstable();
        let (now, db) = (self.now, self.session.db);
        if members.is_empty() {
            self.store.keyspace.remove(now, db, key);
            return;
        }
        let entry = self.store.keyspace.find(now, db, key);
        let expires_at = entry.and_then(|entry| entry.expires_at);
        self.store.keyspace.put(db, key, Value::Sorted(members), expires_at);
    }
}

fn count(count: usize) -> Resp {
    Resp::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn syntax() -> Resp {
    Resp::error("ERR syntax error")
}

/// `ZADD key score member…`, without options.
pub(super) fn zadd(call: &mut Call<'_>) -> Outcome {
    let (key, pairs) = (call.args[1], &call.args[2..]);
    if !pairs.len().is_multiple_of(2) {
        return Err(syntax());
    }
    let no_score = || Resp::error("ERR value is not a valid float");
    let whole = |text: &[u8]| parse(text).filter(|score| score.abs() <= SCORE_MAX);
    let scores: Result<Vec<i64>, Resp> =
        pairs.chunks(2).map(|pair| whole(pair[0]).ok_or_else(no_score)).collect();
    let scores = scores?;
    let mut members = call.members(key)?;
    let mut added = 0;
    for (score, pair) in scores.into_iter().zip(pairs.chunks(2)) {
        match members.iter_mut().find(|(_, member)| member == pair[1]) {
            Some(member) => member.0 = score,
            None => {
                members.push((score, pair[1].to_vec()));
                added += 1;
            }
        }
    }
    call.put_members(key, members);
    Ok(count(added))
}

pub(super) fn zrem(call: &mut Call<'_>) -> Outcome {
    let key = call.args[1];
    let mut members = call.members(key)?;
    let before = members.len();
    members.retain(|(_, member)| !call.args[2..].contains(&member.as_slice()));
    let removed = before - members.len();
    if removed > 0 {
        call.put_members(key, members);
    }
    Ok(count(removed))
}

pub(super) fn zcard(call: &mut Call<'_>) -> Outcome {
    Ok(count(call.members(call.args[1])?.len()))
}

pub(super) fn zscore(call: &mut Call<'_>) -> Outcome {
    let members = call.members(call.args[1])?;
    let found = members.iter().find(|(_, member)| member == call.args[2]);
    Ok(found.map_or(Resp::Nil, |(score, _)| Resp::Score(*score)))
}

/// `ZPOPMIN key [count]`.
pub(super) fn zpopmin(call: &mut Call<'_>) -> Outcome {
    let key = call.args[1];
    let wanted = match call.args[2..] {
        [] => 1,
        [wanted] => parse(wanted)
            .and_then(|wanted| usize::try_from(wanted).ok())
            .ok_or_else(|| Resp::error("ERR value is out of range, must be positive"))?,
        [..] => return Err(syntax()),
    };
    let mut members = call.members(key)?;
    let rest = members.split_off(wanted.min(members.len()));
    if !members.is_empty() {
        call.put_members(key, rest);
    }
    Ok(scored(members))
}

/// `ZRANGE key start stop [WITHSCORES]`, by places.
pub(super) fn zrange(call: &mut Call<'_>) -> Outcome {
    let with_scores = match call.args[4..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"WITHSCORES") => true,
        [..] => return Err(syntax()),
    };
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    let members = call.members(call.args[1])?;
    let len = i64::try_from(members.len()).unwrap_or(i64::MAX);
    let place = |at: i64| if at < 0 { at.saturating_add(len).max(-1) } else { at };
    let is_in = |at: i64| place(start) <= at && at <= place(stop);
    let taken: SortedSet =
        (0..).zip(members).filter(|(at, _)| is_in(*at)).map(|(_, member)| member).collect();
    Ok(if with_scores {
        scored(taken)
    } else {
        Resp::Array(taken.into_iter().map(|(_, member)| Resp::Bulk(member)).collect())
    })
}

fn scored(members: SortedSet) -> Resp {
    let flat =
        members.into_iter().flat_map(|(score, member)| [Resp::Bulk(member), Resp::Score(score)]);
    Resp::Array(flat.collect())
}
