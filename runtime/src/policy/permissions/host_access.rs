//! The kinds of access of host functions, and the commands that they count as.

/// A host function's kind of access to a key; it also decides which command the access counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads a string.
    Get,
    /// Writes a string.
    Set,
    /// Deletes a key.
    Delete,
    /// Checks if a key exists.
    Exists,
    /// Adds any number to an integer.
    Increment,
    /// Adds 1 to an integer.
    IncrementByOne,
    /// Takes 1 from an integer.
    DecrementByOne,
    /// Sets an expiry.
    Expire,
    /// Reads an expiry.
    Ttl,
    /// Reads a hash field.
    HashGet,
    /// Writes a hash field.
    HashSet,
    /// Deletes a hash field.
    HashDelete,
}

impl Access {
    /// Every kind of access.
    pub const ALL: [Self; 12] = [
        Self::Get,
        Self::Set,
        Self::Delete,
        Self::Exists,
        Self::Increment,
        Self::IncrementByOne,
        Self::DecrementByOne,
        Self::Expire,
        Self::Ttl,
        Self::HashGet,
        Self::HashSet,
        Self::HashDelete,
    ];

    /// Returns the kind of access that adds `delta` to an integer.
    #[must_use]
    pub const fn increment(delta: i64) -> Self {
        match delta {
            1 => Self::IncrementByOne,
            -1 => Self::DecrementByOne,
            _ => Self::Increment,
        }
    }

    /// Returns the commands that can do the same; permission for one of them covers the access.
    ///
    /// A command that can do less is not among them: `SETEX` does not cover a `set` without an expiry.
    #[must_use]
    pub const fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET", "MGET"],
            Self::Set => &["SET"],
            Self::Delete => &["DEL", "UNLINK"],
            Self::Exists => &["EXISTS"],
            Self::Increment => &["INCRBY", "DECRBY"],
            Self::IncrementByOne => &["INCRBY", "INCR", "DECRBY"],
            Self::DecrementByOne => &["INCRBY", "DECR", "DECRBY"],
            Self::Expire => &["PEXPIRE", "EXPIRE"],
            Self::Ttl => &["PTTL", "TTL"],
            Self::HashGet => &["HGET", "HMGET"],
            Self::HashSet => &["HSET", "HMSET"],
            Self::HashDelete => &["HDEL"],
        }
    }

    /// Returns true if it writes.
    #[must_use]
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Exists | Self::Ttl | Self::HashGet)
    }

    pub(crate) const fn bit(self) -> u16 {
        1 << self as u16
    }
}
