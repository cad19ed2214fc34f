//! What a host function answers when it has no result to give.

/// A negative answer of a host function.
///
/// The first two are ordinary outcomes; those from -16 down are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    /// There is no such key, field, argument or result.
    NotFound = -1,
    /// `NX` or `XX` kept the value from being stored.
    NotStored = -2,
    /// The function's permissions do not cover the key or the command.
    Denied = -16,
    /// A write was asked of a function that may only read.
    ReadOnly = -17,
    /// The key holds another type of value.
    WrongType = -18,
    /// A parameter makes no sense here, or a value is not the number it should be.
    Invalid = -19,
    /// A limit of the function was reached.
    Limit = -20,
    /// The store could not do it.
    Store = -21,
}

impl Status {
    /// Every status, in order of its code.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::NotStored,
        Self::Denied,
        Self::ReadOnly,
        Self::WrongType,
        Self::Invalid,
        Self::Limit,
        Self::Store,
    ];

    /// The number that crosses the boundary.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The status with this code, if there is one.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Whether this is an error rather than an ordinary outcome.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.code() <= Self::Denied.code()
    }

    /// What the status says, in a few words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::NotStored => "not stored",
            Self::Denied => "not permitted",
            Self::ReadOnly => "the call may only read",
            Self::WrongType => "the key holds another type of value",
            Self::Invalid => "invalid value or parameter",
            Self::Limit => "a limit was reached",
            Self::Store => "the store failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn codes_round_trip_and_errors_start_at_minus_16() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(status));
            assert_eq!(status.is_error(), status.code() <= -16);
        }
        assert_eq!(Status::from_code(0), None);
        assert_eq!(Status::from_code(-3), None);
    }
}
