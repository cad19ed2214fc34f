//! A record that a host keeps for itself, beside the data of its clients.

/// A record of the host by its name, with its value.
pub type Record = (Box<[u8]>, Box<[u8]>);
