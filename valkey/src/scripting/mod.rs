//! Functions as a scripting engine of the server: `FUNCTION LOAD` and `FCALL`.

pub(crate) mod engine;
pub(crate) mod library;
