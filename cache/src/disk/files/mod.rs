//! Files and folders as the system has them: opened in private, looked at, and mapped.

pub(super) mod platform;
pub(super) mod private;
pub(super) mod seen;
pub(super) mod stat;
