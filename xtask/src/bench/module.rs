//! Calls within Valkey: the module beside Lua, in the same server and the same run.

use std::ffi::OsString;
use std::fmt::Write as _;

use anyhow::{Result, bail};
use ferrite_tests::Reply;
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::figures::machine::Machine;
use super::instructions::{self, Instructions};
use super::load::{Generator, Shape, must_succeed};
use super::socket::{self, PERMISSIONS, WORKLOADS, function, source};
use super::valkey;
use crate::binaries::{self, BuildProfile};
use crate::server::Server;
use crate::workspace::Workspace;

/// The figures of this part.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Module {
    valkey_version: String,
    rows: Vec<Row>,
}

impl Module {
    /// The rates of one contender, if it took part.
    pub(super) fn rates(&self, workload: &str, contender: &str, shape: Shape) -> Option<&Figures> {
        let row = |row: &&Row| {
            row.workload == workload && row.contender == contender && row.shape == shape
        };
        self.rows.iter().find(row).map(|row| &row.rates)
    }
}

/// The figures of one contender with one workload.
#[derive(Serialize, Deserialize)]
struct Row {
    workload: String,
    contender: String,
    shape: Shape,
    /// Replies a second, one figure a round.
    rates: Figures,
    /// Milliseconds, one figure a round.
    p50: Figures,
    p99: Figures,
}

/// One line of the plan.
struct Turn {
    workload: &'static str,
    contender: String,
    shape: Shape,
    command: Vec<String>,
}

/// Measures everything, each contender once a round.
///
/// # Errors
/// If the server does not start or a call fails.
pub(super) fn measure(
    workspace: &Workspace,
    profile: BuildProfile,
    rounds: usize,
    seconds: f64,
) -> Result<Module> {
    let generator = Generator::find()?;
    let folder = workspace.target.join("bench/module");
    super::empty(&folder)?;
    let module = binaries::module(workspace, profile)?;
    let wasmc = binaries::wasmc(workspace, profile)?;
    let arguments: [OsString; 6] = [
        "--loadmodule".into(),
        module.into(),
        "compiler".into(),
        wasmc.into(),
        // The sum of a million numbers needs more fuel than the default allows.
        "max-fuel".into(),
        "1000000000".into(),
    ];
    let server = valkey::start_with(workspace, &folder, &arguments)?;
    let isolations = socket::load_functions(workspace, &server)?;
    load_libraries(workspace, &server)?;
    socket::register_users(&server);
    let plan = plan(&isolations);
    for turn in &plan {
        must_succeed(&server, &turn.command)?;
    }
    let mut rows: Vec<Row> = plan
        .iter()
        .map(|turn| Row {
            workload: turn.workload.to_owned(),
            contender: turn.contender.clone(),
            shape: turn.shape,
            rates: Figures::default(),
            p50: Figures::default(),
            p99: Figures::default(),
        })
        .collect();
    for round in 1..=rounds {
        for (turn, row) in plan.iter().zip(&mut rows) {
            let latency = generator.measured(&server, turn.shape, &turn.command, seconds)?;
            let Shape {
                connections,
                pipeline,
            } = turn.shape;
            println!(
                "{round}/{rounds}  {:<14} {:<12} -c {connections:<2} -P {pipeline:<2} {:>12.0}/s",
                turn.workload, turn.contender, latency.rate
            );
            row.rates.push(latency.rate);
            row.p50.push(latency.p50);
            row.p99.push(latency.p99);
        }
    }
    let valkey_version = valkey::version(&server);
    server.stop()?;
    Ok(Module {
        valkey_version,
        rows,
    })
}

/// Loads every function as a library of the scripting engine, too.
fn load_libraries(workspace: &Workspace, server: &Server) -> Result<()> {
    let mut client = server.client();
    for (name, ..) in WORKLOADS {
        let header = format!("{{\"name\":\"wasm_{name}\",\"permissions\":{PERMISSIONS}}}");
        let mut code = format!("#!wasm name=wasm_{name}\n{header}\n").into_bytes();
        code.extend(source(workspace, name)?);
        let reply = client.call(&[b"FUNCTION".as_slice(), b"LOAD", &code]);
        if let Reply::Error(error) = reply {
            bail!("Valkey refused the library of {name}: {error}");
        }
    }
    Ok(())
}

