//! Looks at the files that a configuration names, for `--check-config`.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ferrite_protocol::error_chain::ErrorChain;

use crate::config::Config;
use crate::net::tls;
use crate::process::log;

/// Returns what is wrong with the files that the configuration names, and with settings that only their
/// use would show. Changes nothing.
#[must_use]
pub fn check_files(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    if let Err(error) = tls::acceptor(config) {
        problems.push(ErrorChain(&error).to_string());
    }
    if let Err(error) = log::check_filter(&config.server.log) {
        problems.push(ErrorChain(&error).to_string());
    }
    let below = |path: &Path| config.below_dir(path);
    if config.store.persistent {
        problems.extend(folder("store.data_dir", &below(&config.store.data_dir)));
        problems.extend(folder("store.backup_dir", &below(&config.store.backup_dir)));
    }
    if !config.wasm.enabled {
        return problems;
    }
    if let Some(compiler) = &config.wasm.compiler {
        problems.extend(program("wasm.compiler", &below(compiler)));
    }
    if let Some(registry) = &config.wasm.registry {
        problems.extend(readable("wasm.registry", &below(registry)));
    }
    if config.cache.enabled {
        let path = below(&config.cache.compiled_cache_dir);
        problems.extend(folder("wasm.cache.compiled_cache_dir", &path));
    }
    problems
}

/// A folder that exists must be one, and writable.
fn folder(key: &str, path: &Path) -> Option<String> {
    let metadata = existing(path)?;
    if !metadata.is_dir() {
        return Some(format!("{key}: {} is not a folder", path.display()));
    }
    let access = rustix::fs::access(
        path,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    );
    access
        .err()
        .map(|error| format!("{key}: {} cannot be written: {error}", path.display()))
}

/// A file that exists must be one, and readable.
fn readable(key: &str, path: &Path) -> Option<String> {
    existing(path)?;
    let problem = std::fs::read(path).err()?;
    Some(format!(
        "{key}: {} cannot be read: {problem}",
        path.display()
    ))
}

/// A program must exist, and be one.
fn program(key: &str, path: &Path) -> Option<String> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => None,
        Ok(_) => Some(format!("{key}: {} is not a program", path.display())),
        Err(error) => Some(format!("{key}: {}: {error}", path.display())),
    }
}

/// Returns the metadata of what is there; `None` if nothing is: the server creates it.
fn existing(path: &Path) -> Option<Metadata> {
    path.metadata().ok()
}

#[cfg(test)]
mod tests {
    use super::check_files;
    use crate::config::Config;

    fn problems(dir: &std::path::Path, text: &str) -> String {
        let text = format!("[server]\ndir = \"{}\"\n{text}", dir.display());
        let config = Config::parse("ferrite.toml".as_ref(), &text).expect("right");
        check_files(&config).join("\n")
    }

    #[test]
    fn what_is_wrong_with_files_is_said() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(problems(dir.path(), ""), "");
        std::fs::write(dir.path().join("file"), "x").expect("written");
        for (text, part) in [
            (
                "tls_port = 7001\ntls_cert = \"no.pem\"\ntls_key = \"no.key\"",
                "no.pem",
            ),
            ("log = \"ferrite=loud\"", "server.log"),
            ("[store]\ndata_dir = \"file\"", "store.data_dir"),
            ("[wasm]\ncompiler = \"file\"", "is not a program"),
            ("[wasm]\ncompiler = \"nothing\"", "wasm.compiler"),
            (
                "[wasm.cache]\ncompiled_cache_dir = \"file\"",
                "compiled_cache_dir",
            ),
        ] {
            let found = problems(dir.path(), text);
            assert!(found.contains(part), "{text}: {found:?}");
        }
    }
}
