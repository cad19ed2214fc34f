//! The same functions in every language: through the socket beside Lua in Valkey, and in one process.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use ferrite_tests::Reply;
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::in_process::{self, Row as Benchmark};
use super::load::{Generator, must_succeed};
use super::socket::{self, PIPELINED, WORKLOADS};
use super::valkey;
use crate::binaries::BuildProfile;
use crate::examples::{self, Function};
use crate::server::Server;
use crate::workspace::Workspace;

/// The functions that every language has among the examples.
pub(super) const SHARED: [&str; 2] = ["rate_limit", "validate_user"];

/// Languages, and the examples with these functions; `None` where each function is an example of its own.
const LANGUAGES: [(&str, Option<&str>); 6] = [
    ("Rust", None),
    ("C", Some("c_functions")),
    ("AssemblyScript", Some("assemblyscript")),
    ("Go", Some("go")),
    ("JavaScript", Some("javascript")),
    ("Python", Some("python")),
];

/// Permissions of the functions. Languages differ in the commands that theirs send.
const PERMISSIONS: &str = r#"{"allowed_keys":["ratelimit:*","user:*"],"allow_write":true}"#;

/// The contender in Valkey.
pub(super) const LUA: &str = "Lua";

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(super) struct Languages {
    pub(super) valkey_version: String,
    pub(super) rows: Vec<Row>,
    pub(super) calls: Vec<Call>,
}

/// The rate of one function in one language through the socket.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) workload: String,
    pub(super) language: String,
    /// Replies a second, one figure a round.
    pub(super) rates: Figures,
}

/// The time of a call in one process.
#[derive(Serialize, Deserialize)]
pub(super) struct Call {
    /// Language, function and isolation.
    pub(super) name: String,
    /// Nanoseconds.
    pub(super) minimum: f64,
    pub(super) median: f64,
}

impl Languages {
    /// The rates of one language, if it took part.
    pub(super) fn rates(&self, workload: &str, language: &str) -> Option<&Figures> {
        let row = |row: &&Row| row.workload == workload && row.language == language;
        self.rows.iter().find(row).map(|row| &row.rates)
    }

    /// The call of one name.
    pub(super) fn call(&self, language: &str, entry: &str, isolation: &str) -> Option<&Call> {
        let name = format!("languages/{language}/{entry}/{isolation}");
        self.calls.iter().find(|call| call.name == name)
    }

    /// The languages that took part, in their order.
    pub(super) fn languages(&self) -> impl Iterator<Item = &'static str> {
        LANGUAGES
            .into_iter()
            .map(|(language, _)| language)
            .filter(|language| self.rows.iter().any(|row| row.language == *language))
    }
}

/// Measures everything: through the socket each language once a round, then in one process.
///
/// # Errors
/// If a server does not start or a call fails.
pub(super) fn measure(
    workspace: &Workspace,
    profile: BuildProfile,
    rounds: usize,
    seconds: f64,
) -> Result<Languages> {
    let generator = Generator::find()?;
    let folder = workspace.target.join("bench/socket");
    super::empty(&folder)?;
    let built = examples::build(workspace)?;
    let valkey = valkey::start(workspace, &folder)?;
    let ferrite = socket::start(workspace, profile, &folder)?;
    socket::register_users(&ferrite);
    socket::register_users(&valkey);
    let mut rows = Vec::new();
    let mut commands = Vec::new();
    for workload in SHARED {
        for (language, example) in LANGUAGES {
            let example = example.unwrap_or(workload);
            let Some(function) = built.iter().find(|function| function.name == example) else {
                println!("note: {language} takes no part");
                continue;
            };
            let name = format!("{workload}-{language}").to_lowercase();
            load(&ferrite, &name, function)?;
            let called = match example == workload {
                true => name,
                false => format!("{name}.{workload}"),
            };
            commands.push((
                false,
                command(&["WASM.CALL", &called, "KEYS"], workload, true),
            ));
            rows.push(row(workload, language));
        }
        commands.push((true, command(&["FCALL", workload, "1"], workload, false)));
        rows.push(row(workload, LUA));
    }
    for (on_valkey, command) in &commands {
        must_succeed(if *on_valkey { &valkey } else { &ferrite }, command)?;
    }
    for round in 1..=rounds {
        for ((on_valkey, command), row) in commands.iter().zip(&mut rows) {
            let server = if *on_valkey { &valkey } else { &ferrite };
            let rate = generator.rate(server, PIPELINED, command, seconds)?;
            println!(
                "{round}/{rounds}  {:<14} {:<14} {rate:>12.0}/s",
                row.workload, row.language
            );
            row.rates.push(rate);
        }
    }
    let valkey_version = valkey::version(&valkey);
    ferrite.stop()?;
    valkey.stop()?;

    let call = |(
        Benchmark {
            name, nanoseconds, ..
        },
        minimum,
    )| Call {
        name,
        minimum,
        median: nanoseconds,
    };
    let calls = in_process::measure_matching(workspace, "^languages/")?;
    Ok(Languages {
        valkey_version,
        rows,
        calls: calls.into_iter().map(call).collect(),
    })
}

fn row(workload: &str, language: &str) -> Row {
    Row {
        workload: workload.to_owned(),
        language: language.to_owned(),
        rates: Figures::default(),
    }
}

/// Loads a built function, which isolates each call.
fn load(server: &Server, name: &str, function: &Function) -> Result<()> {
    let source: &PathBuf = &function.source;
    let bytes =
        std::fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    let mut command = match source.extension().is_some_and(|kind| kind == "js") {
        true => vec![b"WASM.DEFINE".to_vec(), name.into(), b"JS".to_vec(), bytes],
        false => vec![b"WASM.LOAD".to_vec(), name.into(), bytes],
    };
    let options = ["PERMISSIONS", PERMISSIONS, "ISOLATION", "rewind", "REPLACE"];
    command.extend(options.map(|option| option.as_bytes().to_vec()));
    match server.client().call(&command) {
        Reply::Error(error) => anyhow::bail!("{name}: {error}"),
        _ => Ok(()),
    }
}

/// The command for a workload, with its keys and arguments.
fn command(start: &[&str], workload: &str, separated: bool) -> Vec<String> {
    let mut words: Vec<&str> = start.to_vec();
    if let Some((_, keys, arguments, _)) = WORKLOADS.iter().find(|(name, ..)| *name == workload) {
        words.extend(*keys);
        if separated {
            words.push("ARGS");
        }
        words.extend(*arguments);
    }
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn a_function_and_a_script_get_the_same() {
        let function = command(&["WASM.CALL", "f", "KEYS"], "rate_limit", true).join(" ");
        let script = command(&["FCALL", "rate_limit", "1"], "rate_limit", false).join(" ");
        let input = "ratelimit:__rand_int__";
        assert_eq!(
            function,
            format!("WASM.CALL f KEYS {input} ARGS 1000000000 60")
        );
        assert_eq!(script, format!("FCALL rate_limit 1 {input} 1000000000 60"));
    }
}
