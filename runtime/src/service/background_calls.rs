//! Background calls: those that run, and the replies that wait to be fetched.
//!
//! A reply can be fetched any number of times until it expires or newer replies need its space.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{CallError, Code, Quoted};
use crate::policy::quantity::{ByteSize, HumanDuration};
use crate::scheduling::cancellation::CallHandle;
use crate::scheduling::moment::Moment;
use crate::scheduling::wait::with_deadline;
use ferrite_protocol::resp::{Encoder, ReplyBounds, transcode};

/// Bounds of the background calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackgroundOptions {
    /// Calls that run or wait.
    pub pending_max: usize,
    /// Replies kept.
    pub results_max: usize,
    /// Keys and arguments of calls and all replies together, in bytes.
    pub bytes_max: usize,
    /// Time for which a reply is kept.
    pub keep_for: Duration,
}

impl Default for BackgroundOptions {
    fn default() -> Self {
        Self {
            pending_max: 1000,
            results_max: 10_000,
            bytes_max: 64 << 20,
            keep_for: Duration::from_secs(60),
        }
    }
}

/// Identifies a background call: 16 hexadecimal digits that cannot be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BackgroundCallId(u64);

impl BackgroundCallId {
    fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| u64::from_str_radix(text, 16).ok().map(Self))?
    }

    fn random() -> Result<Self, CallError> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| {
            CallError::new(
                Code::Busy,
                format!("the system gives no random number for the call's id: {error}"),
            )
        })?;
        Ok(Self(u64::from_ne_bytes(bytes)))
    }
}

impl fmt::Display for BackgroundCallId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// The background calls of one runtime.
#[derive(Debug)]
pub struct BackgroundCalls {
    options: BackgroundOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: HashMap<u64, Progress>,
    /// Finished calls, the oldest first.
    finished: VecDeque<Finished>,
    /// Bytes counted against [`BackgroundOptions::bytes_max`].
    bytes: usize,
    pending: usize,
}

#[derive(Debug)]
enum Progress {
    Pending {
        function: Box<[u8]>,
        handle: CallHandle,
        waiting: Vec<Waker>,
        bytes: usize,
    },
    /// The reply, in RESP3.
    Finished(Box<[u8]>),
}

#[derive(Debug)]
struct Finished {
    id: u64,
    at: Moment,
}

/// The background calls at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackgroundUsage {
    /// Calls that run or wait.
    pub pending: usize,
    /// Replies that can be fetched.
    pub results: usize,
    /// Bytes counted against [`BackgroundOptions::bytes_max`].
    pub result_bytes: usize,
}

impl BackgroundCalls {
    /// Creates an empty set.
    #[must_use]
    pub fn new(options: BackgroundOptions) -> Self {
        Self {
            options,
            state: Mutex::default(),
        }
    }

    /// Returns the usage at this moment.
    #[must_use]
    pub fn usage(&self) -> BackgroundUsage {
        let mut state = self.state.lock();
        state.expire(&self.options, Moment::now());
        BackgroundUsage {
            pending: state.pending,
            results: state.finished.len(),
            result_bytes: state.bytes,
        }
    }

    /// Kills a call, if `may_kill` returns true for its function. Returns true if it was running or
    /// waiting.
    pub fn kill(&self, id: &str, may_kill: impl FnOnce(&[u8]) -> bool) -> bool {
        let state = self.state.lock();
        let entry = BackgroundCallId::parse(id).and_then(|id| state.calls.get(&id.0));
        match entry {
            Some(Progress::Pending {
                function, handle, ..
            }) if may_kill(function) => {
                handle.kill();
                true
            }
            _ => false,
        }
    }

    /// Kills all calls of a function. Returns their number.
    pub fn kill_all(&self, name: &[u8]) -> usize {
        let state = self.state.lock();
        let handles = state.calls.values().filter_map(|entry| match entry {
            Progress::Pending {
                function, handle, ..
            } if **function == *name => Some(handle),
            _ => None,
        });
        handles.map(CallHandle::kill).count()
    }

    /// Writes the reply of a finished call, or null while the call runs.
    ///
    /// `block` is how long to wait for the reply; zero waits without a limit.
    ///
    /// # Errors
    ///
    /// The id is unknown or expired.
    pub async fn result(
        &self,
        id: &str,
        block: Option<Duration>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        /// Longer than any client waits, and small enough to be added to any other time.
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
        let unknown = || {
            CallError::invalid(format!(
                "there is no result for call {}: the id is unknown, or the result was older than {} or had to make room",
                Quoted(id.as_bytes()),
                HumanDuration(self.options.keep_for)
            ))
        };
        let id = BackgroundCallId::parse(id).ok_or_else(unknown)?;
        let there = match block {
            None => self.fetch(id, reply, None).ok_or_else(unknown)?,
            Some(time) => {
                let fetched =
                    poll_fn(
                        |context| match self.fetch(id, reply, Some(context.waker())) {
                            Some(false) => Poll::Pending,
                            there_or_gone => Poll::Ready(there_or_gone),
                        },
                    );
                let time = if time.is_zero() {
                    LONGEST
                } else {
                    time.min(LONGEST)
                };
                match with_deadline(fetched, Moment::now().after(time), None).await {
                    Ok(there_or_gone) => there_or_gone.ok_or_else(unknown)?,
                    Err(_) => false,
                }
            }
        };
        if !there {
            reply.null();
        }
        Ok(())
    }

