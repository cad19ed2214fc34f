//! The calls that systems other than Linux do not have, or have otherwise. Each half has the same
//! functions.

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::*;

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::{Path, PathBuf};

    use rustix::fs::{
        FallocateFlags, MemfdFlags, Mode, OFlags, ResolveFlags, fallocate, memfd_create, openat2,
    };
    use rustix::mm::Advice;

    /// Fails with a sentence where memories cannot be rewound.
    #[expect(clippy::unnecessary_wraps, reason = "other systems return an error")]
    pub(crate) fn can_rewind() -> io::Result<()> {
        Ok(())
    }

    /// Makes a file of this name that is only in memory.
    pub(crate) fn memory_file(name: &str) -> io::Result<File> {
        Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into())
    }

    /// Gives the pages of part of a file in memory back to the system; they read as zeros then.
    pub(crate) fn give_back(file: &File, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(file, flags, offset, len)?)
    }

    /// Leaves a range of memory out of core dumps.
    pub(crate) const NOT_DUMPED: Advice = Advice::LinuxDontDump;

    /// Finds the file at a path, without opening it to read.
    pub(crate) fn find(path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    }

    /// Returns the path, free of links, of the file found.
    ///
    /// Does not use `Path::canonicalize`: in a program that has its own allocator and loads this
    /// code with its symbols bound to the C library's, it would free with one allocator the memory
    /// of the other, and the program would crash.
    pub(crate) fn real_path(found: &OwnedFd) -> io::Result<PathBuf> {
        let path = rustix::fs::readlink(by_descriptor(found), Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
    }

    /// Opens the file found to read it, without waiting for the writer of a named pipe.
    pub(crate) fn open_found(found: &OwnedFd) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(by_descriptor(found))
    }

    /// Opens a file as a place only: neither to read nor to write it.
    pub(crate) const PATH_ONLY: OFlags = OFlags::PATH;

    /// Opens a path that the kernel resolves beneath a directory, and fails if it leads out.
    pub(crate) fn open_beneath(
        base: impl AsFd,
        path: &[u8],
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        openat2(base, path, flags, Mode::empty(), resolve)
    }

    fn by_descriptor(found: &OwnedFd) -> String {
        format!("/proc/self/fd/{}", found.as_raw_fd())
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::ffi::OsString;
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::ffi::OsStringExt as _;
    use std::path::{Path, PathBuf};

    use rustix::fs::{Mode, OFlags};
    use rustix::mm::Advice;

    pub(crate) fn can_rewind() -> io::Result<()> {
        Err(io::Error::other("instances are rewound on Linux alone"))
    }

    pub(crate) fn memory_file(_: &str) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn give_back(_: &File, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) const NOT_DUMPED: Advice = Advice::Normal;

    pub(crate) fn find(path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    }

    pub(crate) fn real_path(found: &OwnedFd) -> io::Result<PathBuf> {
        let path = rustix::fs::getpath(found)?;
        Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
    }

    pub(crate) fn open_found(found: &OwnedFd) -> io::Result<File> {
        Ok(found.try_clone()?.into())
    }

    pub(crate) const PATH_ONLY: OFlags = OFlags::empty();

    pub(crate) fn open_beneath(_: impl AsFd, _: &[u8], _: OFlags) -> rustix::io::Result<OwnedFd> {
        Err(rustix::io::Errno::NOSYS)
    }
}
