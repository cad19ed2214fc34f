//! The slots of a cluster whose hashes may hold requests, so that no other need be looked at.
//!
//! A server notes a slot in the engine before it commits a request there. The server that sends looks at those that
//! were noted lately in each turn, and at all others now and then. A slot without requests is forgotten an hour after
//! it was noted.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{EngineRequests, texts};
use crate::account::Account;
use crate::call::Upstream;
use crate::error::UpstreamError;
use crate::request_state::place::{SLOTS, slot_without_key};

/// Time for which a slot that was noted counts as used, by clocks that differ by less.
const RECENT: Duration = Duration::from_secs(30);

/// Time between two looks at all slots.
const ALL_PAUSE: Duration = Duration::from_secs(60);

/// Time after which a slot without requests is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Most slots that are looked at in one turn.
const SLOTS_IN_A_TURN: usize = 256;

impl Upstream {
    /// Notes in the engine that a slot may get a request. `account` is used if the URL has no credentials.
    ///
    /// # Errors
    ///
    /// The engine does not take it.
    pub(crate) async fn register_slot(
        &self,
        slot: u16,
        account: &Account,
    ) -> Result<(), UpstreamError> {
        // It is looked at without being noted.
        if slot == slot_without_key() {
            return Ok(());
        }
        let own = &self.pool_options().location.account;
        let account = if own.password.is_some() { own } else { account };
        self.requests(account).note_slot(slot).await
    }
}

impl EngineRequests<'_> {
    async fn note_slot(&self, slot: u16) -> Result<(), UpstreamError> {
        let note = redis::cmd("ZADD")
            .arg(SLOTS)
            .arg(now_millis())
            .arg(slot)
            .to_owned();
        self.send(SLOTS, &note).await.map(drop)
    }

    /// Returns all slots whose hashes may hold requests; one that is none if there are no slots.
    pub(super) async fn all_slots(&self) -> Result<BTreeSet<Option<u16>>, UpstreamError> {
        if !self.upstream.topology().is_cluster() {
            return Ok(BTreeSet::from([None]));
        }
        let range = redis::cmd("ZRANGE").arg(SLOTS).arg(0).arg(-1).to_owned();
        let noted = numbers(texts(self.send(SLOTS, &range).await?));
        let mut slots: BTreeSet<_> = noted.into_iter().map(Some).collect();
        slots.insert(Some(slot_without_key()));
        Ok(slots)
    }

    /// Returns the slots to look at in this turn; `known` are those of which requests are known.
    pub(super) async fn slots_of_turn(
        &self,
        known: impl Iterator<Item = u16>,
    ) -> Result<BTreeSet<Option<u16>>, UpstreamError> {
        if !self.upstream.topology().is_cluster() {
            return Ok(BTreeSet::from([None]));
        }
        let turns = &self.upstream.request_turns.0;
        let all_read = turns.lock().all_read;
        if all_read.is_none_or(|at| at.elapsed() >= ALL_PAUSE) {
            let all = self.all_slots().await?;
            let mut turns = turns.lock();
            turns.all_read = Some(Instant::now());
            turns.prunes = true;
            turns.queue.extend(all.into_iter().flatten());
        }
        let since = now_millis().saturating_sub(RECENT.as_millis() as u64);
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(SLOTS).arg(since).arg("+inf");
        let recent = numbers(texts(self.send(SLOTS, &range).await?));
        let mut turns = turns.lock();
        let waiting: BTreeSet<u16> = turns.queue.iter().copied().collect();
        let used = recent.into_iter().chain(known).chain([slot_without_key()]);
        let used: BTreeSet<u16> = used.filter(|slot| !waiting.contains(slot)).collect();
        turns.queue.extend(used);
        let count = turns.queue.len().min(SLOTS_IN_A_TURN);
        Ok(turns.queue.drain(..count).map(Some).collect())
    }

    /// Once all slots were looked at: notes those that have requests anew, and forgets those that were not noted
    /// for long.
    pub(super) async fn prune_slots(&self, used: &BTreeSet<u16>) -> Result<(), UpstreamError> {
        {
            let mut turns = self.upstream.request_turns.0.lock();
            if !turns.prunes || !turns.queue.is_empty() {
                return Ok(());
            }
            turns.prunes = false;
        }
        for slot in used {
            self.note_slot(*slot).await?;
        }
        let before = now_millis().saturating_sub(FORGET_AFTER.as_millis() as u64);
        let mut remove = redis::cmd("ZREMRANGEBYSCORE");
        remove.arg(SLOTS).arg("-inf").arg(before);
        self.send(SLOTS, &remove).await.map(drop)
    }
}

fn numbers(texts: Vec<Vec<u8>>) -> Vec<u16> {
    let number = |text: Vec<u8>| std::str::from_utf8(&text).ok()?.parse().ok();
    texts.into_iter().filter_map(number).collect()
}

fn now_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |elapsed| {
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    })
}
