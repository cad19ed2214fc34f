//! WASI preview 1, as far as a function needs it: clocks, randomness, lines for the log.
//!
//! Guests written in Go or C import it even if they do not use it. There are no sockets, no arguments
//! and no environment, and no files but those of `wasi_files.rs`, so most functions only return an error
//! number; one table lists those. The functions that do something are below.

use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_wasm_abi::wasi::{self, PREVIEW1, PREVIEW1_MODULE, errno};
use ferrite_wasm_abi::{Import, NumType};
use wasmtime::{Caller, FuncType, Linker, Result, Val, ValType};

use crate::call::guest_log::GuestStream;
use crate::call::host_trap::HostTrap;
use crate::call::state::{CallState, StoreData};
use crate::host::fuel;
use crate::host::guest::Guest;
use crate::host::wasi_files::{
    self, fd_datasync, fd_fdstat_set_flags, fd_filestat_get, fd_filestat_set_size, fd_pread,
    fd_prestat_dir_name, fd_prestat_get, fd_pwrite, fd_readdir, fd_sync, fd_tell,
    path_create_directory, path_filestat_get, path_open, path_remove_directory, path_rename,
    path_unlink_file,
};
use crate::scheduling::moment::Moment;
use ferrite_protocol::keyspace::Keyspace;

pub(super) const STDIN: i32 = 0;
const STDOUT: i32 = 1;
const STDERR: i32 = 2;

/// Clocks are read to the microsecond: precise enough for a function, of little use to an attack.
const CLOCK_NANOS: u64 = 1000;

/// Lists the implemented functions once, for their registration and for the rest of the table.
macro_rules! implemented {
    ($($name:ident($($param:ident: $ty:ty),*) -> $result:ty;)*) => {
        /// The functions that do something.
        const IMPLEMENTED: &[&str] = &[$(stringify!($name)),*];

        fn add_implemented<K: Keyspace>(linker: &mut Linker<StoreData<K>>) -> Result<()> {
            $(linker.func_wrap(
                PREVIEW1_MODULE,
                stringify!($name),
                |caller: Caller<'_, StoreData<K>>, $($param: $ty),*| -> Result<$result> {
                    Guest::new(caller, stringify!($name)).run(|guest| $name(guest, $($param),*))
                },
            )?;)*
            Ok(())
        }
    };
}

implemented! {
    args_sizes_get(count: i32, bytes: i32) -> i32;
    args_get(pointers: i32, bytes: i32) -> i32;
    environ_sizes_get(count: i32, bytes: i32) -> i32;
    environ_get(pointers: i32, bytes: i32) -> i32;
    clock_res_get(clock: i32, out: i32) -> i32;
    clock_time_get(clock: i32, precision: i64, out: i32) -> i32;
    fd_close(fd: i32) -> i32;
    fd_datasync(fd: i32) -> i32;
    fd_fdstat_set_flags(fd: i32, flags: i32) -> i32;
    fd_filestat_get(fd: i32, out: i32) -> i32;
    fd_filestat_set_size(fd: i32, len: i64) -> i32;
    fd_pread(fd: i32, vectors: i32, count: i32, offset: i64, out: i32) -> i32;
    fd_prestat_dir_name(fd: i32, path: i32, len: i32) -> i32;
    fd_prestat_get(fd: i32, out: i32) -> i32;
    fd_pwrite(fd: i32, vectors: i32, count: i32, offset: i64, out: i32) -> i32;
    fd_readdir(fd: i32, buffer: i32, len: i32, cookie: i64, out: i32) -> i32;
    fd_sync(fd: i32) -> i32;
    fd_tell(fd: i32, out: i32) -> i32;
    path_create_directory(fd: i32, path: i32, len: i32) -> i32;
    path_filestat_get(fd: i32, lookup: i32, path: i32, len: i32, out: i32) -> i32;
    path_open(fd: i32, lookup: i32, path: i32, len: i32, open_flags: i32, rights: i64, inherited: i64, descriptor_flags: i32, out: i32) -> i32;
    path_remove_directory(fd: i32, path: i32, len: i32) -> i32;
    path_rename(fd: i32, path: i32, len: i32, new_fd: i32, new_path: i32, new_len: i32) -> i32;
    path_unlink_file(fd: i32, path: i32, len: i32) -> i32;
    fd_fdstat_get(fd: i32, out: i32) -> i32;
    fd_read(fd: i32, vectors: i32, count: i32, out: i32) -> i32;
    fd_seek(fd: i32, offset: i64, whence: i32, out: i32) -> i32;
    fd_write(fd: i32, vectors: i32, count: i32, out: i32) -> i32;
    proc_exit(code: i32) -> ();
    random_get(buffer: i32, len: i32) -> i32;
    sched_yield() -> i32;
}

