//! The functions of WASI preview 1 on files: directories that the function is trusted with, and nothing
//! else of the file system.

use wasmtime::Result;

use crate::call::state::CallState;
use crate::host::fuel;
use crate::host::guest::Guest;
use crate::policy::files::errno;
use crate::policy::files::scratch::Opening;
use crate::policy::files::table::{FileTable, PATH_BYTES_MAX};
use ferrite_protocol::keyspace::Keyspace;

const SUCCESS: i32 = 0;

/// Bytes that are read at a time. The kernel never writes into a guest's memory, whose pages may be
/// write-protected.
const CHUNK_BYTES: usize = 16 << 10;

/// Fuel of a system call on a path or a descriptor, besides bytes.
const SYSTEM_CALL: u64 = 2000;

/// Fuel for each name of a directory that is read and sorted.
const LISTED_NAME: u64 = 64;

/// Bytes of one vector: address and length.
const VECTOR_BYTES: u32 = 8;

/// Most vectors of one read.
const VECTORS_MAX: u32 = 1024;

/// Right to write, which only scratch directories give.
const RIGHT_WRITE: i64 = 1 << 6;

/// Flags of `path_open`.
const OPEN_CREATE: i32 = 1;
const OPEN_DIRECTORY: i32 = 1 << 1;
const OPEN_EXCLUSIVE: i32 = 1 << 2;
const OPEN_TRUNCATE: i32 = 1 << 3;

/// Flag of a descriptor whose writes go to the end.
const APPEND: i32 = 1;

/// Flag of a path whose last link is followed.
const FOLLOW: i32 = 1;

/// Bytes of an entry of a directory before its name: where the next one begins at 0, inode at 8,
/// length of the name at 16, type at 20.
const ENTRY_BYTES: usize = 24;

/// Passes what `work` returns on to the guest.
fn answer(result: std::result::Result<(), i32>) -> i32 {
    result.err().unwrap_or(SUCCESS)
}

pub(super) fn fd_prestat_get<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    out: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), 8)?;
    let Some(directory) = view.state.files.directory(fd) else {
        return Ok(errno::BADF);
    };
    // A slash comes before the name.
    let len = directory.name().len() as u32 + 1;
    let mut prestat = [0; 8];
    prestat[4..].copy_from_slice(&len.to_le_bytes());
    view.write(out.cast_unsigned(), &prestat)?;
    Ok(SUCCESS)
}

pub(super) fn fd_prestat_dir_name<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    path: i32,
    len: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let mut view = guest.view()?;
    view.span(path, len)?;
    let Some(directory) = view.state.files.directory(fd) else {
        return Ok(errno::BADF);
    };
    let name = format!("/{}", directory.name());
    if name.len() > len.cast_unsigned() as usize {
        return Ok(errno::NAMETOOLONG);
    }
    view.write(path.cast_unsigned(), name.as_bytes())?;
    Ok(SUCCESS)
}

#[expect(clippy::too_many_arguments, reason = "WASI has them")]
pub(super) fn path_open<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    _lookup: i32,
    path: i32,
    len: i32,
    open_flags: i32,
    rights: i64,
    _inherited: i64,
    descriptor_flags: i32,
    out: i32,
) -> Result<i32> {
    guest.charge_inputs(fuel::CALL + SYSTEM_CALL, &[(path, len)])?;
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), 4)?;
    let path = view.span(path, len)?;
    if view.state.files.is_empty() {
        return Ok(errno::BADF);
    }
    if len.cast_unsigned() > PATH_BYTES_MAX {
        return Ok(errno::NAMETOOLONG);
    }
    let directory = open_flags & OPEN_DIRECTORY != 0;
    let how = Opening {
        directory,
        create: open_flags & OPEN_CREATE != 0,
        exclusive: open_flags & OPEN_EXCLUSIVE != 0,
        truncate: open_flags & OPEN_TRUNCATE != 0,
        // Some libraries ask for every right on a directory.
        write: rights & RIGHT_WRITE != 0 && !directory,
        append: descriptor_flags & APPEND != 0,
    };
    match view.state.files.open(fd, &view.memory[path], how) {
        Ok(fd) => {
            view.write(out.cast_unsigned(), &fd.to_le_bytes())?;
            Ok(SUCCESS)
        }
        Err(errno) => Ok(errno),
    }
}

