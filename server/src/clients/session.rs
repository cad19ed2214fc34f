//! The state of a connection that lasts between requests.

use std::sync::Arc;

use ferrite_runtime::CallUser;
use ferrite_store::Receipt;
use ferrite_upstream::Account;

use crate::clients::pubsub::subscriptions::Subscriptions;
use crate::clients::queued_requests::QueuedRequests;
use crate::clients::users::{DEFAULT_USER, User, UserDirectory};
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
    /// The credentials with which calls reach an engine; `None` where the data is here.
    pub(crate) account: Option<Account>,
    /// The user by whose name calls are counted; `None` before there is one.
    call_user: Option<CallUser>,
    /// Receipt of the writes of calls; replies wait until it is durable.
    receipt: Option<Receipt>,
    /// The client's user; `None` if it must authenticate and has not yet.
    user: Option<Arc<User>>,
    /// True if `user` may do everything, so that commands need no check.
    unrestricted: bool,
    /// Generation of the users that `user` is one of.
    generation: u64,
}

impl ClientSession {
    /// Makes the session of a new connection, whose user is `user`, out of the users in force.
    pub(crate) fn new(user: Option<Arc<User>>, generation: u64) -> Self {
        let mut session = Self {
            store: ferrite_store::Session::new(),
            queued: None,
            subscriptions: None,
            account: None,
            call_user: None,
            receipt: None,
            user: None,
            unrestricted: false,
            generation,
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
        self.call_user = user.as_ref().map(|user| CallUser::named(user.name()));
        self.user = user;
    }

    /// Returns true if the users have changed since the session's user was looked up.
    #[inline]
    pub(crate) const fn is_outdated(&self, generation: u64) -> bool {
        self.generation != generation
    }

    /// Looks up the session's user among the users in force. Returns false if it is not one of them.
    #[cold]
    pub(crate) fn look_up_user(&mut self, users: &UserDirectory) -> bool {
        // Read before the users, so that a change in between is noticed next time.
        self.generation = users.generation();
        let Some(user) = &self.user else {
            return true;
        };
        let user = users.current().by_name(user.name());
        let found = user.is_some();
        self.set_user(user);
        found
    }

    /// Sets the credentials with which calls reach an engine; calls are then counted for their user.
    pub(crate) fn set_account(&mut self, account: Account) {
        if self.account.as_ref() != Some(&account) {
            let name = account.user.as_deref().unwrap_or(DEFAULT_USER);
            self.call_user = Some(CallUser::named(name));
            self.account = Some(account);
        }
    }

    /// Returns the user by whose name calls are counted.
    pub(crate) const fn call_user(&self) -> Option<CallUser> {
        self.call_user
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
