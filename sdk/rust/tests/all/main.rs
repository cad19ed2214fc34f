//! Tests of the SDK from outside.

mod calls;
mod refused_functions;
mod tables;
