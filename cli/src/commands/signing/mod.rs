//! `keygen`, `sign` and `verify`: keys and signatures.

pub(crate) mod keygen;
pub(crate) mod sign;
pub(crate) mod verify;