/// Adds every function of WASI preview 1.
///
/// # Errors
///
/// Fails if the linker already has one of them.
pub(super) fn add<K: Keyspace>(linker: &mut Linker<StoreData<K>>) -> Result<()> {
    add_implemented(linker)?;
    for import in PREVIEW1 {
        if !IMPLEMENTED.contains(&import.name) && import.name != "poll_oneoff" {
            add_absent(linker, import)?;
        }
    }
    Ok(())
}

/// Answers for a function that does nothing: "not open" if it takes a descriptor, else "does not
/// exist".
fn add_absent<K: Keyspace>(linker: &mut Linker<StoreData<K>>, import: &Import) -> Result<()> {
    let answer = wasi::absent(import.name);
    let params = import.params.iter().copied().map(val_type);
    let results = import.result.into_iter().map(val_type);
    let ty = FuncType::new(linker.engine(), params, results);
    linker.func_new(PREVIEW1_MODULE, import.name, ty, move |_, _, results| {
        if let [result] = results {
            *result = Val::I32(answer);
        }
        Ok(())
    })?;
    Ok(())
}

fn val_type(ty: NumType) -> ValType {
    match ty {
        NumType::I32 => ValType::I32,
        NumType::I64 => ValType::I64,
        NumType::F64 => ValType::F64,
    }
}

fn args_sizes_get<K: Keyspace>(guest: &mut Guest<'_, K>, count: i32, bytes: i32) -> Result<i32> {
    no_strings(guest, count, bytes)
}

fn args_get<K: Keyspace>(guest: &mut Guest<'_, K>, _pointers: i32, _bytes: i32) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    Ok(errno::SUCCESS)
}

fn environ_sizes_get<K: Keyspace>(guest: &mut Guest<'_, K>, count: i32, bytes: i32) -> Result<i32> {
    no_strings(guest, count, bytes)
}

fn environ_get<K: Keyspace>(guest: &mut Guest<'_, K>, _pointers: i32, _bytes: i32) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    Ok(errno::SUCCESS)
}

/// Reports that there are no strings and that they take no bytes.
fn no_strings<K: Keyspace>(guest: &mut Guest<'_, K>, count: i32, bytes: i32) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let mut view = guest.view()?;
    view.write(count.cast_unsigned(), &0_u32.to_le_bytes())?;
    view.write(bytes.cast_unsigned(), &0_u32.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

fn clock_res_get<K: Keyspace>(guest: &mut Guest<'_, K>, clock: i32, out: i32) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), size_of::<u64>() as u64)?;
    if !(0..=3).contains(&clock) {
        return Ok(errno::INVAL);
    }
    view.write(out.cast_unsigned(), &CLOCK_NANOS.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

/// Unlike `time_millis`, these clocks move during a call: runtimes such as Go's wait on them.
fn clock_time_get<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    clock: i32,
    _precision: i64,
    out: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL + fuel::ACCESS)?;
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), size_of::<u64>() as u64)?;
    let micros = match clock {
        // A clock before 1970 or after the year 500,000 is wrong anyway.
        0 => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0)),
        // CPU time would reveal the load of others; the monotonic clock answers for it.
        1..=3 => Moment::now().micros(),
        _ => return Ok(errno::INVAL),
    };
    let nanos = micros.saturating_mul(CLOCK_NANOS);
    view.write(out.cast_unsigned(), &nanos.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

fn fd_close<K: Keyspace>(guest: &mut Guest<'_, K>, fd: i32) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    Ok(if is_stream(fd) {
        errno::SUCCESS
    } else {
        wasi_files::close(guest.state(), fd)
    })
}

