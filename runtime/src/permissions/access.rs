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
    /// Adds to an integer.
    Increment,
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
    pub const ALL: [Self; 10] = [
        Self::Get,
        Self::Set,
        Self::Delete,
        Self::Exists,
        Self::Increment,
        Self::Expire,
        Self::Ttl,
        Self::HashGet,
        Self::HashSet,
        Self::HashDelete,
    ];

    /// The commands that do the same; permission for any of them covers the access.
    #[must_use]
    pub const fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET"],
            Self::Set => &["SET"],
            Self::Delete => &["DEL", "UNLINK"],
            Self::Exists => &["EXISTS"],
            Self::Increment => &["INCRBY"],
            Self::Expire => &["PEXPIRE", "EXPIRE"],
            Self::Ttl => &["PTTL", "TTL"],
            Self::HashGet => &["HGET"],
            Self::HashSet => &["HSET"],
            Self::HashDelete => &["HDEL"],
        }
    }

    /// Whether it writes.
    #[must_use]
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Exists | Self::Ttl | Self::HashGet)
    }

    pub(super) const fn bit(self) -> u16 {
        1 << self as u16
    }
}
