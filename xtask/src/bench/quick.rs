//! `cargo xtask bench --quick`: the ratios that matter, in about five minutes, on the terminal.
//!
//! It measures the same workloads as the full parts, in fewer and shorter rounds, and keeps nothing:
//! neither figures nor pages.

use std::fmt::Write as _;

use anyhow::Result;

use super::figures::{Figures, Short};
use super::in_process;
use super::load::Shape;
use super::module::{self, Module};
use super::socket::{self, ALONE, ISOLATIONS, PIPELINED, SINGLE, Socket};
use super::valkey::Durability;
use crate::binaries::BuildProfile;
use crate::run::heading;
use crate::workspace::Workspace;

/// Rounds of the parts with a socket.
const ROUNDS: usize = 3;

/// Length of each turn in a round, in seconds.
const SECONDS: f64 = 0.5;

/// The benchmarks in one process, as criterion names them; a pattern for its filter.
const IN_PROCESS: &str = "^(call/(noop|get_set)/|isolation, 1 threads/Rust, rate_limit/)";

/// Measures, and prints one table.
///
/// # Errors
/// If something does not build, start or answer as it should.
pub(super) fn run(workspace: &Workspace, profile: BuildProfile) -> Result<()> {
    heading("socket");
    let socket = socket::measure(workspace, profile, ROUNDS, SECONDS)?;
    heading("module");
    let module = module::measure(workspace, profile, ROUNDS, SECONDS)?;
    heading("in-process");
    let in_process = in_process::measure_matching(workspace, IN_PROCESS)?;
    let in_process: Vec<_> = in_process
        .into_iter()
        .map(|(row, minimum)| (row.name, minimum))
        .collect();
    heading("quick");
    println!(
        "{ROUNDS} rounds of {SECONDS} s for each turn; ratios are medians of the rounds, times are minimums\n"
    );
    print!("{}", table(&socket, &module, &in_process));
    Ok(())
}

/// The lines of the table: what was measured, under which load, for each isolation.
fn table(socket: &Socket, module: &Module, in_process: &[(String, f64)]) -> String {
    let mut text = String::new();
    let mut row = |name: &str, load: &str, cells: [String; 3]| {
        let [reuse, rewind, fresh] = cells;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name:<34} {load:<12} {reuse:>10} {rewind:>10} {fresh:>10}"
        );
    };
    row("", "", [0, 1, 2].map(|index| ISOLATIONS[index].to_owned()));
    for (workload, _, _, shapes) in socket::WORKLOADS {
        for shape in *shapes {
            let lua = socket.rates(workload, "lua", *shape);
            let cells = cells(|isolation| socket.rates(workload, isolation, *shape), lua);
            row(&format!("socket, {workload} / Lua"), load(*shape), cells);
            if socket::WRITING.contains(workload) {
                let rates = |contender: &str| {
                    let row = socket.row(Durability::Everysec, workload, contender, *shape);
                    row.map(|row| &row.rates)
                };
                let cells = self::cells(rates, rates("lua"));
                let name = format!("socket, {workload} / Lua, everysec");
                row(&name, load(*shape), cells);
            }
        }
    }
    for shape in [PIPELINED, SINGLE] {
        let ping = socket.rates("ping", "ferrite", shape);
        let cells = cells(|isolation| socket.rates("noop", isolation, shape), ping);
        row("socket, noop / PING", load(shape), cells);
    }
    for (workload, _, _, shapes) in socket::WORKLOADS {
        for shape in *shapes {
            let lua = module.rates(workload, "FCALL lua", *shape);
            let cells = cells(|isolation| module.rates(workload, isolation, *shape), lua);
            row(&format!("module, {workload} / Lua"), load(*shape), cells);
        }
    }
    let mut names: Vec<&str> = in_process
        .iter()
        .filter_map(|(name, _)| Some(name.rsplit_once('/')?.0))
        .collect();
    names.dedup();
    for name in names {
        let cells = [0, 1, 2].map(|index| {
            let full = format!("{name}/{}", ISOLATIONS[index]);
            let found = in_process.iter().find(|(name, _)| *name == full);
            found.map_or_else(
                || "–".to_owned(),
                |(_, nanoseconds)| format!("{} ns", Short(*nanoseconds)),
            )
        });
        let name = name.rsplit('/').next().unwrap_or(name);
        row(&format!("in process, {name}"), "", cells);
    }
    text
}

/// One ratio for each isolation.
fn cells<'a>(
    rates: impl Fn(&str) -> Option<&'a Figures>,
    peer: Option<&'a Figures>,
) -> [String; 3] {
    [0, 1, 2].map(|index| match (rates(ISOLATIONS[index]), peer) {
        (Some(ours), Some(peer)) => format!("{:.2} ×", ours.over(peer).median()),
        _ => "–".to_owned(),
    })
}

fn load(shape: Shape) -> &'static str {
    match shape {
        PIPELINED => "pipelined",
        SINGLE => "one each",
        ALONE => "one client",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ratio_stands_beside_its_isolation() {
        let row = |workload: &str, contender: &str, rate: f64| socket::Row {
            workload: workload.to_owned(),
            contender: contender.to_owned(),
            shape: PIPELINED,
            durability: Durability::Memory,
            rates: [rate].into_iter().collect(),
            processor: Figures::default(),
        };
        let socket = Socket {
            valkey_version: String::new(),
            rows: vec![
                row("noop", "lua", 100.0),
                row("noop", "reuse", 250.0),
                row("noop", "fresh", 50.0),
                row("ping", "ferrite", 500.0),
            ],
        };
        let minimums = [("call/noop/rewind".to_owned(), 123.0)];
        let text = table(&socket, &Module::default(), &minimums);
        let line = |start: &str| {
            let line = text.lines().find(|line| line.starts_with(start));
            line.unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            line("socket, noop / Lua"),
            "socket, noop / Lua pipelined 2.50 × – 0.50 ×"
        );
        assert_eq!(
            line("socket, noop / PING"),
            "socket, noop / PING pipelined 0.50 × – 0.10 ×"
        );
        assert_eq!(line("in process, noop"), "in process, noop – 123 ns –");
    }
}
