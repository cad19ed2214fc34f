//! RESP2 and RESP3: what goes out ([`Encoder`]), what comes in ([`RequestScanner`]), and what
//! guests and servers answer ([`transcode()`], [`measure`]).

mod double;
mod encode;
mod inline;
mod request;
mod token;
mod transcode;

pub use double::{DoubleText, format_double};
pub use encode::{Encoder, Protocol};
pub use request::{RequestBounds, RequestError, RequestScanner, Scan};
pub use token::ReplySyntaxError;
pub use transcode::{ReplyBounds, measure, transcode};
