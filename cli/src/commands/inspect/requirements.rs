//! Requirements of a module on its host, derived from its imports.

use std::collections::BTreeSet;

use ferrite_cache::{ImportInfo, ModuleInfo, WASM_PAGE_BYTES};
use ferrite_wasm_abi::wasi::PREVIEW1_MODULE;
use serde::Serialize;

/// Host functions that change data; they need the permission `allow_write`.
const WRITES: &[&str] = &["set", "del", "incr_by", "expire", "hset", "hdel"];

/// Host functions that only read data.
const READS: &[&str] = &["get", "exists", "ttl", "hget"];

/// Requirements of a module on its host.
#[derive(Serialize)]
pub(super) struct Requirements {
    /// Initial linear memory of an instance, in bytes.
    pub(super) memory_bytes: u64,
    /// Largest linear memory that the module declares, in bytes; none if it declares no maximum.
    pub(super) memory_bytes_max: Option<u64>,
    /// Initial number of table elements of an instance.
    pub(super) table_elements: u64,
    /// Imported host functions that only read data.
    pub(super) reads: Vec<String>,
    /// Imported host functions that change data.
    pub(super) writes: Vec<String>,
    /// True if the module runs commands by name, which its permissions then have to allow.
    pub(super) commands: bool,
    /// True if the module can make requests to other servers, which its permissions then have to list.
    pub(super) requests: bool,
    /// Imported functions of WASI preview 1. Those about files find only the directories of
    /// `allow_filesystem`; sockets are never available.
    pub(super) wasi: Vec<String>,
}

impl Requirements {
    pub(super) fn of(info: &ModuleInfo) -> Self {
        let pages = |pages: u64| pages.saturating_mul(WASM_PAGE_BYTES);
        let wasi = |import: &&ImportInfo| import.module == PREVIEW1_MODULE;
        let host: Vec<&str> = info
            .imports
            .iter()
            .filter_map(|import| ferrite_wasm_abi::import(&import.module, &import.name))
            .map(|import| import.name)
            .collect();
        let among = |names: &[&str]| {
            let mut found: Vec<String> = names
                .iter()
                .filter(|name| host.contains(name))
                .map(|&name| name.to_owned())
                .collect();
            found.sort();
            found
        };
        Self {
            memory_bytes: info.memory.map_or(0, |memory| pages(memory.min_pages)),
            memory_bytes_max: info.memory.and_then(|memory| memory.max_pages).map(pages),
            table_elements: info.table_elements_min,
            reads: among(READS),
            writes: among(WRITES),
            commands: host.contains(&"call"),
            requests: host.contains(&"http") || host.contains(&"after_commit"),
            // A module that contains two language runtimes imports some functions twice.
            wasi: info
                .imports
                .iter()
                .filter(wasi)
                .map(|import| import.name.clone())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{READS, WRITES};

    /// Each host function is on exactly one list, so this fails until a new one is put on a list.
    #[test]
    fn the_lists_cover_what_touches_data() {
        let others = [
            "key_count",
            "arg_count",
            "key",
            "arg",
            "reply_null",
            "reply_bool",
            "reply_int",
            "reply_double",
            "reply_bulk",
            "reply_simple",
            "reply_error",
            "reply_array",
            "reply_map",
            "call",
            "take",
            "log",
            "time_millis",
            "random",
            "http",
            "after_commit",
            "config",
        ];
        for import in ferrite_wasm_abi::IMPORTS {
            let lists = [READS, WRITES, &others];
            let on = lists.iter().filter(|list| list.contains(&import.name));
            assert_eq!(on.count(), 1, "{}", import.name);
        }
    }
}
