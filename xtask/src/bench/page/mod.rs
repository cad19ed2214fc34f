//! The page: every figure with its spread, and the command that measures it again.

mod languages;
mod store;

use std::fmt::Write as _;

use ferrite_benches::modules::Size;

use super::cold::{Cold, Loads};
use super::compile::{Compile, Within};
use super::figures::cells::{or_dash, rates, spread, times};
use super::figures::machine::Machine;
use super::figures::{Figures, Rate, Short};
use super::in_process::InProcess;
use super::languages::Languages;
use super::load::Shape;
use super::socket::{ALONE, ISOLATIONS, PIPELINED, SINGLE, Socket, WRITING, scaling};
use super::store::Store;
use super::valkey::Durability;

/// The figures of each part, with the machine that it was measured on.
pub(super) struct Measured {
    pub(super) socket: Option<(Socket, Machine)>,
    pub(super) scaling: Option<(Vec<scaling::Row>, Machine)>,
    pub(super) store: Option<(Store, Machine)>,
    pub(super) cold: Option<(Cold, Machine)>,
    pub(super) compile: Option<(Compile, Machine)>,
    pub(super) languages: Option<(Languages, Machine)>,
    pub(super) in_process: Option<(InProcess, Machine)>,
}

/// Returns the whole page; a part that was not measured has no section.
pub(super) fn write(measured: &Measured) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = sections(&mut page, measured);
    page
}

fn sections(page: &mut String, measured: &Measured) -> std::fmt::Result {
    let Measured {
        socket,
        scaling,
        store,
        cold,
        compile,
        languages,
        in_process,
    } = measured;
    head(page)?;
    if let Some((socket, machine)) = socket {
        calls(page, socket)?;
        place(page, machine)?;
    }
    if let Some((rows, machine)) = scaling {
        by_connections(page, rows)?;
        place(page, machine)?;
    }
    if let Some((store, machine)) = store {
        store::write(page, store)?;
        place(page, machine)?;
    }
    if let Some((cold, machine)) = cold {
        starts(page, cold)?;
        place(page, machine)?;
    }
    if let Some((compile, machine)) = compile {
        compilers(page, compile)?;
        place(page, machine)?;
    }
    if let Some((languages, machine)) = languages {
        languages::write(page, languages)?;
        place(page, machine)?;
    }
    if let Some((in_process, machine)) = in_process {
        parts(page, in_process)?;
        place(page, machine)?;
    }
    Ok(())
}

/// Writes the machine and the version that a section's figures come from.
fn place(page: &mut String, machine: &Machine) -> std::fmt::Result {
    let Machine {
        processor,
        cores,
        memory_gib,
        kernel,
        rustc,
        commit,
        profile,
    } = machine;
    writeln!(
        page,
        "\n*{processor}, {cores} cores, {memory_gib} GiB, {kernel}; {rustc}, profile `{profile}`, commit `{commit}`.*\n"
    )
}

fn head(page: &mut String) -> std::fmt::Result {
    writeln!(page, "# Benchmarks\n")?;
    writeln!(
        page,
        "Measured by `cargo xtask bench`, which wrote this page. What it needs beyond Rust and Python 3 is"
    )?;
    writeln!(
        page,
        "`redis-benchmark` (on Debian: `apt-get install redis-tools`). A part alone: `cargo xtask bench --only"
    )?;
    writeln!(
        page,
        "socket`, `scaling`, `store`, `cold`, `compile`, `languages` or `in-process`; `module` and `instructions` write"
    )?;
    writeln!(
        page,
        "`benchmarks-valkey.md`, and `upstream` writes `benchmarks-upstream.md`.\n"
    )?;
    writeln!(
        page,
        "Figures are medians; what stands in brackets is the lowest and the highest of the rounds. Contenders"
    )?;
    writeln!(
        page,
        "take turns within each round, and a ratio is taken round by round before its median. Servers, clients"
    )?;
    writeln!(
        page,
        "and everything else share the machine that stands below each section.\n"
    )
}

