//! Reads a source as the compiler takes it: a module, its text, or a program in JavaScript.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrite_cache::JavaScript;

use crate::files::{bounded_file, source_map};

/// The largest source map, in bytes.
const MAP_BYTES_MAX: u64 = 64 << 20;

/// Reads a file of at most `bytes_max` bytes. A program in JavaScript, `*.js` or `*.mjs`, comes with the
/// positions that a source map `*.js.map` beside it has.
///
/// # Errors
///
/// Fails if the file cannot be read, or is TypeScript, which has to be built.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("js" | "mjs") => {}
        Some("ts" | "mts" | "tsx" | "jsx") => bail!(
            "this is no plain JavaScript; put it into a project, which `ferrite-wasmc new --lang typescript` \
             makes and `ferrite-wasmc build` compiles"
        ),
        _ => return bounded_file::read(path, bytes_max),
    }
    let source = bounded_file::read(path, bytes_max)?;
    let map = map_path(path);
    let positions = if map.is_file() {
        let map_bytes = bounded_file::read(&map, MAP_BYTES_MAX)?;
        source_map::positions(&map_bytes)
            .with_context(|| format!("the source map {}", map.display()))?
    } else {
        Vec::new()
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(JavaScript {
        name: &name,
        positions: &positions,
        source: &source,
    }
    .encode())
}

/// Returns the path of the source map that belongs to a program.
fn map_path(path: &Path) -> PathBuf {
    let mut map = path.as_os_str().to_owned();
    map.push(".map");
    PathBuf::from(map)
}
