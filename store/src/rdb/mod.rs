//! Values in the format of RDB files, as `DUMP` and `RESTORE` exchange them with Redis and Valkey.
//!
//! A payload is the type, the value, the format's version (u16) and the CRC64 of all that; numbers
//! are little-endian unless the code says otherwise. Written are only types that every server since
//! Redis 7.0 reads, but for hashes whose fields have deadlines, which Valkey 9 added.

mod crc64;
mod dump;
mod listpack;
mod lzf;
mod reader;
mod restore;
mod ziplist;

pub(crate) use dump::dump;
pub(crate) use restore::{RestoreError, restore};

/// The version of Redis 7.0, which brought listpacks.
const VERSION: u16 = 10;
/// The version of Valkey 9, which brought deadlines of hash fields.
const VERSION_OF_DEADLINES: u16 = 80;
/// Versions that other servers use for formats of their own.
const FOREIGN_VERSIONS: std::ops::Range<u16> = 12..80;

/// Bytes of the version and the checksum.
const FOOTER_LEN: usize = 2 + 8;

/// Types of values. The numbers between them are types that cannot be restored.
mod types {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET_TEXT: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET: u8 = 5;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const HASH_DEADLINES: u8 = 22;
}

/// Marks of a length that is none, but announces a string in another form.
mod forms {
    pub(super) const INT_8: u8 = 0;
    pub(super) const INT_16: u8 = 1;
    pub(super) const INT_32: u8 = 2;
    pub(super) const LZF: u8 = 3;
}

/// Kinds of a node of a quicklist.
mod nodes {
    pub(super) const PLAIN: u64 = 1;
    pub(super) const PACKED: u64 = 2;
}