    /// Writes the reply and returns true, or returns false while the call runs and wakes `waker` when
    /// it ends. Returns `None` if there is no such call.
    fn fetch(
        &self,
        id: BackgroundCallId,
        reply: &mut Encoder,
        waker: Option<&Waker>,
    ) -> Option<bool> {
        const ANY: ReplyBounds = ReplyBounds {
            bytes_max: usize::MAX,
            depth_max: usize::MAX,
        };
        let mut state = self.state.lock();
        state.expire(&self.options, Moment::now());
        match state.calls.get_mut(&id.0)? {
            Progress::Finished(bytes) => {
                // It was written by an encoder, so it is a reply.
                let _ = transcode(bytes, &ANY, reply);
                Some(true)
            }
            Progress::Pending { waiting, .. } => {
                if let Some(waker) = waker
                    && !waiting.iter().any(|one| one.will_wake(waker))
                {
                    waiting.push(waker.clone());
                }
                Some(false)
            }
        }
    }

    /// Returns true if the call has begun and not ended.
    pub(crate) fn is_pending(&self, id: BackgroundCallId) -> bool {
        matches!(
            self.state.lock().calls.get(&id.0),
            Some(Progress::Pending { .. })
        )
    }

    /// Begins a call of `function` whose keys and arguments take `bytes` bytes.
    ///
    /// # Errors
    ///
    /// `BUSY` at a limit.
    pub(crate) fn begin(
        &self,
        function: &[u8],
        bytes: usize,
    ) -> Result<(BackgroundCallId, CallHandle), CallError> {
        let id = BackgroundCallId::random()?;
        let handle = CallHandle::new();
        let mut state = self.state.lock();
        state.expire(&self.options, Moment::now());
        if state.pending >= self.options.pending_max {
            return Err(CallError::new(
                Code::Busy,
                format!(
                    "{} calls are in the background already, which is the limit; fetch their results and try again later",
                    state.pending
                ),
            ));
        }
        if state.bytes.saturating_add(bytes) > self.options.bytes_max {
            return Err(CallError::new(
                Code::Busy,
                format!(
                    "calls in the background and their results hold {} bytes, the limit is {}; try again later",
                    state.bytes,
                    ByteSize(self.options.bytes_max as u64)
                ),
            ));
        }
        let entry = Progress::Pending {
            function: function.into(),
            handle: handle.clone(),
            waiting: Vec::new(),
            bytes,
        };
        state.calls.insert(id.0, entry);
        state.pending += 1;
        state.bytes += bytes;
        Ok((id, handle))
    }

    /// Ends a call with its reply, in RESP3, and wakes the clients that wait for it.
    pub(crate) fn end(&self, id: BackgroundCallId, reply: Vec<u8>) {
        let now = Moment::now();
        let waiting = {
            let mut state = self.state.lock();
            let finished = Progress::Finished(reply.into_boxed_slice());
            let added = finished.bytes();
            let Some(before) = state.calls.insert(id.0, finished) else {
                // Not begun here.
                state.calls.remove(&id.0);
                return;
            };
            state.bytes = state.bytes.saturating_sub(before.bytes()) + added;
            state.pending -= 1;
            state.finished.push_back(Finished { id: id.0, at: now });
            state.expire(&self.options, now);
            match before {
                Progress::Pending { waiting, .. } => waiting,
                Progress::Finished(_) => Vec::new(),
            }
        };
        for waker in waiting {
            waker.wake();
        }
    }
}

impl Progress {
    fn bytes(&self) -> usize {
        match self {
            Self::Pending { bytes, .. } => *bytes,
            Self::Finished(reply) => reply.len(),
        }
    }
}

