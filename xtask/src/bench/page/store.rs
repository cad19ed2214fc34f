//! The section of the page on the embedded store.

use std::fmt::Write as _;

use crate::bench::figures::cells::{rates, times};
use crate::bench::figures::{Figures, Short};
use crate::bench::store::{Store, endless};

/// Writes the section.
pub(super) fn write(page: &mut String, store: &Store) -> std::fmt::Result {
    writeln!(page, "## The embedded store\n")?;
    writeln!(
        page,
        "`redis-benchmark -t TEST -c 50 -P 16`, requests a second, beside Valkey {}. Both write to disk and sync",
        store.valkey_version
    )?;
    writeln!(page, "each second.\n")?;
    writeln!(
        page,
        "| test | ferrite-server | Valkey | ratio |\n|---|---|---|---|"
    )?;
    for row in &store.rows {
        writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            row.test.to_uppercase(),
            rates(&row.ferrite),
            rates(&row.valkey),
            times(&row.ferrite.over(&row.valkey))
        )?;
    }
    writeln!(
        page,
        "\n`GET` on 10 connections, one request at a time, while nothing else happens and while {} calls of a",
        endless::CALLS
    )?;
    writeln!(page, "function that never ends share the machine:\n")?;
    writeln!(page, "| server | p50 | p99 |\n|---|---|---|")?;
    let milliseconds = |figures: &Figures| {
        format!(
            "{} ms ({}–{})",
            Short(figures.median()),
            Short(figures.low()),
            Short(figures.high())
        )
    };
    for (name, latencies) in [("idle", &store.endless.idle), ("busy", &store.endless.busy)] {
        let (p50, p99) = (milliseconds(&latencies.p50), milliseconds(&latencies.p99));
        writeln!(page, "| {name} | {p50} | {p99} |")?;
    }
    writeln!(
        page,
        "\nHow soon one more endless call is over beside those, milliseconds of {} each, on the client's clock:\n",
        store.endless.killed.count()
    )?;
    writeln!(
        page,
        "| ended by | median | p99 | most |\n|---|---|---|---|"
    )?;
    for (how, figures) in [
        ("`WASM.KILL`", &store.endless.killed),
        (
            "`TIMEOUT`, past the time asked for",
            &store.endless.timed_out,
        ),
        ("its client's departure", &store.endless.departed),
    ] {
        writeln!(
            page,
            "| {how} | {} | {} | {} |",
            Short(figures.median()),
            Short(figures.quantile(0.99)),
            Short(figures.high())
        )?;
    }
    writeln!(
        page,
        "\nA restart with a million keys of 16 bytes and values of 16 bytes, until all of them are there:\n"
    )?;
    writeln!(page, "| server | time | memory |\n|---|---|---|")?;
    for (name, many) in [
        ("ferrite-server", &store.ferrite),
        ("Valkey", &store.valkey),
    ] {
        writeln!(
            page,
            "| {name} | {} | {:.0} MB |",
            milliseconds(&many.start),
            many.resident_kib as f64 * 1024.0 / 1e6
        )?;
    }
    writeln!(page)
}
