//! The calls that systems other than Linux do not have, or have otherwise.

use std::fs::File;
use std::io::{self, Write as _};

use rustix::fs::Stat;

/// Reads up to `buffer.len()` bytes at `offset` if they are in the page cache; else fails.
///
/// Fails on file systems and systems that cannot do so.
#[cfg(target_os = "linux")]
pub(in crate::disk) fn read_cached_at(
    file: &File,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};

    let mut buffers = [io::IoSliceMut::new(buffer)];
    Ok(preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT)?)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::disk) fn read_cached_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns true if the file's system is mounted so that code in it cannot be mapped.
#[cfg(target_os = "linux")]
pub(in crate::disk) fn forbids_code(file: &File) -> io::Result<bool> {
    use rustix::fs::{StatVfsMountFlags, fstatvfs};

    Ok(fstatvfs(file)?.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

#[cfg(not(target_os = "linux"))]
pub(in crate::disk) fn forbids_code(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// Creates an anonymous file with these bytes, sealed against writing, growing and shrinking.
#[cfg(target_os = "linux")]
pub(in crate::disk) fn sealed_file(bytes: &[u8]) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use rustix::io::Errno;

    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = "ferrite-artifact";
    // Hardened systems allow only anonymous files that cannot be executed as programs; mapped code
    // does not need that. Kernels before 6.3 do not know the flag.
    let file = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    }?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::disk) fn sealed_file(bytes: &[u8]) -> io::Result<File> {
    // It has no name, and this process alone has it open.
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Returns a file's type and permission bits.
#[cfg_attr(
    target_os = "linux",
    expect(clippy::useless_conversion, reason = "the field is narrower elsewhere")
)]
pub(in crate::disk) fn mode(stat: &Stat) -> u32 {
    stat.st_mode.into()
}
