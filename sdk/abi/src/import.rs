//! The host functions that a guest may import.

/// Module name under which the functions are imported.
pub const MODULE: &str = "ferrite";

/// Prefix of the names in module `env`, for toolchains that can only import from there.
pub const ENV_PREFIX: &str = "ferrite_";

/// A WebAssembly number type that the ABI uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 64-bit float.
    F64,
}

impl NumType {
    /// The name that the WebAssembly text format gives the type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

/// A host function that a guest may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Import {
    /// Name in module [`MODULE`].
    pub name: &'static str,
    /// Types of the parameters, in order.
    pub params: &'static [NumType],
    /// Type of the result, if there is one.
    pub result: Option<NumType>,
}

/// Passes the declarations of all host functions to the macro `$consumer`.
///
/// The consumer gets a list of `fn name(parameter: type, …) -> type;` items, each with its doc
/// comment. The Rust SDK turns them into `extern` declarations, this crate into the table
/// [`IMPORTS`].
#[macro_export]
macro_rules! imports {
    ($consumer:path) => {
        $consumer! {
            /// Number of keys the call was given.
            fn key_count() -> i32;
            /// Number of arguments the call was given.
            fn arg_count() -> i32;
            /// Copies key `index`; its full length, or a status.
            fn key(index: i32, buf: i32, cap: i32) -> i32;
            /// Copies argument `index`; its full length, or a status.
            fn arg(index: i32, buf: i32, cap: i32) -> i32;
            /// Replies null.
            fn reply_null();
            /// Replies true or false (an integer in RESP2).
            fn reply_bool(value: i32);
            /// Replies an integer.
            fn reply_int(value: i64);
            /// Replies a double (a bulk string in RESP2).
            fn reply_double(value: f64);
            /// Replies a bulk string.
            fn reply_bulk(ptr: i32, len: i32);
            /// Replies a simple string; carriage returns and line feeds become blanks.
            fn reply_simple(ptr: i32, len: i32);
            /// Replies an error; its first word is its code.
            fn reply_error(ptr: i32, len: i32);
            /// Opens an array of `n` elements, the replies that follow.
            fn reply_array(n: i32);
            /// Opens a map of `n` pairs (an array of `2n` elements in RESP2).
            fn reply_map(n: i32);
            /// Reads a string; its full length, or a status.
            fn get(key: i32, klen: i32, buf: i32, cap: i32) -> i32;
            /// Writes a string; 0 or a status. A negative `ttl_ms` sets no expiry.
            fn set(key: i32, klen: i32, val: i32, vlen: i32, options: i32, ttl_ms: i64) -> i32;
            /// Deletes keys; how many there were, or a status.
            fn del(pairs: i32, count: i32) -> i32;
            /// Counts the keys that exist, or a status.
            fn exists(pairs: i32, count: i32) -> i32;
            /// Adds to an integer and writes the sum at `out` as `i64`; 0 or a status.
            fn incr_by(key: i32, klen: i32, delta: i64, out: i32) -> i32;
            /// Sets an expiry; 1, 0 where there is no such key, or a status.
            fn expire(key: i32, klen: i32, ttl_ms: i64) -> i32;
            /// Milliseconds to live, -1 without expiry, -2 without key, or a status.
            fn ttl(key: i32, klen: i32) -> i64;
            /// Reads a hash field; its full length, or a status.
            fn hget(key: i32, klen: i32, field: i32, flen: i32, buf: i32, cap: i32) -> i32;
            /// Writes a hash field; 1 if new, 0 if changed, or a status.
            fn hset(key: i32, klen: i32, field: i32, flen: i32, val: i32, vlen: i32) -> i32;
            /// Deletes hash fields; how many there were, or a status.
            fn hdel(key: i32, klen: i32, pairs: i32, count: i32) -> i32;
            /// Runs any command; the full length of its RESP reply, or a status.
            fn call(cmd: i32, cmdlen: i32, args: i32, argslen: i32, buf: i32, cap: i32) -> i32;
            /// Copies more of the last result that was longer than its buffer; bytes copied.
            fn take(buf: i32, offset: i32, len: i32) -> i32;
            /// Writes a line to the log.
            fn log(level: i32, ptr: i32, len: i32);
            /// Milliseconds since 1970, the same throughout a call.
            fn time_millis() -> i64;
            /// Fills a buffer with random bytes.
            fn random(buf: i32, len: i32);
            /// Makes an HTTP request, a RESP array of bulk strings; the full length of the RESP
            /// response, or a status.
            fn http(request: i32, len: i32, buf: i32, cap: i32) -> i32;
            /// Makes such a request a part of what the call commits, to be sent after that; the full
            /// length of a RESP reply, its idempotency key, or a status.
            fn after_commit(request: i32, len: i32, buf: i32, cap: i32) -> i32;
            /// Reads a value of the function's own configuration; its full length, or a status.
            fn config(name: i32, nlen: i32, buf: i32, cap: i32) -> i32;
            /// Reads the names in that configuration, each with a line end (`\n`) after it; their full
            /// length.
            fn config_names(buf: i32, cap: i32) -> i32;
        }
    };
}

macro_rules! num_type {
    (i32) => {
        NumType::I32
    };
    (i64) => {
        NumType::I64
    };
    (f64) => {
        NumType::F64
    };
}

macro_rules! result_type {
    () => {
        None
    };
    ($ty:tt) => {
        Some(num_type!($ty))
    };
}

macro_rules! table {
    ($($(#[$doc:meta])* fn $name:ident($($param:ident: $ty:tt),*) $(-> $result:tt)?;)*) => {
        /// Every host function of this ABI version, in the order of the documentation.
        pub const IMPORTS: &[Import] = &[$(Import {
            name: stringify!($name),
            params: &[$(num_type!($ty)),*],
            result: result_type!($($result)?),
        }),*];
    };
}

imports!(table);

/// Finds the host function that an import refers to, in module `ferrite` or `env`.
///
/// ```
/// use ferrite_wasm_abi::import;
/// assert_eq!(import("ferrite", "get"), import("env", "ferrite_get"));
/// assert!(import("env", "get").is_none());
/// ```
#[must_use]
pub fn import(module: &str, name: &str) -> Option<&'static Import> {
    let name = match module {
        MODULE => name,
        "env" => name.strip_prefix(ENV_PREFIX)?,
        _ => return None,
    };
    IMPORTS.iter().find(|import| import.name == name)
}

#[cfg(test)]
mod tests {
    use super::{IMPORTS, NumType, import};

    #[test]
    fn names_are_unique_and_found_by_both_spellings() {
        for (index, expected) in IMPORTS.iter().enumerate() {
            assert!(
                IMPORTS[..index]
                    .iter()
                    .all(|other| other.name != expected.name)
            );
            assert_eq!(import("ferrite", expected.name), Some(expected));
        }
        assert_eq!(
            import("env", "ferrite_take").map(|found| found.name),
            Some("take")
        );
        assert_eq!(import("other", "get"), None);
    }

    #[test]
    fn signatures_follow_the_declarations() {
        let set = import("ferrite", "set").expect("`set` is in the table");
        assert_eq!(set.params.len(), 6);
        assert_eq!(set.params[5], NumType::I64);
        assert_eq!(set.result, Some(NumType::I32));
        let log = import("ferrite", "log").expect("`log` is in the table");
        assert_eq!(log.result, None);
    }
}
