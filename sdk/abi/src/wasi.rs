//! The functions of WASI preview 1 and their signatures.
//!
//! Every function is listed, so that a module linked against a complete libc validates. The host
//! decides what each does inside the sandbox, which has no sockets, and no files but those of named
//! directories.

use crate::NumType::{self, I32, I64};
use crate::import::Import;

/// Module name under which toolchains import WASI preview 1.
pub const PREVIEW1_MODULE: &str = "wasi_snapshot_preview1";

/// Every function of WASI preview 1, in the order of its specification.
///
/// Source: `wasi_snapshot_preview1.witx`; pointers, lengths, descriptors, flags and `errno` are
/// `i32`; file sizes, offsets, rights and timestamps are `i64`.
pub const PREVIEW1: &[Import] = &[
    errno("args_get", &[I32, I32]),
    errno("args_sizes_get", &[I32, I32]),
    errno("environ_get", &[I32, I32]),
    errno("environ_sizes_get", &[I32, I32]),
    errno("clock_res_get", &[I32, I32]),
    errno("clock_time_get", &[I32, I64, I32]),
    errno("fd_advise", &[I32, I64, I64, I32]),
    errno("fd_allocate", &[I32, I64, I64]),
    errno("fd_close", &[I32]),
    errno("fd_datasync", &[I32]),
    errno("fd_fdstat_get", &[I32, I32]),
    errno("fd_fdstat_set_flags", &[I32, I32]),
    errno("fd_fdstat_set_rights", &[I32, I64, I64]),
    errno("fd_filestat_get", &[I32, I32]),
    errno("fd_filestat_set_size", &[I32, I64]),
    errno("fd_filestat_set_times", &[I32, I64, I64, I32]),
    errno("fd_pread", &[I32, I32, I32, I64, I32]),
    errno("fd_prestat_get", &[I32, I32]),
    errno("fd_prestat_dir_name", &[I32, I32, I32]),
    errno("fd_pwrite", &[I32, I32, I32, I64, I32]),
    errno("fd_read", &[I32, I32, I32, I32]),
    errno("fd_readdir", &[I32, I32, I32, I64, I32]),
    errno("fd_renumber", &[I32, I32]),
    errno("fd_seek", &[I32, I64, I32, I32]),
    errno("fd_sync", &[I32]),
    errno("fd_tell", &[I32, I32]),
    errno("fd_write", &[I32, I32, I32, I32]),
    errno("path_create_directory", &[I32, I32, I32]),
    errno("path_filestat_get", &[I32, I32, I32, I32, I32]),
    errno(
        "path_filestat_set_times",
        &[I32, I32, I32, I32, I64, I64, I32],
    ),
    errno("path_link", &[I32, I32, I32, I32, I32, I32, I32]),
    errno("path_open", &[I32, I32, I32, I32, I32, I64, I64, I32, I32]),
    errno("path_readlink", &[I32, I32, I32, I32, I32, I32]),
    errno("path_remove_directory", &[I32, I32, I32]),
    errno("path_rename", &[I32, I32, I32, I32, I32, I32]),
    errno("path_symlink", &[I32, I32, I32, I32, I32]),
    errno("path_unlink_file", &[I32, I32, I32]),
    errno("poll_oneoff", &[I32, I32, I32, I32]),
    Import {
        name: "proc_exit",
        params: &[I32],
        result: None,
    },
    errno("proc_raise", &[I32]),
    errno("sched_yield", &[]),
    errno("random_get", &[I32, I32]),
    errno("sock_accept", &[I32, I32, I32]),
    errno("sock_recv", &[I32, I32, I32, I32, I32, I32]),
    errno("sock_send", &[I32, I32, I32, I32, I32]),
    errno("sock_shutdown", &[I32, I32]),
];

/// Finds the WASI function that an import refers to.
///
/// ```
/// use ferrite_wasm_abi::wasi;
/// assert!(wasi::preview1(wasi::PREVIEW1_MODULE, "fd_write").is_some());
/// assert!(wasi::preview1("wasi_unstable", "fd_write").is_none());
/// ```
#[must_use]
pub fn preview1(module: &str, name: &str) -> Option<&'static Import> {
    if module != PREVIEW1_MODULE {
        return None;
    }
    PREVIEW1.iter().find(|import| import.name == name)
}

/// Error numbers that hosts return.
pub mod errno {
    /// Success.
    pub const SUCCESS: i32 = 0;
    /// No such descriptor is open.
    pub const BADF: i32 = 8;
    /// A parameter is invalid.
    pub const INVAL: i32 = 28;
    /// The function is not supported.
    pub const NOSYS: i32 = 52;
    /// The descriptor is a stream, which has no positions.
    pub const SPIPE: i32 = 70;
}

/// Returns the error number of an unsupported function: `BADF` if it takes a descriptor, else `NOSYS`.
#[must_use]
pub fn absent(name: &str) -> i32 {
    if name.starts_with("fd_") || name.starts_with("path_") {
        errno::BADF
    } else {
        errno::NOSYS
    }
}

/// Returns the `fdstat` of a standard stream: a character device, for reading if `input` is true, else
/// for writing.
///
/// The type is at offset 0, flags at 2, rights at 8, inherited rights at 16.
#[must_use]
pub fn stream_stat(input: bool) -> [u8; 24] {
    const CHARACTER_DEVICE: u8 = 2;
    const RIGHT_READ: u8 = 1 << 1;
    const RIGHT_WRITE: u8 = 1 << 6;
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    stat[8] = if input { RIGHT_READ } else { RIGHT_WRITE };
    stat
}

/// Describes a function that returns an error number, as all but `proc_exit` do.
const fn errno(name: &'static str, params: &'static [NumType]) -> Import {
    Import {
        name,
        params,
        result: Some(I32),
    }
}

#[cfg(test)]
mod tests {
    use super::{PREVIEW1, PREVIEW1_MODULE, preview1};

    #[test]
    fn the_table_is_complete_and_its_names_are_unique() {
        assert_eq!(PREVIEW1.len(), 46);
        for (index, expected) in PREVIEW1.iter().enumerate() {
            assert!(
                PREVIEW1[..index]
                    .iter()
                    .all(|other| other.name != expected.name)
            );
            assert_eq!(preview1(PREVIEW1_MODULE, expected.name), Some(expected));
        }
    }

    #[test]
    fn only_proc_exit_returns_nothing() {
        let silent = PREVIEW1.iter().filter(|import| import.result.is_none());
        assert!(silent.map(|import| import.name).eq(["proc_exit"]));
    }
}
