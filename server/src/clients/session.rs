//! The state of a connection that lasts between requests.

use std::sync::Arc;

use ferrite_store::Receipt;

use crate::clients::pubsub::subscriptions::Subscriptions;
use crate::clients::queued_requests::QueuedRequests;
use crate::clients::users::User;
use crate::config::Right;

/// One connection's state, apart from the protocol version, which its encoder holds.
#[derive(Debug)]
pub(crate) struct ClientSession {
    /// The store's part: the selected database and the watched keys.
    pub(crate) store: ferrite_store::Session,
    /// The requests since `MULTI`; `None` outside of `MULTI`.
    pub(crate) queued: Option<Box<QueuedRequests>>,
    /// The channels that the client listens to; `None` if it never did.
    pub(crate) subscriptions: Option<Box<Subscriptions>>,
    /// Receipt of the writes of calls; replies wait until it is durable.
    receipt: Option<Receipt>,
    /// The client's user; `None` if it must authenticate and has not yet.
    user: Option<Arc<User>>,
    /// True if `user` may do everything, so that commands need no check.
    unrestricted: bool,
}

impl ClientSession {
    pub(crate) fn new(user: Option<Arc<User>>) -> Self {
        let mut session = Self {
            store: ferrite_store::Session::new(),
            queued: None,
            subscriptions: None,
            receipt: None,
            user: None,
            unrestricted: false,
        };
        session.set_user(user);
        session
    }

    /// Makes replies wait for this receipt, which covers all earlier ones.
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

    /// Returns the user's name; empty if there is no user yet.
    pub(crate) fn user_name(&self) -> &str {
        self.user.as_ref().map_or("", |user| user.name())
    }

    pub(crate) fn may(&self, right: Right) -> bool {
        self.unrestricted || self.user.as_ref().is_some_and(|user| user.may(right))
    }

    /// Returns true if the client listens to any channel or pattern.
    #[inline]
    pub(crate) fn listens(&self) -> bool {
        let subscriptions = self.subscriptions.as_ref();
        subscriptions.is_some_and(|subscriptions| subscriptions.len() > 0)
    }

    pub(crate) const fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }
}
