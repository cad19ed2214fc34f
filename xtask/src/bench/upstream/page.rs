//! The page about functions in front of an engine.

use std::fmt::Write as _;

use super::{
    COMPUTING, IN_ENGINE, IN_SERVER, KEEPING, KEEPS, Row, SCALING_CONNECTIONS, SPREADS, Scaling,
    Upstream, WORKLOADS,
};
use crate::bench::figures::machine::Machine;
use crate::bench::figures::{Rate, Short};

/// Cores of the machines that the model foresees.
const MODEL_CORES: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// Calls a second of as many servers as fill `cores`, with the engine on a core of its own: the servers'
/// processors or the engine's are used up first. Times are in microseconds of processor time a call.
fn foreseen(server: f64, engine: f64, cores: f64) -> f64 {
    let of_servers = cores * 1e6 / server;
    if engine > 0.0 {
        of_servers.min(1e6 / engine)
    } else {
        of_servers
    }
}

/// Returns the whole page.
pub(in crate::bench) fn page(machine: &Machine, figures: &Upstream) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, machine, figures);
    page
}

fn write_page(page: &mut String, machine: &Machine, figures: &Upstream) -> std::fmt::Result {
    let Upstream {
        valkey_version,
        rows,
        scaling,
    } = figures;
    writeln!(page, "# Benchmarks in front of an engine\n")?;
    writeln!(
        page,
        "Measured by `cargo xtask bench --only upstream`, which wrote this page: `ferrite-server --upstream` in"
    )?;
    writeln!(
        page,
        "front of a Valkey {valkey_version} without persistence, beside `EVALSHA` of the same logic in that Valkey,"
    )?;
    writeln!(
        page,
        "taking turns. Loads by `redis-benchmark`. Figures are medians. The engine, the servers and the load share"
    )?;
    writeln!(page, "the machine's processors.\n")?;
    writeln!(
        page,
        "*{}, {} cores; {}; commit {}, profile {}.*\n",
        machine.processor, machine.cores, machine.kernel, machine.commit, machine.profile
    )?;
    writeln!(page, "## Beside scripts in the engine\n")?;
    writeln!(
        page,
        "The keys are chosen at random, among so many; each contender has keys of its own. Among few keys, calls that run"
    )?;
    writeln!(
        page,
        "at once often have the same one, and *again* is the share of calls that then ran once more. The last two columns"
    )?;
    writeln!(
        page,
        "are microseconds of processor time for each call, in the engine and in the server. The engine's part is what it"
    )?;
    writeln!(
        page,
        "cannot do for others meanwhile. `{KEEPING}` is through a server with `{}`, where calls keep",
        KEEPS.join(" ")
    )?;
    writeln!(page, "[values](upstream.md#kept-values) for later calls.\n")?;
    writeln!(
        page,
        "| logic | keys | load | by | calls a second | of EVALSHA | p50 ms | p99 ms | again | engine µs | server µs |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for row in rows {
        let ratio = peer(rows, row).map_or(f64::NAN, |peer| row.rates.over(&peer.rates).median());
        let keys = match row.keys {
            0 => "–".to_owned(),
            keys => Rate(f64::from(keys)).to_string(),
        };
        let (again, server) = if row.contender == IN_ENGINE {
            ("–".to_owned(), "–".to_owned())
        } else {
            (
                format!("{:.3}", row.again.median()),
                Short(row.server.median()).to_string(),
            )
        };
        writeln!(
            page,
            "| {} | {keys} | -c {} -P {} | {} | {} ({}–{}) | {ratio:.2} | {:.3} | {:.3} | {again} | {} | {server} |",
            row.workload,
            row.shape.connections,
            row.shape.pipeline,
            row.contender,
            Rate(row.rates.median()),
            Rate(row.rates.low()),
            Rate(row.rates.high()),
            row.p50.median(),
            row.p99.median(),
            Short(row.engine.median()),
        )?;
    }
    write_scaling(page, rows, scaling)
}

/// The row of the script in the engine beside a row.
fn peer<'r>(rows: &'r [Row], row: &Row) -> Option<&'r Row> {
    rows.iter().find(|other| {
        other.workload == row.workload
            && other.shape == row.shape
            && other.keys == row.keys
            && other.contender == IN_ENGINE
    })
}

