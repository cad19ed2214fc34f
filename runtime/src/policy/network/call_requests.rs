//! The requests of a call and their responses, kept for its further tries.

use std::sync::Arc;

use parking_lot::Mutex;

/// The responses that a call has got, for a host whose tries of a call each join another transaction.
#[derive(Clone, Debug, Default)]
pub struct CallResponses(Arc<Mutex<Vec<Made>>>);

/// The requests that a call has made in all its tries.
#[derive(Debug, Default)]
pub(crate) struct CallRequests {
    made: Vec<Made>,
    /// The host's, which are used instead of `made`.
    shared: Option<CallResponses>,
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
        self.shared = None;
    }

    /// Uses the responses of earlier tries of the same call, and keeps new ones there. This try has repeated
    /// none of them yet.
    pub(crate) fn share(&mut self, responses: &CallResponses) {
        self.shared = Some(responses.clone());
        self.each(forget_repetitions);
    }

    fn each<R>(&mut self, look: impl FnOnce(&mut Vec<Made>) -> R) -> R {
        match &self.shared {
            Some(shared) => look(&mut shared.0.lock()),
            None => look(&mut self.made),
        }
    }

    /// Begins another try, which may make no request yet.
    pub(crate) fn begin_try(&mut self) {
        self.open = false;
        self.commits = false;
        self.added = 0;
        self.each(forget_repetitions);
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
    pub(crate) fn sent(&mut self) -> u32 {
        // The limit of a call is an `u32`.
        self.each(|made| u32::try_from(made.len()).unwrap_or(u32::MAX))
    }

    /// Returns the response that an earlier try got for this request. Equal requests of one try are
    /// different ones.
    pub(crate) fn remembered(&mut self, written: &[u8]) -> Option<Arc<[u8]>> {
        self.each(|all| {
            let mut all = all.iter_mut();
            let made = all.find(|made| !made.repeated && *made.written == *written)?;
            made.repeated = true;
            Some(Arc::clone(&made.response))
        })
    }

    /// Keeps the response of a request that this try has made.
    pub(crate) fn remember(&mut self, written: Box<[u8]>, response: Arc<[u8]>) {
        let made = Made {
            written,
            response,
            repeated: true,
        };
        self.each(|all| all.push(made));
    }
}

fn forget_repetitions(all: &mut Vec<Made>) {
    for made in all {
        made.repeated = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{CallRequests, CallResponses};

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

    #[test]
    fn tries_that_the_host_begins_share_responses() {
        let responses = CallResponses::default();
        let mut requests = CallRequests::default();
        for sent in [1, 2] {
            requests.begin();
            requests.begin_try();
            requests.share(&responses);
            requests.open(true, true);
            let first = requests.remembered(b"a");
            assert_eq!(first.is_some(), sent > 1);
            if first.is_none() {
                requests.remember(b"a"[..].into(), Arc::from(&b"1"[..]));
            }
            assert_eq!(requests.remembered(b"a"), None, "an equal one is another");
            requests.begin_try();
            assert_eq!(requests.remembered(b"a").as_deref(), Some(&b"1"[..]));
            requests.remember(b"b"[..].into(), Arc::from(&b"2"[..]));
            assert_eq!(requests.sent(), sent + 1);
        }
        requests.begin();
        assert_eq!(requests.sent(), 0, "another call");
    }
}
