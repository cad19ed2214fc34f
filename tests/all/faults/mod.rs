//! The server while the machine fails: full disks, no file descriptors, and what else comes in at
//! its edges.

#![allow(
    clippy::print_stdout,
    reason = "the tests say what they skip, and what they counted"
)]

mod clock;
mod damage;
mod descriptors;
mod full_disk;
mod injected;
mod kills;
mod log_lines;
mod memory_limit;
mod old_formats;
mod web_pages;
