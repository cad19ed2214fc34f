//! Programs that run beside a test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A program that ends with its value.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts a program, and waits until a line of its standard error has this text. Returns the rest of that line, too.
    pub(crate) fn start(command: &mut Command, text: &str) -> (Self, String) {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let mut running = Self(child);
        let log = running.0.stderr.take().expect("it is a pipe");
        let mut lines = BufReader::new(log).lines();
        let rest = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once(text)?;
            Some(rest.to_owned())
        });
        // Later output is not needed, but the program must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let rest = rest.unwrap_or_else(|| panic!("{command:?} ended before it said {text:?}"));
        (running, rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