impl State {
    /// Removes replies that are too old, or too many.
    fn expire(&mut self, options: &BackgroundOptions, now: Moment) {
        while let Some(oldest) = self.finished.front() {
            let over = now >= oldest.at.after(options.keep_for)
                || self.finished.len() > options.results_max
                || self.bytes > options.bytes_max;
            if !over {
                break;
            }
            if let Some(entry) = self.calls.remove(&oldest.id) {
                self.bytes = self.bytes.saturating_sub(entry.bytes());
            }
            self.finished.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::{BackgroundCalls, BackgroundOptions, BackgroundUsage};
    use crate::error::CallError;
    use ferrite_protocol::resp::{Encoder, Protocol};

    fn options() -> BackgroundOptions {
        BackgroundOptions {
            pending_max: 2,
            results_max: 2,
            bytes_max: 100,
            keep_for: Duration::from_secs(3600),
        }
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn result(calls: &BackgroundCalls, id: &str) -> Result<String, String> {
        let mut reply = Encoder::new(Protocol::Resp2);
        let polled = poll(pin!(calls.result(id, None, &mut reply)));
        let Poll::Ready(answer) = polled else {
            panic!("a fetch that does not block does not wait");
        };
        answer
            .map(|()| String::from_utf8_lossy(reply.bytes()).into_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_reply_is_null_first_and_stays_then() -> Result<(), CallError> {
        let calls = BackgroundCalls::new(options());
        let (id, _) = calls.begin(b"f", 10)?;
        let name = id.to_string();
        assert_eq!(result(&calls, &name), Ok("$-1\r\n".to_owned()));
        calls.end(id, b"#t\r\n".to_vec());
        for _ in 0..2 {
            assert_eq!(result(&calls, &name), Ok(":1\r\n".to_owned()));
        }
        assert_eq!(
            calls.usage(),
            BackgroundUsage {
                pending: 0,
                results: 1,
                result_bytes: 4
            }
        );
        Ok(())
    }

    #[test]
    fn unknown_and_expired_ids_are_errors() -> Result<(), CallError> {
        let calls = BackgroundCalls::new(BackgroundOptions {
            keep_for: Duration::ZERO,
            ..options()
        });
        let (id, _) = calls.begin(b"f", 10)?;
        calls.end(id, b"+OK\r\n".to_vec());
        let expired = id.to_string();
        for id in [
            expired.as_str(),
            "",
            "1",
            "00000000000000zz",
            "0123456789abcdef",
            "+123456789abcdef",
        ] {
            assert_eq!(
                result(&calls, id),
                Err(format!(
                    "INVALID there is no result for call \"{id}\": the id is unknown, or the result was older than 0s or had to make room"
                ))
            );
        }
        Ok(())
    }

    #[test]
    fn calls_results_and_bytes_are_bounded() -> Result<(), CallError> {
        let calls = BackgroundCalls::new(options());
        let (one, _) = calls.begin(b"f", 10)?;
        let (two, _) = calls.begin(b"f", 10)?;
        let busy = calls.begin(b"f", 10).expect_err("two are pending");
        assert_eq!(
            busy.to_string(),
            "BUSY 2 calls are in the background already, which is the limit; fetch their results and try again later"
        );
        calls.end(one, b"+1\r\n".to_vec());
        calls.end(two, b"+2\r\n".to_vec());
        let busy = calls.begin(b"f", 200).expect_err("too many bytes");
        assert!(
            busy.to_string().contains("hold 8 bytes, the limit is 100"),
            "{busy}"
        );
        let (three, _) = calls.begin(b"f", 0)?;
        calls.end(three, b"+3\r\n".to_vec());
        assert!(
            result(&calls, &one.to_string()).is_err(),
            "the oldest made room"
        );
        assert_eq!(result(&calls, &two.to_string()), Ok("+2\r\n".to_owned()));
        let (large, _) = calls.begin(b"f", 0)?;
        calls.end(large, [b"+".as_slice(), &[b'a'; 95], b"\r\n"].concat());
        for made_room in [two, three] {
            assert!(result(&calls, &made_room.to_string()).is_err());
        }
        assert!(result(&calls, &large.to_string()).is_ok());
        Ok(())
    }

    #[test]
    fn a_fetch_may_wait_for_the_end() -> Result<(), CallError> {
        let calls = BackgroundCalls::new(options());
        let (id, handle) = calls.begin(b"f", 10)?;
        let name = id.to_string();
        let mut reply = Encoder::new(Protocol::Resp3);
        {
            let mut waiting = pin!(calls.result(&name, Some(Duration::ZERO), &mut reply));
            assert!(poll(waiting.as_mut()).is_pending());
            assert_eq!(calls.kill_all(b"other"), 0);
            assert!(!calls.kill(&name, |_| false) && !handle.is_killed());
            assert!(calls.kill(&name, |function| function == b"f") && handle.is_killed());
            calls.end(id, b":7\r\n".to_vec());
            assert!(matches!(poll(waiting.as_mut()), Poll::Ready(Ok(()))));
        }
        assert_eq!(reply.bytes(), b":7\r\n");
        assert!(!calls.kill(&name, |_| true), "it has ended");
        Ok(())
    }
}
