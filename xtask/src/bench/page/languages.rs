//! The section of the page on the languages.

use std::fmt::Write as _;

use super::duration;
use crate::bench::figures::cells::{or_dash, rates, times};
use crate::bench::languages::{LUA, Languages, SHARED};

/// The functions in one process: their names, and what the table calls them.
const ENTRIES: [(&str, &str); 3] = [
    ("nothing", "no-op"),
    ("get_set", "`GET` and `SET`"),
    ("json", "JSON of 2.3 KB"),
];

/// Writes the section.
pub(super) fn write(page: &mut String, languages: &Languages) -> std::fmt::Result {
    writeln!(page, "## Languages\n")?;
    writeln!(
        page,
        "The same functions in every language, isolated by `rewind`: replies a second on 50 connections with pipelines of\n\
         16, beside Lua in Valkey {}. Neither server keeps anything on disk.\n",
        languages.valkey_version
    )?;
    writeln!(
        page,
        "| function | language | replies a second | of Lua |\n|---|---|---|---|"
    )?;
    for workload in SHARED {
        let lua = languages.rates(workload, LUA);
        for language in languages.languages() {
            let Some(found) = languages.rates(workload, language) else {
                continue;
            };
            writeln!(
                page,
                "| `{workload}` | {language} | {} | {} |",
                rates(found),
                or_dash(lua.map(|lua| times(&found.over(lua))))
            )?;
        }
        writeln!(
            page,
            "| `{workload}` | Lua | {} | |",
            or_dash(lua.map(rates))
        )?;
    }
    writeln!(
        page,
        "\nOne call in one process (the functions of `benches/functions/languages`; the shortest, and the median, by criterion):\n"
    )?;
    let heads = ENTRIES.map(|(_, title)| title).join(" | ");
    writeln!(
        page,
        "| language | isolation | {heads} |\n|---|---|---|---|---|"
    )?;
    for (language, title) in [("javascript", "JavaScript"), ("python", "Python")] {
        for isolation in ["rewind", "fresh", "reuse"] {
            let cell =
                |(entry, _)| {
                    let call = languages.call(language, entry, isolation);
                    or_dash(call.map(|call| {
                        format!("{}, {}", duration(call.minimum), duration(call.median))
                    }))
                };
            let cells = ENTRIES.map(cell).join(" | ");
            writeln!(page, "| {title} | {isolation} | {cells} |")?;
        }
    }
    Ok(())
}
