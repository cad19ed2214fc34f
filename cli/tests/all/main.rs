//! Tests of the command line from outside: what is typed, and what is printed.

mod cached;
mod cases;
mod doctor;
mod transcript;
mod watch;
