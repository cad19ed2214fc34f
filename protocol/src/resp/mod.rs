//! RESP2 and RESP3: writing replies ([`Encoder`]), reading requests ([`RequestScanner`]), and
//! checking the replies of guests and servers ([`transcode()`], [`measure`]).

mod bounded_reply;
mod encoder;
mod inline_command;
mod reader;
mod reply_writer;
mod request;
mod transcode;
pub mod tree;

pub use bounded_reply::BoundedReply;
pub use encoder::{Encoder, Protocol};
pub use reader::ReplySyntaxError;
pub use reply_writer::ReplyWriter;
pub use request::{RequestBounds, RequestError, RequestScanner, Scan};
pub use transcode::{ReplyBounds, measure, transcode};
