//! The requests of a call and their responses, kept for its further tries.

use std::sync::Arc;

/// The requests that a call has made in all its tries.
#[derive(Debug, Default)]
pub(crate) struct CallRequests {
    made: Vec<Made>,
    /// True if this try may make requests.
    open: bool,
    /// True if this try may add requests to its commit.
    commits: bool,
    /// Number of requests that it has added.
    added: u32,
}

#[derive(Debug)]
struct Made {
    /// The request as the guest wrote it.
    written: Box<[u8]>,
    response: Arc<[u8]>,
    /// True if this try has made it, too.
    repeated: bool,
}

impl CallRequests {
    /// Forgets the requests of the call before.
    pub(crate) fn begin(&mut self) {
        if !self.made.is_empty() {
            self.made = Vec::new();
        }
    }

    /// Begins another try, which may make no request yet.
    pub(crate) fn begin_try(&mut self) {
        self.open = false;
        self.commits = false;
        self.added = 0;
        for made in &mut self.made {
            made.repeated = false;
        }
    }

    /// Lets this try make requests, and add some to its commit.
    pub(crate) fn open(&mut self, now: bool, with_commit: bool) {
        self.open = now;
        self.commits = with_commit;
    }

    /// Returns true if this try may add requests to its commit.
    pub(crate) fn may_add(&self) -> bool {
        self.commits
    }

    /// Returns the number of requests that this try has added to its commit.
    pub(crate) fn added(&self) -> u32 {
        self.added
    }

    /// Counts a request that was added.
    pub(crate) fn note_added(&mut self) {
        self.added += 1;
    }

    /// Returns true if this try may make requests.
    pub(crate) fn may_send(&self) -> bool {
        self.open
    }

    /// Returns the number of requests that were sent.
    pub(crate) fn sent(&self) -> u32 {
        // The limit of a call is an `u32`.
        u32::try_from(self.made.len()).unwrap_or(u32::MAX)
    }

    /// Returns the response that an earlier try got for this request. Equal requests of one try are
    /// different ones.
    pub(crate) fn remembered(&mut self, written: &[u8]) -> Option<Arc<[u8]>> {
        let made = self
            .made
            .iter_mut()
            .find(|made| !made.repeated && *made.written == *written)?;
        made.repeated = true;
        Some(Arc::clone(&made.response))
    }

    /// Keeps the response of a request that this try has made.
    pub(crate) fn remember(&mut self, written: Box<[u8]>, response: Arc<[u8]>) {
        self.made.push(Made {
            written,
            response,
            repeated: true,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::CallRequests;

    #[test]
    fn each_try_gets_each_response_once() {
        let mut requests = CallRequests::default();
        requests.begin();
        requests.begin_try();
        assert!(!requests.may_send() && !requests.may_add());
        requests.open(true, true);
        requests.note_added();
        assert!(requests.may_add());
        for response in [b"1", b"2"] {
            assert_eq!(requests.remembered(b"a"), None);
            requests.remember(b"a"[..].into(), Arc::from(&response[..]));
        }
        requests.begin_try();
        assert!(!requests.may_send() && !requests.may_add());
        assert_eq!(requests.added(), 0);
        assert_eq!(requests.remembered(b"b"), None);
        assert_eq!(requests.remembered(b"a").as_deref(), Some(&b"1"[..]));
        assert_eq!(requests.remembered(b"a").as_deref(), Some(&b"2"[..]));
        assert_eq!(requests.remembered(b"a"), None);
        assert_eq!(requests.sent(), 2);
        requests.begin();
        requests.begin_try();
        assert_eq!(requests.remembered(b"a"), None, "another call");
    }
}
