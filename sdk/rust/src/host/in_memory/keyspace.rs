//! The mock's data: typed values by key, with expiry on a clock that tests move.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Redis' error for a key that holds another type of value.
pub(super) const WRONG_TYPE: &str =
    "WRONGTYPE Operation against a key holding the wrong kind of value";

/// Redis' error for a string that is not an integer.
pub(super) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

pub(super) type Hash = BTreeMap<Vec<u8>, Vec<u8>>;
pub(super) type List = VecDeque<Vec<u8>>;
pub(super) type Set = BTreeSet<Vec<u8>>;
/// Scores by member; sorted when read.
pub(super) type SortedSet = BTreeMap<Vec<u8>, f64>;

/// A value of one of the five types.
#[derive(Clone)]
enum Data {
    String(Vec<u8>),
    Hash(Hash),
    List(List),
    Set(Set),
    SortedSet(SortedSet),
}

#[derive(Clone)]
struct Item {
    data: Data,
    expires_at: Option<i64>,
}

/// The effect of a write on a key's expiry.
#[derive(Clone, Copy)]
pub(super) enum Expiry {
    None,
    Keep,
    AfterMillis(i64),
}

/// Keys, values and the clock.
pub(super) struct Keyspace {
    items: BTreeMap<Vec<u8>, Item>,
    now_millis: i64,
}

macro_rules! collections {
    ($($view:ident $edit:ident $variant:ident $ty:ident;)*) => {$(
        pub(super) fn $view(&self, key: &[u8]) -> Result<Option<&$ty>, &'static str> {
            match self.items.get(key).map(|item| &item.data) {
                Some(Data::$variant(data)) => Ok(Some(data)),
                Some(_) => Err(WRONG_TYPE),
                None => Ok(None),
            }
        }

        /// Changes a collection. Creates it if the key does not exist, and deletes it if it ends
        /// empty.
        pub(super) fn $edit<R>(
            &mut self,
            key: &[u8],
            edit: impl FnOnce(&mut $ty) -> R,
        ) -> Result<R, &'static str> {
            let item = self.items.entry(key.into()).or_insert_with(|| Item {
                data: Data::$variant($ty::new()),
                expires_at: None,
            });
            let Data::$variant(data) = &mut item.data else {
                return Err(WRONG_TYPE);
            };
            let result = edit(data);
            if data.is_empty() {
                self.items.remove(key);
            }
            Ok(result)
        }
    )*};
}

impl Keyspace {
    pub(super) fn new(now_millis: i64) -> Self {
        Self {
            items: BTreeMap::new(),
            now_millis,
        }
    }

    collections! {
        hash edit_hash Hash Hash;
        list edit_list List List;
        set edit_set Set Set;
        sorted_set edit_sorted_set SortedSet SortedSet;
    }

    pub(super) fn now_millis(&self) -> i64 {
        self.now_millis
    }

    pub(super) fn advance_millis(&mut self, millis: i64) {
        self.now_millis += millis;
        let now = self.now_millis;
        self.items
            .retain(|_, item| item.expires_at.is_none_or(|at| at > now));
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.items.keys()
    }

    pub(super) fn exists(&self, key: &[u8]) -> bool {
        self.items.contains_key(key)
    }

    pub(super) fn type_name(&self, key: &[u8]) -> &'static str {
        match self.items.get(key).map(|item| &item.data) {
            None => "none",
            Some(Data::String(_)) => "string",
            Some(Data::Hash(_)) => "hash",
            Some(Data::List(_)) => "list",
            Some(Data::Set(_)) => "set",
            Some(Data::SortedSet(_)) => "zset",
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        self.items.remove(key).is_some()
    }

    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        match self.items.remove(from) {
            Some(item) => {
                self.items.insert(to.into(), item);
                true
            }
            None => false,
        }
    }

    pub(super) fn string(&self, key: &[u8]) -> Result<Option<&Vec<u8>>, &'static str> {
        match self.items.get(key).map(|item| &item.data) {
            Some(Data::String(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(WRONG_TYPE),
            None => Ok(None),
        }
    }

    pub(super) fn set_string(&mut self, key: &[u8], value: Vec<u8>, expiry: Expiry) {
        let expires_at = match expiry {
            Expiry::None => None,
            Expiry::Keep => self.items.get(key).and_then(|item| item.expires_at),
            Expiry::AfterMillis(millis) => Some(self.now_millis.saturating_add(millis)),
        };
        let data = Data::String(value);
        self.items.insert(key.into(), Item { data, expires_at });
    }

    pub(super) fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, &'static str> {
        let number = match self.string(key)? {
            None => 0,
            Some(bytes) => integer(bytes)?,
        };
        let sum = number
            .checked_add(delta)
            .ok_or("ERR increment or decrement would overflow")?;
        self.set_string(key, alloc::format!("{sum}").into(), Expiry::Keep);
        Ok(sum)
    }

    /// Sets an expiry, or deletes the key if the expiry has passed. Returns true if the key
    /// existed.
    pub(super) fn expire_after(&mut self, key: &[u8], millis: i64) -> bool {
        if millis <= 0 {
            return self.remove(key);
        }
        let at = self.now_millis.saturating_add(millis);
        self.items
            .get_mut(key)
            .map(|item| item.expires_at = Some(at))
            .is_some()
    }

    pub(super) fn persist(&mut self, key: &[u8]) -> bool {
        self.items
            .get_mut(key)
            .and_then(|item| item.expires_at.take())
            .is_some()
    }

    /// Milliseconds left, -1 without expiry, -2 without key.
    pub(super) fn ttl_millis(&self, key: &[u8]) -> i64 {
        match self.items.get(key) {
            None => -2,
            Some(item) => item.expires_at.map_or(-1, |at| at - self.now_millis),
        }
    }
}

/// Reads an integer as strictly as Redis does: no plus sign, no leading zeros.
pub(super) fn integer(bytes: &[u8]) -> Result<i64, &'static str> {
    let text = core::str::from_utf8(bytes).map_err(|_| NOT_AN_INTEGER)?;
    let number: i64 = text.parse().map_err(|_| NOT_AN_INTEGER)?;
    if alloc::format!("{number}") != text {
        return Err(NOT_AN_INTEGER);
    }
    Ok(number)
}
