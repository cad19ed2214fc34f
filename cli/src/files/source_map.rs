//! Reads source maps, of version 3, into the table of positions that the JavaScript engine looks errors up in.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | number of sources |
//! | | the name of each source, and a zero byte |
//! | 0 to 3 | padding to a multiple of 4 |
//! | 4 | number of positions |
//! | 20 each | line and column in the program, index of the source, line and column there; sorted |
//!
//! Numbers are little-endian; lines and columns count from 1. The engine only reads the table after an
//! error, but it is kept in every instance, so packages get one position a line.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Most positions that are kept.
const POSITIONS_MAX: usize = 100_000;

/// The fields of a source map that are used.
#[derive(Deserialize)]
struct SourceMap {
    version: u32,
    sources: Vec<Option<String>>,
    mappings: String,
}

/// Returns the table of positions of a source map.
///
/// # Errors
///
/// Fails if it is no source map of version 3, or damaged.
pub(crate) fn positions(map: &[u8]) -> Result<Vec<u8>> {
    let map: SourceMap = serde_json::from_slice(map)?;
    if map.version != 3 {
        bail!("it has version {}, not 3", map.version);
    }
    let names: Vec<&str> = map
        .sources
        .iter()
        .map(|name| plain(name.as_deref().unwrap_or("?")))
        .collect();
    let mut table = u32::try_from(names.len())?.to_le_bytes().to_vec();
    for name in &names {
        table.extend(name.bytes().filter(|&byte| byte != 0));
        table.push(0);
    }
    table.resize(table.len().next_multiple_of(4), 0);
    let mut found = Vec::new();
    // Of these five numbers, all but the column in the program run on from line to line.
    let (mut source, mut source_line, mut source_column) = (0i64, 0i64, 0i64);
    for (line, segments) in (1u32..).zip(map.mappings.split(';')) {
        let mut column = 0i64;
        let mut last_of_package = None;
        for segment in segments.split(',').filter(|segment| !segment.is_empty()) {
            let fields = numbers(segment).context("its mappings are damaged")?;
            column += fields.first().context("its mappings are damaged")?;
            let [_, source_by, line_by, column_by, ..] = fields[..] else {
                continue;
            };
            source += source_by;
            source_line += line_by;
            source_column += column_by;
            let name = usize::try_from(source)
                .ok()
                .and_then(|index| names.get(index))
                .context("its mappings name a source that it does not have")?;
            if name.contains("node_modules/") && last_of_package.replace(source) == Some(source) {
                continue;
            }
            let number = |value: i64| u32::try_from(value).context("its mappings are damaged");
            if found.len() < POSITIONS_MAX {
                found.push([
                    line,
                    number(column + 1)?,
                    number(source)?,
                    number(source_line + 1)?,
                    number(source_column + 1)?,
                ]);
            }
        }
    }
    found.sort_unstable();
    table.extend_from_slice(&u32::try_from(found.len())?.to_le_bytes());
    table.extend(
        found
            .iter()
            .flatten()
            .flat_map(|number| number.to_le_bytes()),
    );
    Ok(table)
}

/// Removes the steps up to the project's folder from a source's name.
fn plain(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("../").or_else(|| name.strip_prefix("./")) {
        name = rest;
    }
    name
}

/// Reads the numbers of one segment: digits in base 64 of 5 bits each, the lowest first, with the sign in
/// the lowest bit.
fn numbers(segment: &str) -> Option<Vec<i64>> {
    let mut all = Vec::with_capacity(5);
    let (mut value, mut shift) = (0i64, 0);
    for byte in segment.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        if shift > 30 {
            return None;
        }
        value |= i64::from(digit & 31) << shift;
        shift += 5;
        if digit & 32 == 0 {
            let half = value >> 1;
            all.push(if value & 1 == 1 { -half } else { half });
            (value, shift) = (0, 0);
        }
    }
    (shift == 0).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::{numbers, positions};

    /// Reads a table back: the names, and the positions with the index of their name.
    fn read(table: &[u8]) -> (Vec<String>, Vec<Vec<u32>>) {
        let word = |at: usize| u32::from_le_bytes(table[at..at + 4].try_into().expect("4 bytes"));
        let mut at = 4;
        let mut names = Vec::new();
        for _ in 0..word(0) {
            let end = at
                + table[at..]
                    .iter()
                    .position(|&byte| byte == 0)
                    .expect("an end");
            names.push(String::from_utf8(table[at..end].to_vec()).expect("text"));
            at = end + 1;
        }
        let at = at.next_multiple_of(4);
        let found = (0..word(at) as usize)
            .map(|index| {
                (0..5)
                    .map(|field| word(at + 4 + index * 20 + field * 4))
                    .collect()
            })
            .collect();
        (names, found)
    }

    #[test]
    fn numbers_are_read_in_base_64() {
        assert_eq!(numbers("AAAA"), Some(vec![0, 0, 0, 0]));
        assert_eq!(numbers("gB"), Some(vec![16]));
        assert_eq!(numbers("DF"), Some(vec![-1, -2]));
        for damaged in ["g", "!", "gggggggg"] {
            assert_eq!(numbers(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn own_sources_keep_every_position_and_packages_one_a_line() {
        let map = br#"{"version":3,"sources":["../src/index.ts","../node_modules/a/b.js"],
            "mappings":"AAAA,IAEE;ACAA,CAAC"}"#;
        let (names, found) = read(&positions(map).expect("it is right"));
        assert_eq!(names, ["src/index.ts", "node_modules/a/b.js"]);
        assert_eq!(
            found,
            [
                vec![1, 1, 0, 1, 1],
                vec![1, 5, 0, 3, 3],
                vec![2, 1, 1, 3, 3],
            ]
        );
    }

    #[test]
    fn what_is_no_source_map_is_refused() {
        for map in [
            &b"{}"[..],
            br#"{"version":2,"sources":[],"mappings":""}"#,
            br#"{"version":3,"sources":[],"mappings":"AAAA"}"#,
            br#"{"version":3,"sources":["a"],"mappings":"ADAA"}"#,
            br#"{"version":3,"sources":["a"],"mappings":"A?"}"#,
        ] {
            assert!(positions(map).is_err(), "{}", map.escape_ascii());
        }
    }
}
