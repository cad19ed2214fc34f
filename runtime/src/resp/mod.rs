//! RESP2 and RESP3: what goes out ([`Encoder`]), what comes in, and what guests answer.

mod encode;

pub use encode::{Encoder, Protocol, format_double};
