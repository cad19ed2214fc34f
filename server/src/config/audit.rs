//! The setting that chooses which calls get a line in the log.

use super::setting::{Raw, Setting, quoted, text};

/// The calls that get a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// None.
    Off,
    /// Failed calls.
    Errors,
    /// One call of this many, and failed calls; 1 means every call.
    OneIn(u32),
}

impl Setting for Audit {
    const KIND: &'static str =
        "\"off\", \"errors\", \"all\", or \"1/100\" for one call in a hundred and all that failed";

    fn read(raw: &Raw) -> Option<Self> {
        match text(raw)?.trim() {
            "off" => Some(Self::Off),
            "errors" => Some(Self::Errors),
            "all" => Some(Self::OneIn(1)),
            share => {
                let every = share.strip_prefix("1/")?.parse().ok()?;
                (every > 0).then_some(Self::OneIn(every))
            }
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Off => quoted(&"off"),
            Self::Errors => quoted(&"errors"),
            Self::OneIn(1) => quoted(&"all"),
            Self::OneIn(every) => quoted(&format!("1/{every}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Audit, Raw, Setting};

    #[test]
    fn shares_are_read_and_written() {
        for word in ["off", "errors", "all", "1/100"] {
            let audit = Audit::read(&Raw::Text(word.into())).expect(word);
            assert_eq!(audit.write(), format!("{word:?}"));
        }
        for word in ["", "1/0", "2/3", "some", "1/-1"] {
            assert_eq!(Audit::read(&Raw::Text(word.into())), None, "{word}");
        }
    }
}
