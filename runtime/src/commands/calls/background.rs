//! A background call, run by its host.

use std::fmt;
use std::time::Duration;

use super::call::Call;
use crate::call::request::{CallOutcome, CallRequest, ReceiptOf};
use crate::error::CallError;
use crate::scheduling::cancellation::CallHandle;
use crate::scheduling::user_share::UserShare;
use crate::service::Runtime;
use crate::service::background_calls::BackgroundCallId;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::{Encoder, Protocol};

/// A call that the host has to run in the background.
///
/// Run it, wait for its receipt, then publish it. An earlier drop kills the call, and its result is
/// that error.
pub struct BackgroundCall<K: Keyspace> {
    runtime: Runtime<K>,
    id: BackgroundCallId,
    function: Box<[u8]>,
    keys: Vec<Box<[u8]>>,
    args: Vec<Box<[u8]>>,
    timeout: Option<Duration>,
    database: u32,
    user: UserShare,
    handle: CallHandle,
    reply: Vec<u8>,
}

impl<K: Keyspace> BackgroundCall<K> {
    /// Returns the id by which `WASM.RESULT` fetches the reply.
    #[must_use]
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Runs the call and holds its reply back.
    pub async fn run(&mut self) -> CallOutcome<ReceiptOf<K>> {
        let mut reply = Encoder::new(Protocol::Resp3);
        let (keys, args) = (words(&self.keys), words(&self.args));
        let outcome = self
            .runtime
            .call(&self.request(&keys, &args), &mut reply)
            .await;
        self.reply = reply.take();
        outcome
    }

    /// Returns the words of its keys and of its arguments, for [`BackgroundCall::request`].
    #[must_use]
    pub fn words(&self) -> (Vec<&[u8]>, Vec<&[u8]>) {
        (words(&self.keys), words(&self.args))
    }

    /// Holds back the reply of a call that the host ran itself, instead of [`BackgroundCall::run`].
    pub fn hold_reply(&mut self, reply: Vec<u8>) {
        self.reply = reply;
    }

    /// Passes the request to `show`, for the host's log of slow calls.
    pub fn with_request<R>(&self, show: impl FnOnce(&CallRequest<'_>) -> R) -> R {
        let (keys, args) = (words(&self.keys), words(&self.args));
        show(&self.request(&keys, &args))
    }

    /// Returns the call as a request, with its own words.
    #[must_use]
    pub fn request<'a>(&'a self, keys: &'a [&'a [u8]], args: &'a [&'a [u8]]) -> CallRequest<'a> {
        CallRequest {
            timeout: self.timeout,
            database: self.database,
            handle: Some(&self.handle),
            user: self.user,
            ..CallRequest::new(&self.function, keys, args)
        }
    }

    /// Makes the reply available to `WASM.RESULT`.
    pub fn publish(mut self) {
        self.settle();
    }

    fn settle(&mut self) {
        let mut reply = std::mem::take(&mut self.reply);
        if reply.is_empty() {
            let mut encoder = Encoder::new(Protocol::Resp3);
            encoder.error_display(&CallError::killed());
            reply = encoder.take();
        }
        self.runtime.background_calls().end(self.id, reply);
    }
}

fn words(owned: &[Box<[u8]>]) -> Vec<&[u8]> {
    owned.iter().map(|word| &**word).collect()
}

impl<K: Keyspace> Drop for BackgroundCall<K> {
    fn drop(&mut self) {
        // A published call is finished already.
        if self.runtime.background_calls().is_pending(self.id) {
            self.reply = Vec::new();
            self.settle();
        }
    }
}

impl<K: Keyspace> fmt::Debug for BackgroundCall<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AsyncCall({})", self.id)
    }
}

impl<K: Keyspace> Runtime<K> {
    /// Prepares a background call of `user`, which the host runs.
    ///
    /// # Errors
    ///
    /// `NOFUNC`; `BUSY` at the limit of background calls.
    pub fn call_async(
        &self,
        call: &Call<'_>,
        database: u32,
        user: UserShare,
    ) -> Result<BackgroundCall<K>, CallError> {
        let name = call.function_name();
        self.function(name)?;
        let words = call.keys.iter().chain(call.args);
        let bytes = words.map(|word| word.len() + size_of::<Box<[u8]>>()).sum();
        let (id, handle) = self.background_calls().begin(name, bytes)?;
        let owned = |words: &[&[u8]]| words.iter().map(|&word| word.into()).collect();
        Ok(BackgroundCall {
            runtime: self.clone(),
            id,
            function: call.function.into(),
            keys: owned(call.keys),
            args: owned(call.args),
            timeout: call.timeout,
            database,
            user,
            handle,
            reply: Vec::new(),
        })
    }
}
