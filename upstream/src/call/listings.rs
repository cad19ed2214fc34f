//! Questions of a call about all keys, by `KEYS`, `SCAN`, `DBSIZE` and `RANDOMKEY`, and the engine's answers.
//!
//! They are asked for once, and kept through all tries of the call. No commit proves them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferrite_store::{KeyList, Listed, Listing};
use redis::{Cmd, Value};

use super::every_node::{Gathered, Question, scanned};
use super::{Upstream, Usage};
use crate::account::Account;
use crate::address::Address;
use crate::error::UpstreamError;
use crate::pool::Route;

/// Keys that the engine looks at in one step of `KEYS`, and the most in one of `SCAN`.
const STEP_KEYS_MAX: usize = 5_000;

/// Most steps of a `SCAN` that are asked for ahead.
const STEPS_AHEAD_MAX: usize = 256;

/// Most random keys that are asked for ahead.
const RANDOM_AHEAD_MAX: usize = 16;

/// Bytes that each key counts besides its own.
const KEY_COST: u64 = 32;

/// The engine's answers, and the questions that are still open.
#[derive(Debug, Default)]
pub(super) struct Listings {
    known: ferrite_store::Listings,
    pending: Vec<Listing>,
    /// Bytes of all keys in the answers.
    bytes: u64,
}

/// The engine, as one call asks it.
pub(super) struct Asked<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) route: &'a Route<'a>,
    pub(super) account: &'a Account,
    pub(super) database: u32,
    pub(super) usage: &'a Usage,
}

impl Listings {
    /// Returns the answers so far.
    pub(super) fn known(&self) -> ferrite_store::Listings {
        Arc::clone(&self.known)
    }

    /// Notes a question.
    pub(super) fn want(&mut self, listing: Listing) {
        self.pending.push(listing);
    }

    /// Returns true if a question is open.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Asks the engine what is open.
    ///
    /// # Errors
    ///
    /// The engine cannot be reached or refuses, or the keys are too many. What was answered is kept, so this
    /// can be repeated.
    pub(super) async fn fetch(&mut self, engine: &Asked<'_>) -> Result<(), UpstreamError> {
        while let Some(listing) = self.pending.last().cloned() {
            match &listing {
                _ if self.known.contains_key(&listing) => {}
                Listing::Matching(pattern) => {
                    let keys = self.all_matching(engine, pattern).await?;
                    self.keep(engine, listing, Listed::Keys { next: 0, keys })?;
                }
                Listing::Page { .. } => self.pages(engine, listing).await?,
                Listing::Size => {
                    let number = engine.size().await?;
                    self.keep(engine, listing, Listed::Number(number))?;
                }
                Listing::Random(index) => {
                    // More each time, so that a function that asks for many needs few tries.
                    for next in *index..=index + index.min(&RANDOM_AHEAD_MAX) {
                        let key = engine.random_key().await?;
                        self.keep(engine, Listing::Random(next), Listed::Random(key))?;
                    }
                }
            }
            self.pending.pop();
        }
        Ok(())
    }

    /// Goes through all keys that match.
    async fn all_matching(
        &self,
        engine: &Asked<'_>,
        pattern: &[u8],
    ) -> Result<KeyList, UpstreamError> {
        if !engine.upstream.topology().is_cluster() {
            return self.all_of(engine, &[None], pattern).await;
        }
        let mut question = Question::begin(engine.upstream, engine.account).await?;
        loop {
            let nodes: Vec<_> = question.nodes().iter().cloned().map(Some).collect();
            let keys = self.all_of(engine, &nodes, pattern).await?;
            if question.is_answered().await? {
                return Ok(keys);
            }
        }
    }

