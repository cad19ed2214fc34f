//! Requirements of a module on its host, derived from its imports.

use std::collections::BTreeSet;

use ferrite_cache::{ImportInfo, JavaScript, ModuleInfo, WASM_PAGE_BYTES};
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
    /// True if the module imports every host function that permissions are about, as an interpreter does.
    /// Then the imports do not tell what its program uses, and so what it needs.
    pub(super) imports_all: bool,
    /// The functions for requests that a program in JavaScript names; none if its source is not known.
    pub(super) requests_named: Option<Vec<&'static str>>,
    /// True if the module can open files, of directories that its permissions then have to list. Whole language
    /// libraries can, whether the program does or not.
    pub(super) files: bool,
    /// Imported functions of WASI preview 1. Those about files find only the directories of
    /// `allow_filesystem`; sockets are never available.
    pub(super) wasi: Vec<String>,
}

/// The functions in JavaScript that make requests.
const REQUESTS: [&str; 2] = ["fetch", "afterCommit"];

impl Requirements {
    /// Returns those of a module, which was made of `program` if that is one in JavaScript.
    pub(super) fn of(info: &ModuleInfo, program: Option<&JavaScript<'_>>) -> Self {
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
        let (reads, writes) = (among(READS), among(WRITES));
        let imports_all = reads.len() == READS.len()
            && writes.len() == WRITES.len()
            && ["call", "http", "after_commit"]
                .iter()
                .all(|name| host.contains(name));
        Self {
            memory_bytes: info.memory.map_or(0, |memory| pages(memory.min_pages)),
            memory_bytes_max: info.memory.and_then(|memory| memory.max_pages).map(pages),
            table_elements: info.table_elements_min,
            reads,
            writes,
            commands: host.contains(&"call"),
            requests: host.contains(&"http") || host.contains(&"after_commit"),
            imports_all,
            requests_named: program.map(|program| {
                let names = REQUESTS.into_iter();
                names
                    .filter(|name| has_word(program.source, name))
                    .collect()
            }),
            files: info
                .imports
                .iter()
                .filter(wasi)
                .any(|import| import.name == "path_open"),
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

/// Returns true if a program has this name somewhere, be it in a comment.
fn has_word(source: &[u8], word: &str) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    source
        .split(|byte| !is_part(byte))
        .any(|part| part == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use ferrite_cache::{ImportInfo, JavaScript, ModuleInfo};
    use ferrite_compiler::SourceLimits;

    use super::{READS, Requirements, WRITES};

    /// A module that imports these host functions.
    fn importing(names: &[&str]) -> ModuleInfo {
        let bounds = SourceLimits::default();
        let text = br#"(module (func (export "run")))"#;
        let wasm = ferrite_compiler::to_wasm(text, &bounds).expect("it is a module");
        let mut info = ferrite_compiler::describe(&wasm, &bounds).expect("it is accepted");
        let signature = info.entries[0].signature.clone();
        info.imports = names
            .iter()
            .map(|name| ImportInfo {
                module: ferrite_wasm_abi::MODULE.to_owned(),
                name: (*name).to_owned(),
                signature: signature.clone(),
            })
            .collect();
        info
    }

    #[test]
    fn what_an_interpreter_imports_tells_nothing_of_its_program() {
        let all = [READS, WRITES, &["call", "http", "after_commit"]].concat();
        assert!(Requirements::of(&importing(&all), None).imports_all);
        for left_out in 0..all.len() {
            let mut some = all.clone();
            let name = some.remove(left_out);
            let needs = Requirements::of(&importing(&some), None);
            assert!(!needs.imports_all, "{name}");
        }
    }

    #[test]
    fn the_source_tells_if_a_program_makes_requests() {
        for (source, expected) in [
            ("await fetch(url)", &["fetch"][..]),
            (
                "ferrite.afterCommit(url); (fetch)",
                &["fetch", "afterCommit"],
            ),
            ("prefetch(); fetched; $fetch; afterCommits", &[]),
        ] {
            let program = JavaScript {
                name: "app.js",
                positions: &[],
                source: source.as_bytes(),
            };
            let needs = Requirements::of(&importing(&[]), Some(&program));
            assert_eq!(needs.requests_named.as_deref(), Some(expected), "{source}");
        }
    }

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
            "config_names",
        ];
        for import in ferrite_wasm_abi::IMPORTS {
            let lists = [READS, WRITES, &others];
            let on = lists.iter().filter(|list| list.contains(&import.name));
            assert_eq!(on.count(), 1, "{}", import.name);
        }
    }
}
