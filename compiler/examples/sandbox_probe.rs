//! Enters the compile worker's sandbox and tries to get out of it; its test reads what happened.
//!
//! With a number of bytes and one of seconds as its arguments, it is a worker with so much address
//! space and processor time instead.
#![allow(
    clippy::print_stdout,
    reason = "the test reads this program's standard output"
)]

use std::fmt::Display;
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;

use ferrite_compiler::sandbox::{SandboxLimits, enter};
use ferrite_compiler::{SourceLimits, worker};

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some(bytes), Some(seconds)) = (arguments.next(), arguments.next()) {
        serve(&bytes, &seconds);
        return;
    }
    // A descriptor that a careless parent left open.
    let inherited = File::open("/proc/self/status");
    let limits = SandboxLimits {
        address_space_bytes_max: 1 << 30,
        processor_seconds_max: 10,
    };
    let status = match enter(limits) {
        Ok(walls) => walls,
        Err(error) => {
            println!("enter: {error}");
            return;
        }
    };
    println!("landlock: {}", status.landlock);
    // The descriptor is closed already: dropping it would close it a second time.
    std::mem::forget(inherited);
    report("read a file", File::open("/etc/passwd"));
    report("create a file", File::create("/tmp/ferrite-sandbox-probe"));
    report("list a folder", std::fs::read_dir("/"));
    report("reopen a descriptor", File::open("/proc/self/fd/3"));
    report("connect by tcp", TcpStream::connect("127.0.0.1:1"));
    report("listen by tcp", TcpListener::bind("127.0.0.1:0"));
    report("send by udp", UdpSocket::bind("127.0.0.1:0"));
    report("make a socket pair", UnixStream::pair());
    report("start a program", Command::new("/bin/true").spawn());
    let parent = nix::unistd::getppid();
    report("trace its parent", nix::sys::ptrace::attach(parent));
    report("be traced", nix::sys::ptrace::traceme());
    report("signal its parent", nix::sys::signal::kill(parent, None));
    report(
        "make memory executable",
        memmap2::MmapMut::map_anon(4096).and_then(memmap2::MmapMut::make_exec),
    );
    report(
        "write where it may",
        std::io::Write::flush(&mut std::io::stdout()),
    );
    report(
        "start a thread",
        std::thread::Builder::new()
            .spawn(|| {})
            .map(std::thread::JoinHandle::join),
    );
    let mut memory: Vec<u8> = Vec::new();
    report("take a gigabyte", memory.try_reserve_exact(1 << 30));
}

/// Compiles one job within the sandbox, as `ferrite-wasmc worker` does.
fn serve(address_space_bytes_max: &str, processor_seconds_max: &str) {
    let limits = SandboxLimits {
        address_space_bytes_max: address_space_bytes_max.parse().expect("a number of bytes"),
        processor_seconds_max: processor_seconds_max.parse().expect("a number of seconds"),
    };
    enter(limits).expect("the sandbox stands");
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    worker::serve(&mut input, &mut output, &SourceLimits::default()).expect("the parent is there");
}

fn report<T, E: Display>(what: &str, result: Result<T, E>) {
    match result {
        Ok(_) => println!("{what}: allowed"),
        Err(error) => println!("{what}: {error}"),
    }
}