fn calls(page: &mut String, socket: &Socket) -> std::fmt::Result {
    writeln!(page, "## Calls through the socket\n")?;
    writeln!(
        page,
        "![Calls a second of functions in WebAssembly and in Lua](benchmarks.svg)\n"
    )?;
    writeln!(
        page,
        "Replies a second, beside the same functions in Lua (`FCALL`) in Valkey {}. Both servers keep nothing on disk",
        socket.valkey_version
    )?;
    writeln!(
        page,
        "in the tables *in memory*; in those *on disk*, both write every change and sync each second, which is the default"
    )?;
    writeln!(
        page,
        "of `ferrite-server` (Valkey with its append-only file). Load by one `redis-benchmark` with one thread, keys spread"
    )?;
    writeln!(
        page,
        "over ten thousand; nothing is bound to a processor. With pipelines, the load is often the bound: the last columns"
    )?;
    writeln!(
        page,
        "are the processor time that each server took for a request, in microseconds. `fresh` and `rewind` isolate each"
    )?;
    writeln!(
        page,
        "call, `reuse` serves many calls with one instance. The functions are in `benches/functions` and `examples`.\n"
    )?;
    for (durability, place) in [
        (Durability::Memory, "in memory"),
        (Durability::Everysec, "on disk"),
    ] {
        for (load, shape) in [
            ("50 connections, pipelines of 16", PIPELINED),
            ("50 connections, one request at a time", SINGLE),
        ] {
            let workloads = ["noop", "get_set", "rate_limit", "validate_user"];
            let title = format!("{load}, {place}");
            functions(page, socket, &title, shape, durability, &workloads)?;
        }
    }
    functions(
        page,
        socket,
        "One connection: the sum of the numbers up to a million",
        ALONE,
        Durability::Memory,
        &["sum"],
    )?;
    durable(page, socket)?;

    writeln!(page, "### Beside commands of the same server\n")?;
    writeln!(
        page,
        "| shape | `PING` | `GET` | no-op, isolation | no-op | of `PING` | `PING` in Valkey | `GET` in Valkey |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|---|")?;
    for (title, shape) in [("pipelines of 16", PIPELINED), ("one at a time", SINGLE)] {
        let of = |workload, contender| socket.rates(workload, contender, shape);
        let rate = |workload, contender| or_dash(of(workload, contender).map(rates));
        for isolation in ISOLATIONS {
            let Some((noop, ping)) = of("noop", isolation).zip(of("ping", "ferrite")) else {
                continue;
            };
            writeln!(
                page,
                "| {title} | {} | {} | {isolation} | {} | {} | {} | {} |",
                rates(ping),
                rate("get", "ferrite"),
                rates(noop),
                times(&noop.over(ping)),
                rate("ping", "valkey"),
                rate("get", "valkey"),
            )?;
        }
    }
    writeln!(page)
}

fn functions(
    page: &mut String,
    socket: &Socket,
    title: &str,
    shape: Shape,
    durability: Durability,
    workloads: &[&str],
) -> std::fmt::Result {
    writeln!(page, "### {title}\n")?;
    writeln!(
        page,
        "| function | isolation | wasm | Lua | ratio | wasm, µs | Lua, µs |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|")?;
    for workload in workloads {
        let lua = socket.row(durability, workload, "lua", shape);
        for isolation in ISOLATIONS {
            let Some(wasm) = socket.row(durability, workload, isolation, shape) else {
                continue;
            };
            writeln!(
                page,
                "| `{workload}` | {isolation} | {} | {} | {} | {} | {} |",
                rates(&wasm.rates),
                or_dash(lua.map(|lua| rates(&lua.rates))),
                or_dash(lua.map(|lua| times(&wasm.rates.over(&lua.rates)))),
                Short(wasm.processor.median()),
                or_dash(lua.map(|lua| Short(lua.processor.median()).to_string())),
            )?;
        }
    }
    writeln!(page)
}

/// Writes what durability costs each server: the rate on disk beside that in memory.
fn durable(page: &mut String, socket: &Socket) -> std::fmt::Result {
    writeln!(page, "### On disk, of in memory\n")?;
    writeln!(
        page,
        "The rate of each server on disk, in proportion to its own rate in memory in the same round; in the last two\n\
         columns, its processor time for a request, in the same way.\n"
    )?;
    writeln!(
        page,
        "| load | request | ferrite-server | Valkey | ferrite-server, time | Valkey, time |\n|---|---|---|---|---|---|"
    )?;
    for (title, shape) in [("pipelines of 16", PIPELINED), ("one at a time", SINGLE)] {
        for workload in WRITING {
            let (ours, theirs) = match *workload {
                "set" => ("ferrite", "valkey"),
                _ => ("rewind", "lua"),
            };
            let rows = [ours, theirs].map(|contender| {
                let row = |durability| socket.row(durability, workload, contender, shape);
                row(Durability::Everysec).zip(row(Durability::Memory))
            });
            let rate = rows.map(|rows| {
                or_dash(rows.map(|(disk, memory)| times(&disk.rates.over(&memory.rates))))
            });
            let time = rows.map(|rows| {
                or_dash(rows.map(|(disk, memory)| times(&disk.processor.over(&memory.processor))))
            });
            writeln!(
                page,
                "| {title} | `{workload}` | {} | {} | {} | {} |",
                rate[0], rate[1], time[0], time[1]
            )?;
        }
    }
    writeln!(page)
}

