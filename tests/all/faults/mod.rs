//! The server while the machine fails: full disks, no file descriptors, and what else comes in at
//! its edges.

mod descriptors;
mod full_disk;
mod log_lines;
mod web_pages;