pub(super) fn path_filestat_get<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    lookup: i32,
    path: i32,
    len: i32,
    out: i32,
) -> Result<i32> {
    guest.charge_inputs(fuel::CALL + SYSTEM_CALL, &[(path, len)])?;
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), 64)?;
    let path = view.span(path, len)?;
    if view.state.files.is_empty() {
        return Ok(errno::BADF);
    }
    if len.cast_unsigned() > PATH_BYTES_MAX {
        return Ok(errno::NAMETOOLONG);
    }
    let follow = lookup & FOLLOW != 0;
    match view
        .state
        .files
        .stat_beneath(fd, &view.memory[path], follow)
    {
        Ok(stat) => {
            view.write(out.cast_unsigned(), &stat.filestat())?;
            Ok(SUCCESS)
        }
        Err(errno) => Ok(errno),
    }
}

pub(super) fn fd_filestat_get<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    out: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL + SYSTEM_CALL)?;
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), 64)?;
    match view.state.files.stat(fd) {
        Ok(stat) => {
            view.write(out.cast_unsigned(), &stat.filestat())?;
            Ok(SUCCESS)
        }
        Err(errno) => Ok(errno),
    }
}

/// Returns the `fdstat` of a file or directory.
pub(super) fn fdstat<K: Keyspace>(
    state: &mut CallState<K>,
    fd: i32,
) -> std::result::Result<[u8; 24], i32> {
    state.files.fdstat(fd)
}

pub(super) fn fd_tell<K: Keyspace>(guest: &mut Guest<'_, K>, fd: i32, out: i32) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), 8)?;
    match view.state.files.position(fd) {
        Ok(position) => {
            view.write(out.cast_unsigned(), &position.to_le_bytes())?;
            Ok(SUCCESS)
        }
        Err(errno) => Ok(errno),
    }
}

/// Moves the position in a file, and writes the new one at `out`.
pub(super) fn seek<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    offset: i64,
    whence: i32,
    out: i32,
) -> Result<i32> {
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), 8)?;
    match view.state.files.seek(fd, offset, whence) {
        Ok(position) => {
            view.write(out.cast_unsigned(), &position.to_le_bytes())?;
            Ok(SUCCESS)
        }
        Err(errno) => Ok(errno),
    }
}

/// Takes the fuel for the guest's vectors themselves, which may all be empty.
fn charge_table<K: Keyspace>(guest: &mut Guest<'_, K>, vectors: u32, count: u32) -> Result<()> {
    let bytes = u64::from(VECTOR_BYTES) * u64::from(count);
    guest.view()?.span_of(vectors, bytes)?;
    guest.charge_bytes(u64::from(count), bytes)
}

pub(super) fn fd_pread<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    vectors: i32,
    count: i32,
    offset: i64,
    out: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let Ok(offset) = u64::try_from(offset) else {
        return Ok(errno::INVAL);
    };
    read(guest, fd, vectors, count, Some(offset), out)
}

/// Reads into the guest's vectors: at `offset`, or at the file's position, which then moves.
pub(super) fn read<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    vectors: i32,
    count: i32,
    offset: Option<u64>,
    out: i32,
) -> Result<i32> {
    let (vectors, count) = (vectors.cast_unsigned(), count.cast_unsigned());
    let view = guest.view()?;
    view.span_of(out.cast_unsigned(), 4)?;
    if count > VECTORS_MAX {
        return Ok(errno::INVAL);
    }
    charge_table(guest, vectors, count)?;
    let view = guest.view()?;
    let start = match view.state.files.position(fd) {
        Ok(position) => offset.unwrap_or(position),
        Err(errno) => return Ok(errno),
    };
    let mut done: u32 = 0;
    'vectors: for index in 0..count {
        // The table is inside the memory, so its addresses do not overflow.
        let at = vectors + index * VECTOR_BYTES;
        let view = guest.view()?;
        let (pointer, len) = (view.read_u32(at)?, view.read_u32(at + 4)?);
        view.span_of(pointer, u64::from(len))?;
        let mut filled: u32 = 0;
        while filled < len {
            let from = start.saturating_add(u64::from(done));
            let view = guest.view()?;
            let wanted = u64::from(len - filled).min(CHUNK_BYTES as u64);
            let available = match view.state.files.available(fd, from, wanted) {
                Ok(available) => available,
                Err(errno) => return Ok(errno),
            };
            guest.charge_bytes(SYSTEM_CALL, available)?;
            let view = guest.view()?;
            let mut chunk = [0; CHUNK_BYTES];
            // At most `CHUNK_BYTES`.
            let chunk = &mut chunk[..available as usize];
            let read = match view.state.files.read(fd, chunk, from) {
                Ok(read) => read as u32,
                Err(errno) => return Ok(errno),
            };
            if read == 0 {
                break 'vectors;
            }
            guest
                .view()?
                .write(pointer + filled, &chunk[..read as usize])?;
            filled += read;
            done = done.saturating_add(read);
        }
    }
    let mut view = guest.view()?;
    if offset.is_none() {
        view.state.files.advance(fd, u64::from(done));
    }
    view.write(out.cast_unsigned(), &done.to_le_bytes())?;
    Ok(SUCCESS)
}

