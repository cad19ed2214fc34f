//! Load through the socket, made by `redis-benchmark`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use ferrite_tests::Reply;

use crate::run;
use crate::server::Server;
use crate::tools;

/// How many keys the commands are spread over.
pub(super) const KEYS: u32 = 10_000;

/// How a load is put on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Shape {
    /// Connections at once.
    pub(super) connections: u32,
    /// Requests that a connection sends without waiting for their replies.
    pub(super) pipeline: u32,
}

/// The program that makes the load.
pub(super) struct Generator {
    program: PathBuf,
}

impl Generator {
    /// # Errors
    /// When the program is not installed.
    pub(super) fn find() -> Result<Self> {
        let program = tools::on_path("redis-benchmark")
            .context("the load is made by redis-benchmark, which is not installed (on Debian: apt-get install redis-tools)")?;
        Ok(Self { program })
    }

    /// How many such commands a second the server answers, over about so many seconds.
    ///
    /// # Errors
    /// When the load cannot be made, or a reply is an error.
    pub(super) fn rate(
        &self,
        server: &Server,
        shape: Shape,
        command: &[String],
        seconds: f64,
    ) -> Result<f64> {
        Ok(self.measured(server, shape, command, seconds)?.rate)
    }

    /// As [`Generator::rate`], with how long replies took.
    ///
    /// # Errors
    /// When the load cannot be made, or a reply is an error.
    pub(super) fn measured(
        &self,
        server: &Server,
        shape: Shape,
        command: &[String],
        seconds: f64,
    ) -> Result<Latency> {
        // A first turn warms both sides and says how many requests fill the time.
        let few = u64::from(shape.connections * shape.pipeline * 4);
        let first = self.turn(server, shape, command, few)?;
        let enough = ((first.rate * seconds) as u64).max(few);
        self.turn(server, shape, command, enough)
    }

    /// How many requests a second the server answers in a standard test of the program, over about
    /// so many seconds. For `rpop` the list is filled first, for as many requests.
    ///
    /// # Errors
    /// When the load cannot be made, or a reply is an error.
    pub(super) fn standard(
        &self,
        server: &Server,
        shape: Shape,
        test: &str,
        seconds: f64,
    ) -> Result<f64> {
        let few = u64::from(shape.connections * shape.pipeline * 4);
        let first = self.test(server, shape, test, few)?.rate;
        let enough = ((first * seconds) as u64).max(few);
        if test == "rpop" {
            self.test(server, shape, "lpush", enough)?;
        }
        Ok(self.test(server, shape, test, enough)?.rate)
    }

    /// How long requests of a standard test take, over about so many seconds.
    ///
    /// # Errors
    /// When the load cannot be made, or a reply is an error.
    pub(super) fn latency(
        &self,
        server: &Server,
        shape: Shape,
        test: &str,
        seconds: f64,
    ) -> Result<Latency> {
        let few = u64::from(shape.connections * shape.pipeline * 20);
        let first = self.test(server, shape, test, few)?.rate;
        let enough = ((first * seconds) as u64).max(few);
        self.test(server, shape, test, enough)
    }

    fn test(&self, server: &Server, shape: Shape, test: &str, requests: u64) -> Result<Latency> {
        let printed = self.run(server, shape, requests, &["-t", test])?;
        figures(&printed).with_context(|| format!("redis-benchmark -t {test} printed:\n{printed}"))
    }

    fn turn(
        &self,
        server: &Server,
        shape: Shape,
        command: &[String],
        requests: u64,
    ) -> Result<Latency> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let printed = self.run(server, shape, requests, &words)?;
        figures(&printed).with_context(|| {
            format!(
                "redis-benchmark on `{}` printed:\n{printed}",
                command.join(" ")
            )
        })
    }

    fn run(&self, server: &Server, shape: Shape, requests: u64, more: &[&str]) -> Result<String> {
        let mut generator = Command::new(&self.program);
        generator
            .args(["--csv", "-e", "-h", "127.0.0.1", "-p"])
            .arg(server.port.to_string());
        generator.args([
            "-c",
            &shape.connections.to_string(),
            "-P",
            &shape.pipeline.to_string(),
        ]);
        generator.args(["-r", &KEYS.to_string(), "-n", &requests.to_string()]);
        run::output(generator.args(more))
    }
}

/// What one turn of load measured: requests a second, and latencies in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latency {
    pub(super) rate: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// The figures in what `redis-benchmark --csv` printed: its last line ends with seven numbers, the
/// rate, the average, the least, p50, p95, p99 and the greatest.
fn figures(printed: &str) -> Result<Latency> {
    if let Some(error) = printed
        .lines()
        .find(|line| line.contains("Error from server"))
    {
        bail!("{error}");
    }
    let last = printed
        .lines()
        .rfind(|line| line.starts_with('"'))
        .context("no figures")?;
    let fields: Vec<_> = last.trim_matches('"').rsplit("\",\"").collect();
    let from_the_end = |at: usize| -> Result<f64> {
        let field = fields.get(at).context("too few figures")?;
        field.parse().context("no number")
    };
    Ok(Latency {
        rate: from_the_end(6)?,
        p50: from_the_end(3)?,
        p99: from_the_end(1)?,
    })
}

/// Send the command once and make sure that the reply is no error.
///
/// # Errors
/// When it is.
pub(super) fn must_succeed<W: AsRef<str>>(server: &Server, command: &[W]) -> Result<Reply> {
    let words: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
    match server.client().call(&words) {
        Reply::Error(error) => bail!("`{}` was answered with: {error}", words.join(" ")),
        reply => Ok(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_whatever_the_command_is_called() {
        let head = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n";
        let line = "\"EVAL return \"a\",\"b\" 0\",\"123456.78\",\"0.1\",\"0.1\",\"0.2\",\"0.3\",\"0.4\",\"0.9\"\n";
        let expected = Latency {
            rate: 123_456.78,
            p50: 0.2,
            p99: 0.4,
        };
        assert_eq!(figures(&format!("{head}{line}")).unwrap(), expected);
        assert!(figures(head).is_err());
        assert!(
            figures("Error from server: NOFUNC\n")
                .unwrap_err()
                .to_string()
                .contains("NOFUNC")
        );
    }
}
