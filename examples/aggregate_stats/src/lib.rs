//! Adds up the counters of many days: pages through the keys with SCAN and reads a hash for each.

use std::collections::BTreeMap;

use ferrite_wasm_sdk::*;

/// Number of keys that one SCAN looks at.
const PAGE: usize = 1000;

/// The sums, by counter, over all hashes whose key matches `pattern` and ends in a date of the range.
///
/// Keys look like `stats:2024-01-15`; both ends of the range belong to it.
///
/// # Errors
///
/// `BADSTAT` where a counter is no integer or a sum becomes too large.
#[ferrite_function]
pub fn aggregate_stats(
    pattern: &str,
    start_date: &str,
    end_date: &str,
) -> Result<BTreeMap<String, i64>, Error> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for key in matching(pattern)? {
        let date = key.rsplit(':').next().unwrap_or_default();
        if date < start_date || date > end_date {
            continue;
        }
        let counters: BTreeMap<String, String> = ferrite::hgetall(&key)?;
        for (name, count) in counters {
            let count: i64 = count
                .parse()
                .map_err(|_| Error::new(format!("BADSTAT {key} {name} is not an integer")))?;
            let sum = sums.entry(name.clone()).or_default();
            *sum = sum
                .checked_add(count)
                .ok_or_else(|| Error::new(format!("BADSTAT {name} is too large to add up")))?;
        }
    }
    Ok(sums)
}

/// All keys that match, each once, in order.
fn matching(pattern: &str) -> Result<Vec<String>, Error> {
    let mut keys = Vec::new();
    let mut cursor = String::from("0");
    loop {
        let page: Vec<String>;
        (cursor, page) = ferrite::call("SCAN", (&cursor, "MATCH", pattern, "COUNT", PAGE))?;
        keys.extend(page);
        if cursor == "0" {
            break;
        }
    }
    // SCAN may give a key twice.
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use ferrite_wasm_sdk::entry;

    #[test]
    fn the_cases_hold() {
        example_cases::run_on_mock(
            &example_cases::of("aggregate_stats"),
            entry!(super::aggregate_stats),
        );
    }
}
