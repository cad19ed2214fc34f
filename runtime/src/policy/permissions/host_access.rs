//! What host functions do to keys, and which commands they count as.

/// What a host function does to a key; also tells which command it counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads a string.
    Get,
    /// Writes a string.
    Set,
    /// Deletes a key.
    Delete,
    /// Asks whether a key exists.
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

    /// What adding this much to an integer is.
    #[must_use]
    pub const fn increment(delta: i64) -> Self {
        match delta {
            1 => Self::IncrementByOne,
            -1 => Self::DecrementByOne,
            _ => Self::Increment,
        }
    }

    /// The commands that can do the same; permission for any of them covers the access.
    ///
    /// A command that can do less does not: `SETEX` may not stand for a `set` without an expiry.
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

    /// Whether it writes.
    #[must_use]
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Exists | Self::Ttl | Self::HashGet)
    }

    pub(crate) const fn bit(self) -> u16 {
        1 << self as u16
    }
}