pub(super) fn fd_pwrite<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    vectors: i32,
    count: i32,
    offset: i64,
    out: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let Ok(offset) = u64::try_from(offset) else {
        return Ok(errno::INVAL);
    };
    write(guest, fd, vectors, count, Some(offset), out)
}

/// Writes the guest's vectors: at `offset`, or at the file's position, which then moves, or at its end.
pub(super) fn write<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    vectors: i32,
    count: i32,
    offset: Option<u64>,
    out: i32,
) -> Result<i32> {
    let (vectors, count) = (vectors.cast_unsigned(), count.cast_unsigned());
    let view = guest.view()?;
    view.span_of(out.cast_unsigned(), 4)?;
    if count > VECTORS_MAX {
        return Ok(errno::INVAL);
    }
    charge_table(guest, vectors, count)?;
    let view = guest.view()?;
    let files = &mut view.state.files;
    let position = match (files.write_position(fd), offset) {
        (Err(errno), _) => return Ok(errno),
        (Ok(position), None) => position,
        (Ok(_), Some(offset)) => offset,
    };
    let mut done: u32 = 0;
    for index in 0..count {
        // The table is inside the memory, so its addresses do not overflow.
        let at = vectors + index * VECTOR_BYTES;
        let view = guest.view()?;
        let (pointer, len) = (view.read_u32(at)?, view.read_u32(at + 4)?);
        let bytes = view.span_of(pointer, u64::from(len))?;
        let Some(sum) = done.checked_add(len) else {
            return Ok(errno::INVAL);
        };
        let to = position.saturating_add(u64::from(done));
        let growth = match view.state.files.growth(fd, to, u64::from(len)) {
            Ok(growth) => growth,
            // What fitted before is written.
            Err(_) if done > 0 => break,
            Err(errno) => return Ok(errno),
        };
        guest.charge_bytes(SYSTEM_CALL, growth.max(u64::from(len)))?;
        let view = guest.view()?;
        match view.state.files.write(fd, &view.memory[bytes], to) {
            Ok(()) => done = sum,
            Err(_) if done > 0 => break,
            Err(errno) => return Ok(errno),
        }
    }
    let mut view = guest.view()?;
    if offset.is_none() {
        let moved = position.saturating_add(u64::from(done));
        view.state.files.set_position(fd, moved);
    }
    view.write(out.cast_unsigned(), &done.to_le_bytes())?;
    Ok(SUCCESS)
}

pub(super) fn fd_filestat_set_size<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    len: i64,
) -> Result<i32> {
    guest.charge(fuel::CALL + SYSTEM_CALL)?;
    let Ok(len) = u64::try_from(len) else {
        return Ok(errno::INVAL);
    };
    let growth = match guest.state().files.growth(fd, len, 0) {
        Ok(growth) => growth,
        Err(errno) => return Ok(errno),
    };
    guest.charge_bytes(0, growth)?;
    Ok(answer(guest.state().files.set_len(fd, len)))
}

pub(super) fn fd_fdstat_set_flags<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    flags: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let appends = flags & APPEND != 0;
    Ok(answer(guest.state().files.set_appends(fd, appends)))
}