/// Writes the rates by connections and pipelines.
fn by_connections(page: &mut String, rows: &[scaling::Row]) -> std::fmt::Result {
    writeln!(page, "## By connections and pipelines\n")?;
    writeln!(
        page,
        "![Calls a second by connections and pipelines](benchmarks-scaling.svg)\n"
    )?;
    writeln!(
        page,
        "A `GET` and a `SET` in one function, in memory: replies a second of `rewind`, of Lua in Valkey, and the ratio;\nmedians of 3 rounds.\n"
    )?;
    let heads = scaling::CONNECTIONS
        .iter()
        .map(|connections| match connections {
            1 => "1 connection".to_owned(),
            _ => format!("{connections} connections"),
        });
    let heads: Vec<String> = heads.collect();
    writeln!(page, "| pipelines of | {} |", heads.join(" | "))?;
    writeln!(page, "|---|{}", "---|".repeat(heads.len()))?;
    for &pipeline in scaling::PIPELINES {
        let cells = scaling::CONNECTIONS.iter().map(|&connections| {
            let shape = Shape {
                connections,
                pipeline,
            };
            let [wasm, lua] =
                scaling::CONTENDERS.map(|contender| scaling::rates(rows, contender, shape));
            or_dash(wasm.zip(lua).map(|(wasm, lua)| {
                let ratio = wasm.over(lua).median();
                let (wasm, lua) = (Rate(wasm.median()), Rate(lua.median()));
                format!("{wasm}, {lua}: {ratio:.2} ×")
            }))
        });
        let cells: Vec<String> = cells.collect();
        writeln!(page, "| {pipeline} | {} |", cells.join(" | "))?;
    }
    writeln!(page)
}

fn starts(page: &mut String, cold: &Cold) -> std::fmt::Result {
    writeln!(page, "## Cold starts and memory\n")?;
    writeln!(
        page,
        "Functions are loaded by the digest of their source; their artifacts are in the cache on disk, and in the"
    )?;
    writeln!(
        page,
        "system's page cache. No function is loaded twice. `WASM.LOAD` answers once the registry is on the disk; a"
    )?;
    writeln!(
        page,
        "function that the registry remembered when the server started is loaded by its first call, which is in"
    )?;
    writeln!(
        page,
        "the last columns. The times are those of a client on the same machine.\n"
    )?;
    writeln!(page, "| what | median | spread |")?;
    writeln!(page, "|---|---|---|")?;
    let row = |page: &mut String, what: &str, figures: &Figures| {
        writeln!(
            page,
            "| {what} | {} ms | {}–{} ms |",
            Short(figures.median()),
            Short(figures.low()),
            Short(figures.high())
        )
    };
    row(page, "process start → first connection", &cold.up)?;
    row(
        page,
        "process start → first reply of a cached function",
        &cold.first_reply,
    )?;
    writeln!(
        page,
        "\n| artifact | functions | `WASM.LOAD` | first `WASM.CALL` | both | both, p99 | first call, remembered | its p99 |"
    )?;
    writeln!(page, "|---|---|---|---|---|---|---|---|")?;
    for loads in &cold.loads {
        let milliseconds = |figures: &Figures| format!("{} ms", Short(figures.median()));
        let p99 = |figures: &Figures| format!("{} ms", Short(figures.quantile(0.99)));
        let (load, call) = (milliseconds(&loads.load), milliseconds(&loads.call));
        let (both, both_p99) = (milliseconds(&loads.both), p99(&loads.both));
        let (remembered, remembered_p99) =
            (milliseconds(&loads.remembered), p99(&loads.remembered));
        writeln!(
            page,
            "| {} | {} | {load} | {call} | {both} | {both_p99} | {remembered} | {remembered_p99} |",
            artifact(loads),
            loads.load.count()
        )?;
    }
    writeln!(page, "\n| what | size |\n|---|---|")?;
    writeln!(
        page,
        "| memory of the idle server | {:.1} MB |",
        cold.idle_kib as f64 * 1024.0 / 1e6
    )?;
    writeln!(
        page,
        "| memory that one more small function adds, loaded and called once | {:.0} KB |",
        cold.function_kib * 1.024
    )?;
    writeln!(
        page,
        "| the lean binary | {:.1} MB |\n",
        cold.binary_bytes as f64 / 1e6
    )
}

