//! The base of an engine: the memory that its start leaves, which all of its programs begin with.
//!
//! It is stored as [patches](super::patches) to a memory of zeros: in the engine's module as a custom section, and
//! in the file of its native code at the end, where wasmtime does not look:
//!
//! | bytes | content |
//! |---|---|
//! | | native code, in wasmtime's own format |
//! | *n* | the base |
//! | 8 | *n*, little-endian |
//! | 8 | the magic `FERRBASE` |

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The custom section of an engine's module that holds its base.
pub const BASE_SECTION: &str = "ferrite:base";

const MAGIC: &[u8; 8] = b"FERRBASE";

/// Bytes after the base.
const TAIL_LEN: u64 = 16;

/// Appends a base to the native code of its engine.
pub fn append(native: &mut Vec<u8>, base: &[u8]) {
    native.extend_from_slice(base);
    native.extend_from_slice(&(base.len() as u64).to_le_bytes());
    native.extend_from_slice(MAGIC);
}

/// Reads the base at the end of a file of native code, of `file_len` bytes; `None` if it has none.
///
/// # Errors
///
/// The file cannot be read.
pub fn read(file: &File, file_len: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(tail_at) = file_len.checked_sub(TAIL_LEN) else {
        return Ok(None);
    };
    let mut tail = [0; TAIL_LEN as usize];
    file.read_exact_at(&mut tail, tail_at)?;
    let Some(len) = tail.strip_suffix(MAGIC).and_then(|len| len.first_chunk()) else {
        return Ok(None);
    };
    let len = u64::from_le_bytes(*len);
    let Some(start) = tail_at.checked_sub(len) else {
        return Ok(None);
    };
    let mut base = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut base, start)?;
    Ok(Some(base))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{append, read};

    fn read_back(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(bytes).expect("there is room");
        read(&file, bytes.len() as u64).expect("it can be read")
    }

    #[test]
    fn a_base_is_read_from_behind_the_code_and_nothing_else_is_one() {
        for base in [&b""[..], b"patches"] {
            let mut bytes = b"native code".to_vec();
            append(&mut bytes, base);
            assert_eq!(read_back(&bytes).as_deref(), Some(base));
            assert_eq!(read_back(&bytes[..bytes.len() - 1]), None);
        }
        for other in [&b""[..], b"code", b"native code that ends without one"] {
            assert_eq!(read_back(other), None);
        }
        // It says that it is longer than its file.
        assert_eq!(read_back(b"\xff\0\0\0\0\0\0\0FERRBASE"), None);
    }
}
