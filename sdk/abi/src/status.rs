//! Status codes that host functions return instead of a result.

/// A negative result of a host function.
///
/// -1 and -2 are ordinary outcomes; codes from -16 down are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    /// There is no such key, field, argument or result.
    NotFound = -1,
    /// `NX` or `XX` kept the value from being stored.
    NotStored = -2,
    /// The function's permissions do not cover the key or the command.
    Denied = -16,
    /// The function may only read and tried to write.
    ReadOnly = -17,
    /// The key holds another type of value.
    WrongType = -18,
    /// A parameter is invalid, or a value is not a number where one is required.
    Invalid = -19,
    /// A limit of the function was reached.
    Limit = -20,
    /// The store failed.
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

    /// Returns the code that crosses the guest boundary.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// Returns the status with this code; `None` for an undefined code.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Returns true for an error, false for an ordinary outcome.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.code() <= Self::Denied.code()
    }

    /// Describes the status in a few words.
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
