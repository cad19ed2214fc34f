//! `keygen`, `sign` and `verify`: keys and signatures of bundles.

pub(crate) mod keygen;
pub(crate) mod sign;
pub(crate) mod verify;
