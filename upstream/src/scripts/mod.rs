//! The scripts that run in the engine, the same for every function.

/// A script with its digest, by which the engine finds it.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: &'static str,
    pub(crate) digest: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            digest: sha1_smol::Sha1::from(text).digest().to_string(),
        }
    }

    /// The script that reads keys as of one moment.
    pub(crate) fn fetch() -> Self {
        Self::new(include_str!("fetch.lua"))
    }

    /// The script that holds keys for a call that was refused again and again.
    pub(crate) fn lease() -> Self {
        Self::new(include_str!("lease.lua"))
    }

    /// The script that changes records of requests.
    pub(crate) fn change_requests() -> Self {
        Self::new(include_str!("change_requests.lua"))
    }

    /// The script that writes if everything is as it was read.
    pub(crate) fn commit() -> Self {
        Self::new(include_str!("commit.lua"))
    }
}