/// Describes an artifact by its size, and by the example's name unless it was generated.
fn artifact(loads: &Loads) -> String {
    let size = kilobytes(loads.artifact_bytes);
    if Size::ALL.iter().any(|one| one.name() == loads.size) {
        size
    } else {
        format!("{size}, the example `{}`", loads.size)
    }
}

fn kilobytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn compilers(page: &mut String, compile: &Compile) -> std::fmt::Result {
    writeln!(page, "## Compiling\n")?;
    if !compile.rows.is_empty() {
        whole_processes(page, compile)?;
    }
    within_one_process(page, &compile.within)
}

fn whole_processes(page: &mut String, compile: &Compile) -> std::fmt::Result {
    writeln!(
        page,
        "Whole processes, in milliseconds: `ferrite-wasmc compile` into a cache without it, again with the artifact in"
    )?;
    writeln!(
        page,
        "the cache, and the same version of wasmtime alone with the same settings, which does not count fuel.\n"
    )?;
    writeln!(
        page,
        "| module | source | compile | cached | wasmtime | ratio |\n|---|---|---|---|---|---|"
    )?;
    for row in &compile.rows {
        let [ours, cached, theirs] = [&row.ours, &row.cached, &row.wasmtimes].map(spread);
        writeln!(
            page,
            "| {} | {} | {ours} | {cached} | {theirs} | {} |",
            row.module,
            kilobytes(row.source_bytes),
            times(&row.ours.over(&row.wasmtimes))
        )?;
    }
    writeln!(page)
}

fn within_one_process(page: &mut String, within: &[Within]) -> std::fmt::Result {
    writeln!(page, "### Within one process\n")?;
    writeln!(
        page,
        "All steps from a module to its artifact, and wasmtime's compilation alone with the same settings, in turn: in\n\
         milliseconds by the clock, and of all processors. The ratio is that of processor time, by turn; before it stands\n\
         that of wasmtime alone for the module with the meter in it, which is the meter's part of the difference. A start\n\
         is not run, and a program in JavaScript is evaluated before: it is measured with its engine."
    )?;
    let ratios: Vec<Figures> = within.iter().map(Within::ratio).collect();
    let all: Figures = ratios.iter().map(Figures::median).collect();
    writeln!(
        page,
        "\nThe median of the ratios is {:.2}, the highest {:.2}.\n",
        all.median(),
        all.high()
    )?;
    writeln!(
        page,
        "| module | size | compile | wasmtime | compile, processors | wasmtime, processors | wasmtime, with the meter | ratio |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    for (row, ratio) in within.iter().zip(&ratios) {
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
            row.module,
            kilobytes(row.bytes),
            Short(row.ours.median()),
            Short(row.wasmtimes.median()),
            spread(&row.ours_processor),
            spread(&row.wasmtimes_processor),
            times(&row.metered_processor.over(&row.wasmtimes_processor)),
            times(ratio)
        )?;
    }
    writeln!(page)
}

fn parts(page: &mut String, in_process: &InProcess) -> std::fmt::Result {
    writeln!(page, "## In-process\n")?;
    writeln!(
        page,
        "By criterion: `cargo bench -p ferrite-benches`. The interval is criterion's, with 95 % confidence.\n\
         The rows of Extism are its calls in `benches/extism`; `step/` is wasmtime alone, with its pool of instances.\n"
    )?;
    writeln!(page, "| benchmark | median | interval |\n|---|---|---|")?;
    for row in &in_process.rows {
        let [median, low, high] = [row.nanoseconds, row.low, row.high].map(duration);
        writeln!(page, "| `{}` | {median} | {low}–{high} |", row.name)?;
    }
    Ok(())
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{} ns", Short(n)),
        n if n < 1e6 => format!("{} µs", Short(n / 1e3)),
        n if n < 1e9 => format!("{} ms", Short(n / 1e6)),
        n => format!("{} s", Short(n / 1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_size() {
        assert_eq!(
            [15.0, 2_500.0, 150e6, 2.1e9].map(duration),
            ["15.0 ns", "2.50 µs", "150 ms", "2.10 s"]
        );
        assert_eq!([17_536, 4_649_104].map(kilobytes), ["18 KB", "4.6 MB"]);
    }
}
