//! Tests of the command line from outside: commands as typed, and their output.

mod cached;
mod cases;
mod doctor;
mod transcript;
mod watch;
