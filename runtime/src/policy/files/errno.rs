//! Error numbers of the kernel as WASI has them.

use rustix::io::Errno;

pub(crate) const ACCES: i32 = 2;
pub(crate) const BADF: i32 = 8;
pub(crate) const EXIST: i32 = 20;
pub(crate) const INVAL: i32 = 28;
pub(crate) const IO: i32 = 29;
pub(crate) const ISDIR: i32 = 31;
pub(crate) const LOOP: i32 = 32;
pub(crate) const MFILE: i32 = 33;
pub(crate) const NAMETOOLONG: i32 = 37;
pub(crate) const NOENT: i32 = 44;
pub(crate) const NOSPC: i32 = 51;
pub(crate) const NOTDIR: i32 = 54;
pub(crate) const NOTEMPTY: i32 = 55;
pub(crate) const NOTSUP: i32 = 58;
pub(crate) const OVERFLOW: i32 = 61;
pub(crate) const ROFS: i32 = 69;
pub(crate) const XDEV: i32 = 75;
pub(crate) const NOTCAPABLE: i32 = 76;

/// Returns the number that a guest gets for an error of the kernel.
pub(crate) fn of(error: Errno) -> i32 {
    match error {
        Errno::NOENT => NOENT,
        Errno::NOTDIR => NOTDIR,
        Errno::ISDIR => ISDIR,
        Errno::ACCESS | Errno::PERM => ACCES,
        Errno::LOOP => LOOP,
        Errno::NAMETOOLONG => NAMETOOLONG,
        Errno::INVAL => INVAL,
        Errno::MFILE | Errno::NFILE => MFILE,
        // The path would have left its directory.
        Errno::XDEV => NOTCAPABLE,
        _ => IO,
    }
}
