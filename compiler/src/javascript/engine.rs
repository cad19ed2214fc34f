//! The engine's module, which is kept compressed in the program.

/// The module, compressed by zlib.
static COMPRESSED: &[u8] = include_bytes!("../../javascript/engine.wasm.zz");

/// The largest module, in bytes.
const WASM_BYTES_MAX: usize = 8 << 20;

/// Returns the engine's module.
///
/// # Errors
///
/// The compressed bytes are damaged.
pub(super) fn wasm() -> Result<Vec<u8>, String> {
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(COMPRESSED, WASM_BYTES_MAX)
        .map_err(|error| format!("it cannot be decompressed: {error}"))
}
