//! Commands on projects of functions: make one, build it, test it, load it into a server.

pub(crate) mod build;
pub(crate) mod deploy;
pub(crate) mod new;
pub(crate) mod test;
