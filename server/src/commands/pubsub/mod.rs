//! Channels: `SUBSCRIBE`, `PUBLISH` and their relatives.

pub(crate) mod channels;
pub(crate) mod publish;
pub(crate) mod subscribe;
pub(crate) mod unsubscribe;