/// True for the rows that feed the model: the calls of each workload in its first shape, with the fewest
/// conflicts.
fn feeds_model(row: &Row) -> bool {
    let workload = WORKLOADS.iter().find(|one| one.name == row.workload);
    workload.is_some_and(|workload| {
        let keys = workload.keys.map_or(0, |_| SPREADS[SPREADS.len() - 1]);
        workload.shapes.first() == Some(&row.shape) && row.keys == keys
    }) && row.contender == IN_SERVER
}

fn write_scaling(page: &mut String, rows: &[Row], scaling: &[Scaling]) -> std::fmt::Result {
    writeln!(page, "\n## More servers\n")?;
    writeln!(
        page,
        "Calls a second of `{}`, which computes and touches no data, at {SCALING_CONNECTIONS} connections over all servers. The",
        COMPUTING.name
    )?;
    writeln!(
        page,
        "servers count them, all in one span of time in which every load runs. The load shares the machine's processors"
    )?;
    writeln!(page, "with them:\n")?;
    writeln!(page, "| servers | calls a second |")?;
    writeln!(page, "|---|---|")?;
    for scaling in scaling {
        writeln!(
            page,
            "| {} | {} ({}–{}) |",
            scaling.servers,
            Rate(scaling.rates.median()),
            Rate(scaling.rates.low()),
            Rate(scaling.rates.high()),
        )?;
    }
    writeln!(
        page,
        "\nWhat more machines would do is a model, fed with the processor times of the first load of each logic above, where"
    )?;
    writeln!(
        page,
        "few calls conflict: servers that have so many processors together, and an engine with one of its own. It leaves"
    )?;
    writeln!(page, "the network out. Calls a second:\n")?;
    let mut head = "| logic |".to_owned();
    let mut line = "|---|".to_owned();
    for cores in MODEL_CORES {
        let _ = write!(head, " {cores} |");
        line.push_str("---|");
    }
    writeln!(page, "{head} `EVALSHA` |\n{line}---|")?;
    for row in rows {
        if !feeds_model(row) {
            continue;
        }
        let (server, engine) = (row.server.median(), row.engine.median());
        write!(page, "| {} |", row.workload)?;
        for cores in MODEL_CORES {
            write!(page, " {} |", Rate(foreseen(server, engine, cores)))?;
        }
        let peer = peer(rows, row);
        let script = peer.map_or(f64::NAN, |peer| 1e6 / peer.engine.median());
        writeln!(page, " {} |", Rate(script))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::socket::PIPELINED;

    #[test]
    fn whoever_is_used_up_first_bounds_the_rate() {
        assert_eq!(foreseen(100.0, 10.0, 1.0), 10_000.0);
        assert_eq!(foreseen(100.0, 10.0, 8.0), 80_000.0);
        assert_eq!(foreseen(100.0, 50.0, 8.0), 20_000.0);
        assert_eq!(foreseen(100.0, 0.0, 8.0), 80_000.0);
    }

    #[test]
    fn the_page_sets_both_beside_each_other() {
        let row = |contender: &str, keys: u32, rate: f64, engine: f64| Row {
            workload: "get_set".to_owned(),
            contender: contender.to_owned(),
            shape: PIPELINED,
            keys,
            rates: [rate].into_iter().collect(),
            p50: [1.0].into_iter().collect(),
            p99: [2.0].into_iter().collect(),
            engine: [engine].into_iter().collect(),
            server: [20.0].into_iter().collect(),
            again: [0.0].into_iter().collect(),
        };
        let mut page = String::new();
        let rows = [
            row(IN_SERVER, 10_000, 40_000.0, 50.0),
            row(IN_ENGINE, 10_000, 80_000.0, 40.0),
            row(IN_SERVER, 1_000_000, 50_000.0, 5.0),
            row(IN_ENGINE, 1_000_000, 200_000.0, 4.0),
        ];
        let figures = Upstream {
            valkey_version: "9".to_owned(),
            rows: rows.into(),
            scaling: vec![],
        };
        let ratios: Vec<_> = figures.rows[..3]
            .iter()
            .step_by(2)
            .map(|row| {
                row.rates
                    .over(&peer(&figures.rows, row).unwrap().rates)
                    .median()
            })
            .collect();
        assert_eq!(ratios, [0.5, 0.25]);
        write_scaling(&mut page, &figures.rows, &[]).unwrap();
        assert!(
            page.ends_with("| get_set | 50K | 100K | 200K | 200K | 250K |\n"),
            "{page}"
        );
    }
}
