//! The context of one request, and the state of its connection afterwards.

use std::sync::Arc;

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::UserShare;

use crate::clients::registry::Client;
use crate::clients::session::ClientSession;
use crate::state::ServerState;

/// The data that a request may read and change.
pub(crate) struct RequestContext<'a> {
    pub(crate) state: &'a Arc<ServerState>,
    pub(crate) client: &'a Client,
    pub(crate) session: &'a mut ClientSession,
    /// Number of the request's command in the table; any other if there is no such command.
    pub(crate) command_number: u16,
    /// Every request writes exactly one reply here.
    pub(crate) reply: &'a mut Encoder,
}

impl RequestContext<'_> {
    /// Returns the user that calls are for, and among how many it shares the places of functions.
    #[inline]
    pub(crate) fn share(&self) -> UserShare {
        match self.session.call_user() {
            Some(user) => UserShare::new(user, self.state.sharing_users()),
            None => UserShare::NOBODY,
        }
    }
}

/// The fate of the connection once the reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterReply {
    KeepOpen,
    /// The connection is closed as soon as the reply is sent.
    Close,
}
