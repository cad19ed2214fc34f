//! RESP2 and RESP3: what goes out ([`Encoder`]), what comes in ([`RequestScanner`]), and what
//! guests and servers answer ([`transcode`], [`measure`]).

mod encode;
mod request;
mod token;
mod transcode;

pub use encode::{DoubleText, Encoder, Protocol, format_double};
pub use request::{RequestBounds, RequestError, RequestScanner, Scan};
pub use token::ReplySyntaxError;
pub use transcode::{ReplyBounds, measure, transcode};
