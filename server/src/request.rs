//! What one request works with, and what happens to its connection afterwards.

use std::sync::Arc;

use ferrite_protocol::resp::Encoder;

use crate::clients::registry::Client;
use crate::clients::session::ClientSession;
use crate::state::ServerState;

/// What a request works with.
pub(crate) struct RequestContext<'a> {
    pub(crate) state: &'a Arc<ServerState>,
    pub(crate) client: &'a Client,
    pub(crate) session: &'a mut ClientSession,
    /// Every request writes exactly one reply here.
    pub(crate) reply: &'a mut Encoder,
}

/// What happens to the connection once the reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterReply {
    KeepOpen,
    /// The connection is closed as soon as the reply is sent.
    Close,
}