/// Does nothing for an open file: all that is written is in memory.
pub(super) fn fd_sync<K: Keyspace>(guest: &mut Guest<'_, K>, fd: i32) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    Ok(answer(guest.state().files.stat(fd).map(drop)))
}

pub(super) fn fd_datasync<K: Keyspace>(guest: &mut Guest<'_, K>, fd: i32) -> Result<i32> {
    fd_sync(guest, fd)
}

/// Runs a change of a path.
fn change<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    path: i32,
    len: i32,
    change: impl FnOnce(&mut FileTable, &[u8]) -> std::result::Result<(), i32>,
) -> Result<i32> {
    guest.charge_inputs(fuel::CALL + SYSTEM_CALL, &[(path, len)])?;
    let view = guest.view()?;
    let path = view.span(path, len)?;
    if len.cast_unsigned() > PATH_BYTES_MAX {
        return Ok(errno::NAMETOOLONG);
    }
    Ok(answer(change(&mut view.state.files, &view.memory[path])))
}

pub(super) fn path_create_directory<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    path: i32,
    len: i32,
) -> Result<i32> {
    change(guest, path, len, |files, path| {
        files.create_directory(fd, path)
    })
}

pub(super) fn path_unlink_file<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    path: i32,
    len: i32,
) -> Result<i32> {
    change(guest, path, len, |files, path| {
        files.remove(fd, path, false)
    })
}

pub(super) fn path_remove_directory<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    path: i32,
    len: i32,
) -> Result<i32> {
    change(guest, path, len, |files, path| files.remove(fd, path, true))
}

pub(super) fn path_rename<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    path: i32,
    len: i32,
    new_fd: i32,
    new_path: i32,
    new_len: i32,
) -> Result<i32> {
    guest.charge_inputs(
        fuel::CALL + SYSTEM_CALL,
        &[(path, len), (new_path, new_len)],
    )?;
    let view = guest.view()?;
    let (path, new_path) = (view.span(path, len)?, view.span(new_path, new_len)?);
    if path.len().max(new_path.len()) > PATH_BYTES_MAX as usize {
        return Ok(errno::NAMETOOLONG);
    }
    let (path, new_path) = (&view.memory[path], &view.memory[new_path]);
    Ok(answer(
        view.state.files.rename((fd, path), (new_fd, new_path)),
    ))
}

pub(super) fn fd_readdir<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    buffer: i32,
    len: i32,
    cookie: i64,
    out: i32,
) -> Result<i32> {
    guest.charge_for(
        fuel::CALL + SYSTEM_CALL,
        u64::from(len.cast_unsigned()),
        &[(buffer, len)],
    )?;
    let view = guest.view()?;
    let span = view.span(buffer, len)?;
    view.span_of(out.cast_unsigned(), 4)?;
    let Ok(first) = usize::try_from(cookie) else {
        return Ok(errno::INVAL);
    };
    if first == 0 {
        view.state.files.rewind_entries(fd);
    }
    let is_listed = view.state.files.is_listed(fd);
    let entries = match view.state.files.entries(fd) {
        Ok(entries) => entries,
        Err(errno) => return Ok(errno),
    };
    let listing = if is_listed {
        0
    } else {
        entries.len() as u64 * LISTED_NAME
    };
    let buffer = &mut view.memory[span];
    let mut used = 0;
    for (index, entry) in entries.iter().enumerate().skip(first) {
        let mut head = [0; ENTRY_BYTES];
        head[..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
        head[8..16].copy_from_slice(&entry.inode.to_le_bytes());
        head[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
        head[20] = entry.kind;
        for part in [&head[..], &entry.name] {
            let fitting = part.len().min(buffer.len() - used);
            buffer[used..used + fitting].copy_from_slice(&part[..fitting]);
            used += fitting;
        }
        // A full buffer says that there is more.
        if used == buffer.len() {
            break;
        }
    }
    // The guest's buffer has at most 4 GiB.
    guest
        .view()?
        .write(out.cast_unsigned(), &(used as u32).to_le_bytes())?;
    guest.charge(listing)?;
    Ok(SUCCESS)
}

pub(super) fn close<K: Keyspace>(state: &mut CallState<K>, fd: i32) -> i32 {
    answer(state.files.close(fd))
}
