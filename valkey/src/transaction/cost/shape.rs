//! The way in which the cost of each command of the server is foreseen, by its name.
//!
//! `tests/all/walls/foreseen.rs` compares this table with what the server says of its commands.

/// The way in which a command's cost is foreseen: by its keys, their sizes, or its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The number of its keys alone.
    Flat,
    /// All of each of its keys, with a search for each element. Every command that is not known.
    Whole,
    /// All elements of each of its keys.
    Elements,
    /// All of each of its keys in order, with the keys that patterns name.
    Sort,
    /// The smallest of its keys, each of whose elements is looked for in the others.
    Smallest,
    /// The strings at its keys, which its reply holds.
    Strings,
    /// A part of a string, which its reply holds.
    Substring,
    /// The count of elements that it asks for, with repetition if it is negative.
    Random,
    /// The count of elements that its third word tells, or one.
    Taken,
    /// The count of elements that it names after `COUNT`, or one.
    CountOrOne,
    /// The count of elements that it names after `COUNT`, or all.
    CountOrAll,
    /// The elements between two places, and the way to the first.
    Range,
    /// The elements of a sorted set between two scores or names; see [`between`](super::foreseen::between).
    Between,
    /// The elements of a list outside of two places.
    Outside,
    /// The way to a place in a list.
    Place,
    /// The entries of a stream that it takes away.
    Trim,
    /// The end of the bytes that it overwrites.
    SetRange,
    /// The bit that it sets.
    SetBit,
    /// The furthest integer that it writes.
    BitField,
    /// The product of its strings' lengths.
    CommonSubsequence,
}

/// Commands whose work is bounded by their arguments, up to a logarithm of the sizes of their keys. What
/// lists names is charged while it runs.
const FLAT: &[&str] = &[
    "append",
    "bitfield_ro",
    "blmove",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzpopmax",
    "bzpopmin",
    "clusterscan",
    "dbsize",
    "decr",
    "decrby",
    "delifeq",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "geoadd",
    "geodist",
    "geohash",
    "geopos",
    "getbit",
    "hdel",
    "hexists",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hget",
    "hgetdel",
    "hgetex",
    "hincrby",
    "hincrbyfloat",
    "hlen",
    "hmget",
    "hmset",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hscan",
    "hset",
    "hsetex",
    "hsetnx",
    "hstrlen",
    "httl",
    "incr",
    "incrby",
    "incrbyfloat",
    "keys",
    "llen",
    "lmove",
    "lolwut",
    "lpush",
    "lpushx",
    "mset",
    "msetex",
    "msetnx",
    "object|encoding",
    "object|freq",
    "object|idletime",
    "object|refcount",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "pfadd",
    "psetex",
    "pttl",
    "randomkey",
    "rename",
    "renamenx",
    "restore",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "scan",
    "scard",
    "set",
    "setex",
    "setnx",
    "sismember",
    "smismember",
    "smove",
    "srem",
    "sscan",
    "strlen",
    "touch",
    "ttl",
    "type",
    "unlink",
    "xack",
    "xclaim",
    "xdel",
    "xgroup|create",
    "xgroup|createconsumer",
    "xgroup|setid",
    "xlen",
    "xsetid",
    "zadd",
    "zcard",
    "zcount",
    "zincrby",
    "zlexcount",
    "zmscore",
    "zrank",
    "zrem",
    "zrevrank",
    "zscan",
    "zscore",
];

impl Shape {
    /// Returns the shape of the command of this name, in lower case.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            b"del"
            | b"geosearch"
            | b"geosearchstore"
            | b"georadius"
            | b"georadius_ro"
            | b"georadiusbymember"
            | b"georadiusbymember_ro"
            | b"xpending"
            | b"xinfo|stream"
            | b"xinfo|groups"
            | b"xinfo|consumers" => Self::Elements,
            b"sort" | b"sort_ro" => Self::Sort,
            b"sinter" | b"sinterstore" | b"sintercard" | b"zinter" | b"zinterstore"
            | b"zintercard" => Self::Smallest,
            b"get" | b"getdel" | b"getex" | b"getset" | b"mget" => Self::Strings,
            b"getrange" | b"substr" => Self::Substring,
            b"srandmember" | b"hrandfield" | b"zrandmember" => Self::Random,
            b"lpop" | b"rpop" | b"spop" | b"zpopmin" | b"zpopmax" => Self::Taken,
            b"lmpop" | b"blmpop" | b"zmpop" | b"bzmpop" => Self::CountOrOne,
            b"xrange" | b"xrevrange" | b"xread" | b"xreadgroup" => Self::CountOrAll,
            b"lrange" => Self::Range,
            b"zrange" | b"zrevrange" | b"zrangestore" | b"zrangebyscore" | b"zrevrangebyscore"
            | b"zrangebylex" | b"zrevrangebylex" | b"zremrangebyscore" | b"zremrangebylex"
            | b"zremrangebyrank" => Self::Between,
            b"ltrim" => Self::Outside,
            b"lindex" | b"lset" => Self::Place,
            b"xadd" | b"xtrim" => Self::Trim,
            b"setrange" => Self::SetRange,
            b"setbit" => Self::SetBit,
            b"bitfield" => Self::BitField,
            b"lcs" => Self::CommonSubsequence,
            name if FLAT.iter().any(|flat| flat.as_bytes() == name) => Self::Flat,
            _ => Self::Whole,
        }
    }

    /// Returns true if the sizes of its keys' values matter.
    pub(crate) const fn needs_sizes(self) -> bool {
        !matches!(self, Self::Flat)
    }
}
