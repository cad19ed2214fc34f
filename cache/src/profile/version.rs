//! The full version of the linked wasmtime.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use wasmtime::ModuleVersionStrategy;

use super::target::Target;

/// Returns what a program of this build says about itself: its version, the commit if the build knew
/// it, the platform, and the engine.
///
/// ```
/// let text = ferrite_cache::build_version("1.2.3", Some("4f3c2a1b"));
/// assert!(text.starts_with("1.2.3 (4f3c2a1b, ") && text.contains(", wasmtime "), "{text}");
/// ```
#[must_use]
pub fn build_version(version: &str, commit: Option<&str>) -> String {
    let commit = commit.filter(|commit| !commit.is_empty());
    let commit = commit.map_or_else(String::new, |commit| format!("{commit}, "));
    let (platform, wasmtime) = (platform(), wasmtime_version());
    format!("{version} ({commit}{platform}, wasmtime {wasmtime})")
}

/// The platform that this program was built for, with its C library. Artifacts use none: code for
/// [`Target::host`] is the same for every C library.
fn platform() -> Cow<'static, str> {
    let target = Target::host().triple();
    match target.strip_suffix("-gnu") {
        Some(system) if cfg!(target_env = "musl") => Cow::Owned(format!("{system}-musl")),
        _ => Cow::Borrowed(target),
    }
}

/// Returns the full version of the linked wasmtime, such as `48.0.8`.
///
/// Wasmtime compares only its major version when it loads an artifact. The full version is exposed
/// only as the input of the hash of `ModuleVersionStrategy::WasmtimeVersion`, so that input is
/// captured. The version in `Cargo.toml` is a lower bound, and the lock file may be another
/// workspace's.
pub(super) fn wasmtime_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hashed = Hashed(Vec::new());
        ModuleVersionStrategy::WasmtimeVersion.hash(&mut hashed);
        let text: String = hashed
            .0
            .iter()
            .map(|&byte| char::from(byte))
            .filter(|&letter| letter.is_ascii_graphic())
            .collect();
        assert!(
            is_full_version(&text),
            "wasmtime no longer tells its full version (it hashes `{text}`), and without it code \
             of a faulty release would be taken for good"
        );
        text
    });
    &VERSION
}

fn is_full_version(text: &str) -> bool {
    let release = text.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = release.split('.');
    numbers
        .by_ref()
        .take(3)
        .filter(|number| number.parse::<u32>().is_ok())
        .count()
        == 3
        && numbers.next().is_none()
}

/// A hasher that stores its input.
struct Hashed(Vec<u8>);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{is_full_version, platform, wasmtime_version};

    #[test]
    fn the_platform_is_that_of_the_compiler_s_name_for_it() {
        let platform = platform();
        let words: Vec<&str> = platform.split('-').collect();
        assert_eq!(words.first(), Some(&std::env::consts::ARCH));
        let library = words.last().copied();
        assert_eq!(library == Some("gnu"), cfg!(target_env = "gnu"));
        assert_eq!(library == Some("musl"), cfg!(target_env = "musl"));
    }

    #[test]
    fn is_the_version_that_the_lock_file_names() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
        let lock = std::fs::read_to_string(lock).expect("the workspace has a lock file");
        let entry = format!(
            "name = \"wasmtime\"\nversion = \"{}\"\n",
            wasmtime_version()
        );
        assert!(
            lock.contains(&entry),
            "{} is not locked",
            wasmtime_version()
        );
    }

    #[test]
    fn a_part_of_a_version_is_not_a_version() {
        for full in ["48.0.8", "48.0.8-rc.1", "1.2.3+build"] {
            assert!(is_full_version(full), "{full}");
        }
        for part in ["", "48", "48.0", "48.0.", "48.0.8.1", "48.x.0"] {
            assert!(!is_full_version(part), "{part}");
        }
    }
}