fn fd_fdstat_get<K: Keyspace>(guest: &mut Guest<'_, K>, fd: i32, out: i32) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let mut view = guest.view()?;
    let stat = wasi::stream_stat(fd == STDIN);
    view.span_of(out.cast_unsigned(), stat.len() as u64)?;
    let stat = if is_stream(fd) {
        stat
    } else {
        match wasi_files::fdstat(view.state, fd) {
            Ok(stat) => stat,
            Err(errno) => return Ok(errno),
        }
    };
    view.write(out.cast_unsigned(), &stat)?;
    Ok(errno::SUCCESS)
}

/// Standard input is empty.
fn fd_read<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    vectors: i32,
    count: i32,
    out: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    let mut view = guest.view()?;
    view.span_of(out.cast_unsigned(), size_of::<u32>() as u64)?;
    if fd != STDIN {
        return wasi_files::read(guest, fd, vectors, count, None, out);
    }
    view.write(out.cast_unsigned(), &0_u32.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

fn fd_seek<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    offset: i64,
    whence: i32,
    out: i32,
) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    if is_stream(fd) {
        return Ok(errno::SPIPE);
    }
    wasi_files::seek(guest, fd, offset, whence, out)
}

fn fd_write<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    fd: i32,
    vectors: i32,
    count: i32,
    out: i32,
) -> Result<i32> {
    const VECTOR_BYTES: u32 = 8;
    guest.charge(fuel::CALL + fuel::LOG)?;
    let stream = match fd {
        STDOUT => GuestStream::Out,
        STDERR => GuestStream::Err,
        STDIN => return Ok(errno::BADF),
        _ => return wasi_files::write(guest, fd, vectors, count, None, out),
    };
    let (vectors, count) = (vectors.cast_unsigned(), count.cast_unsigned());
    let view = guest.view()?;
    view.span_of(vectors, u64::from(VECTOR_BYTES) * u64::from(count))?;
    view.span_of(out.cast_unsigned(), size_of::<u32>() as u64)?;
    let mut written: u32 = 0;
    for index in 0..count {
        // The table is inside the memory, so its addresses do not overflow.
        let at = vectors + index * VECTOR_BYTES;
        let view = guest.view()?;
        let (pointer, len) = (view.read_u32(at)?, view.read_u32(at + 4)?);
        let span = view.span_of(pointer, u64::from(len))?;
        let Some(sum) = written.checked_add(len) else {
            return Ok(errno::INVAL);
        };
        guest.charge_bytes(fuel::CALL, u64::from(len))?;
        let view = guest.view()?;
        let CallState { log, spec, .. } = view.state;
        log.write(&spec.name, stream, &view.memory[span]);
        written = sum;
    }
    guest
        .view()?
        .write(out.cast_unsigned(), &written.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

/// A function must return: a guest that exits cannot give a reply.
fn proc_exit<K: Keyspace>(_guest: &mut Guest<'_, K>, code: i32) -> Result<()> {
    Err(HostTrap::Exit { code }.into())
}

fn random_get<K: Keyspace>(guest: &mut Guest<'_, K>, buffer: i32, len: i32) -> Result<i32> {
    crate::host::system::random(guest, buffer, len)?;
    Ok(errno::SUCCESS)
}

fn sched_yield<K: Keyspace>(guest: &mut Guest<'_, K>) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    Ok(errno::SUCCESS)
}

pub(super) fn is_stream(fd: i32) -> bool {
    (STDIN..=STDERR).contains(&fd)
}

#[cfg(test)]
mod tests {
    use ferrite_wasm_abi::wasi::PREVIEW1;

    use super::IMPLEMENTED;

    #[test]
    fn what_is_implemented_is_part_of_wasi() {
        for name in IMPLEMENTED {
            assert!(PREVIEW1.iter().any(|import| import.name == *name), "{name}");
        }
    }
}
