//! What a connection remembers between requests.

use std::sync::Arc;

use ferrite_store::Receipt;

use crate::clients::queued_requests::QueuedRequests;
use crate::clients::users::User;
use crate::config::Right;

/// One connection's state, apart from its protocol, which its encoder knows.
#[derive(Debug)]
pub(crate) struct ClientSession {
    /// What the store remembers: the selected database, for one.
    pub(crate) store: ferrite_store::Session,
    /// What the client has said since `MULTI`.
    pub(crate) queued: Option<Box<QueuedRequests>>,
    /// Proof of what calls have written, which replies wait for.
    receipt: Option<Receipt>,
    /// Who the client is; `None` until it has said so, where it must.
    user: Option<Arc<User>>,
    /// Whether `user` may do everything, so that commands need no check.
    unrestricted: bool,
}

impl ClientSession {
    pub(crate) fn new(user: Option<Arc<User>>) -> Self {
        let mut session = Self {
            store: ferrite_store::Session::new(),
            queued: None,
            receipt: None,
            user: None,
            unrestricted: false,
        };
        session.set_user(user);
        session
    }

    /// Notes that replies must wait for this. It covers all earlier ones.
    pub(crate) fn add_receipt(&mut self, receipt: Receipt) {
        self.receipt = Some(receipt);
    }

    #[inline]
    pub(crate) fn take_receipt(&mut self) -> Option<Receipt> {
        self.receipt.take()
    }

    pub(crate) fn set_user(&mut self, user: Option<Arc<User>>) {
        self.unrestricted = user.as_ref().is_some_and(|user| user.is_unrestricted());
        self.user = user;
    }

    pub(crate) const fn user(&self) -> Option<&Arc<User>> {
        self.user.as_ref()
    }

    /// The user's name; that of nobody yet is empty.
    pub(crate) fn user_name(&self) -> &str {
        self.user.as_ref().map_or("", |user| user.name())
    }

    pub(crate) fn may(&self, right: Right) -> bool {
        self.unrestricted || self.user.as_ref().is_some_and(|user| user.may(right))
    }

    pub(crate) const fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }
}