    /// Goes through all keys of these nodes that match; `None` is the only server.
    async fn all_of(
        &self,
        engine: &Asked<'_>,
        nodes: &[Option<Address>],
        pattern: &[u8],
    ) -> Result<KeyList, UpstreamError> {
        // Engines may show a key in two steps.
        let mut seen = HashSet::new();
        let mut bytes = self.bytes;
        for node in nodes {
            let mut cursor = 0;
            loop {
                let step = scan_words(cursor, STEP_KEYS_MAX, Some(pattern), None);
                let (next, keys) = engine.step(node.as_ref(), &step).await?;
                for key in keys {
                    let cost = key.len() as u64 + KEY_COST;
                    if seen.insert(key) {
                        bytes += cost;
                    }
                }
                engine.check(bytes)?;
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(seen.into_iter().collect())
    }

    /// Asks for a page, and for as many after it as there were alike before.
    async fn pages(
        &mut self,
        engine: &Asked<'_>,
        mut listing: Listing,
    ) -> Result<(), UpstreamError> {
        let alike = self
            .known
            .keys()
            .filter(|known| known.is_of_same_scan(&listing));
        let ahead = alike.count().min(STEPS_AHEAD_MAX);
        for _ in 0..=ahead {
            let Listing::Page {
                cursor,
                count,
                pattern,
                type_name,
            } = &listing
            else {
                break;
            };
            let count = (*count).min(STEP_KEYS_MAX);
            let step = scan_words(*cursor, count, pattern.as_deref(), type_name.as_deref());
            let (next, keys) = engine.scan(&step).await?;
            let mut following = listing.clone();
            if let Listing::Page { cursor, .. } = &mut following {
                *cursor = next;
            }
            let keys = keys.into_iter().collect();
            self.keep(engine, listing, Listed::Keys { next, keys })?;
            if next == 0 || self.known.contains_key(&following) {
                break;
            }
            listing = following;
        }
        Ok(())
    }

    fn keep(
        &mut self,
        engine: &Asked<'_>,
        listing: Listing,
        listed: Listed,
    ) -> Result<(), UpstreamError> {
        let cost = |key: &[u8]| key.len() as u64 + KEY_COST;
        self.bytes += match &listed {
            Listed::Keys { keys, .. } => keys.iter().map(cost).sum(),
            Listed::Random(Some(key)) => cost(key),
            Listed::Random(None) | Listed::Number(_) => 0,
        };
        engine.check(self.bytes)?;
        let listed_bytes = &engine.usage.listed_bytes;
        listed_bytes.store(self.bytes, Ordering::Relaxed);
        Arc::make_mut(&mut self.known).insert(listing, listed);
        Ok(())
    }
}

/// Returns the words of one step of a `SCAN`.
fn scan_words(
    cursor: u64,
    count: usize,
    pattern: Option<&[u8]>,
    type_name: Option<&[u8]>,
) -> Vec<Vec<u8>> {
    let (cursor, count) = (cursor.to_string(), count.to_string());
    let mut words = vec![&b"SCAN"[..], cursor.as_bytes(), b"COUNT", count.as_bytes()];
    if let Some(pattern) = pattern {
        words.extend([&b"MATCH"[..], pattern]);
    }
    if let Some(type_name) = type_name {
        words.extend([&b"TYPE"[..], type_name]);
    }
    words.into_iter().map(<[u8]>::to_vec).collect()
}

impl Asked<'_> {
    fn check(&self, bytes: u64) -> Result<(), UpstreamError> {
        let limit = self.upstream.bounds.values_bytes_max;
        match bytes <= limit {
            true => Ok(()),
            false => Err(UpstreamError::TooManyListed { limit }),
        }
    }

    fn count_round_trip(&self) {
        self.usage.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    fn garbage(&self, reason: &'static str) -> UpstreamError {
        UpstreamError::Garbage {
            address: self.route.place(),
            reason: reason.into(),
        }
    }

    /// Runs one step of a `SCAN` through all keys; returns the next cursor and the keys.
    async fn scan(&self, words: &[Vec<u8>]) -> Result<(u64, Vec<Vec<u8>>), UpstreamError> {
        if !self.upstream.topology().is_cluster() {
            return self.step(None, words).await;
        }
        self.count_round_trip();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let scan = self.upstream.scan(self.account, self.database, &words);
        scan.await
    }

    /// Runs one step of a `SCAN` on a node, or on the only server.
    async fn step(
        &self,
        node: Option<&Address>,
        words: &[Vec<u8>],
    ) -> Result<(u64, Vec<Vec<u8>>), UpstreamError> {
        self.count_round_trip();
        let mut command = Cmd::new();
        for word in words {
            command.arg(word.as_slice());
        }
        let reply = match node {
            Some(node) => {
                let (account, database) = (self.account, self.database);
                self.upstream.ask(node, account, database, &command).await?
            }
            None => self.route.send(None, &command).await?,
        };
        scanned(reply).ok_or_else(|| self.garbage("SCAN answered no cursor and keys"))
    }

    async fn size(&self) -> Result<u64, UpstreamError> {
        self.count_round_trip();
        let size = match self.upstream.topology().is_cluster() {
            true => {
                let words = [&b"DBSIZE"[..]];
                let (account, database) = (self.account, self.database);
                let every = self.upstream.on_every_primary(account, database, &words);
                match every.await? {
                    Gathered::Sum(sum) => Some(sum),
                    _ => None,
                }
            }
            false => match self.send(&[b"DBSIZE"]).await? {
                Value::Int(size) => Some(size),
                _ => None,
            },
        };
        size.and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| self.garbage("DBSIZE answered no number"))
    }

    async fn random_key(&self) -> Result<Option<Box<[u8]>>, UpstreamError> {
        self.count_round_trip();
        let reply = match self.upstream.topology().is_cluster() {
            true => self.random_key_of_any_primary().await?,
            false => self.send(&[b"RANDOMKEY"]).await?,
        };
        match reply {
            Value::Nil => Ok(None),
            Value::BulkString(key) => Ok(Some(key.into_boxed_slice())),
            _ => Err(self.garbage("RANDOMKEY answered no key")),
        }
    }

    async fn random_key_of_any_primary(&self) -> Result<Value, UpstreamError> {
        let topology = self.upstream.topology();
        let mut nodes = topology.primaries(self.account).await?;
        fastrand::shuffle(&mut nodes);
        for node in nodes {
            let command = redis::cmd("RANDOMKEY");
            let (account, database) = (self.account, self.database);
            let asked = self.upstream.ask(&node, account, database, &command);
            let reply = asked.await?;
            if reply != Value::Nil {
                return Ok(reply);
            }
        }
        Ok(Value::Nil)
    }

    async fn send(&self, words: &[&[u8]]) -> Result<Value, UpstreamError> {
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        self.route
            .send(None, &command)
            .await
            .map_err(UpstreamError::from)
    }
}