fn plan(isolations: &[&'static str]) -> Vec<Turn> {
    let mut plan = Vec::new();
    for (workload, keys, arguments, shapes) in WORKLOADS {
        for shape in *shapes {
            for isolation in isolations {
                let mut command = vec!["WASM.CALL".to_owned(), function(workload, isolation)];
                for (word, values) in [("KEYS", keys), ("ARGS", arguments)] {
                    if !values.is_empty() {
                        command.push(word.to_owned());
                        command.extend(values.iter().map(|&value| value.to_owned()));
                    }
                }
                plan.push(Turn {
                    workload,
                    contender: (*isolation).to_owned(),
                    shape: *shape,
                    command,
                });
            }
            for (contender, name) in [
                ("FCALL wasm", format!("wasm_{workload}")),
                ("FCALL lua", (*workload).to_owned()),
            ] {
                let mut command = vec!["FCALL".to_owned(), name, keys.len().to_string()];
                let words = keys.iter().chain(*arguments);
                command.extend(words.map(|&word| word.to_owned()));
                plan.push(Turn {
                    workload,
                    contender: contender.to_owned(),
                    shape: *shape,
                    command,
                });
            }
        }
    }
    plan
}

/// Returns the whole page.
pub(super) fn page(
    machine: &Machine,
    figures: &Module,
    instructions: Option<&Instructions>,
) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, machine, figures);
    if let Some(instructions) = instructions {
        let _ = instructions::section(&mut page, instructions);
    }
    page
}

fn write_page(page: &mut String, machine: &Machine, figures: &Module) -> std::fmt::Result {
    let Module {
        valkey_version,
        rows,
    } = figures;
    writeln!(page, "# Benchmarks within Valkey\n")?;
    writeln!(
        page,
        "Measured by `cargo xtask bench --only module`, which wrote this page: the module and Lua in one"
    )?;
    writeln!(
        page,
        "Valkey {valkey_version}, taking turns; loads by `redis-benchmark`. Figures are medians.\n"
    )?;
    writeln!(
        page,
        "{}, {} cores; {}; commit {}, profile {}.\n",
        machine.processor, machine.cores, machine.kernel, machine.commit, machine.profile
    )?;
    writeln!(
        page,
        "| function | load | by | calls a second | beside Lua | p50 ms | p99 ms |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|")?;
    for row in rows {
        let lua = rows.iter().find(|other| {
            other.workload == row.workload
                && other.shape == row.shape
                && other.contender == "FCALL lua"
        });
        let ratio = lua.map_or(f64::NAN, |lua| row.rates.median() / lua.rates.median());
        writeln!(
            page,
            "| {} | -c {} -P {} | {} | {:.0} ({:.0}–{:.0}) | {ratio:.2} | {:.3} | {:.3} |",
            row.workload,
            row.shape.connections,
            row.shape.pipeline,
            row.contender,
            row.rates.median(),
            row.rates.low(),
            row.rates.high(),
            row.p50.median(),
            row.p99.median(),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::plan;

    #[test]
    fn every_contender_is_asked_for_the_same() {
        let plan = plan(&["reuse"]);
        let command = |contender: &str, workload: &str| {
            let turn = plan
                .iter()
                .find(|turn| turn.contender == contender && turn.workload == workload);
            turn.unwrap().command.join(" ")
        };
        let arguments = "ratelimit:__rand_int__ 1000000000 60";
        assert_eq!(
            command("reuse", "rate_limit"),
            "WASM.CALL rate_limit-reuse KEYS ratelimit:__rand_int__ ARGS 1000000000 60"
        );
        assert_eq!(
            command("FCALL wasm", "rate_limit"),
            format!("FCALL wasm_rate_limit 1 {arguments}")
        );
        assert_eq!(
            command("FCALL lua", "rate_limit"),
            format!("FCALL rate_limit 1 {arguments}")
        );
    }
}
