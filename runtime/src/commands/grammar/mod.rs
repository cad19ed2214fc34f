//! The grammar that commands share: sections, options, counted keys, reply fields.

pub(crate) mod fields;
pub(crate) mod key_positions;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod sections;
