//! Adds up the counters of many days: goes through the keys, page by page, and reads a hash for each. In
//! a cluster every node does that for its own keys, and `merge_stats` adds their sums up.
//!
//! The memory that it needs does not grow with the number of keys, so it keeps no names. A key that the
//! scan gives twice counts twice; that happens to a few while the server makes its table of keys smaller.

use std::collections::BTreeMap;

use ferrite_wasm_sdk::*;

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
    for key in ferrite::scan_keys::<String>(pattern) {
        let key = key?;
        let date = key.rsplit(':').next().unwrap_or_default();
        if date < start_date || date > end_date {
            continue;
        }
        let counters: BTreeMap<String, String> = ferrite::hgetall(&key)?;
        for (name, count) in counters {
            let count: i64 = count
                .parse()
                .map_err(|_| Error::new(format!("BADSTAT {key} {name} is not an integer")))?;
            add(&mut sums, &name, count)?;
        }
    }
    Ok(sums)
}

/// The sums of the sums of several nodes, for a cluster:
/// `WASM.CALLALL aggregate_stats REDUCE merge_stats ARGS stats:* 2024-01-01 2024-01-31`.
///
/// # Errors
///
/// `BADSTAT` where a sum becomes too large.
#[ferrite_function]
pub fn merge_stats(nodes: Vec<&[u8]>) -> Result<BTreeMap<String, i64>, Error> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for node in nodes {
        let of_node: BTreeMap<String, i64> = ferrite::node_reply(node)?;
        for (name, count) in of_node {
            add(&mut sums, &name, count)?;
        }
    }
    Ok(sums)
}

fn add(sums: &mut BTreeMap<String, i64>, name: &str, count: i64) -> Result<(), Error> {
    // Few of many have a name of their own, so it is copied only then.
    let Some(sum) = sums.get_mut(name) else {
        sums.insert(name.to_owned(), count);
        return Ok(());
    };
    *sum = sum
        .checked_add(count)
        .ok_or_else(|| Error::new(format!("BADSTAT {name} is too large to add up")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use ferrite_wasm_sdk::{Value, entry, mock};

    #[test]
    fn the_sums_of_nodes_are_added_up() {
        let store = mock::Store::new();
        let nodes = [
            &b"*4\r\n$4\r\nhits\r\n:7\r\n$6\r\nerrors\r\n:1\r\n"[..],
            b"*0\r\n",
            b"*2\r\n$4\r\nhits\r\n:5\r\n",
        ];
        let none: [&[u8]; 0] = [];
        let reply = store.call(entry!(super::merge_stats), none, nodes);
        let pair = |name: &str, sum| (Value::from(name), Value::Int(sum));
        assert_eq!(reply, Value::Map(vec![pair("errors", 1), pair("hits", 12)]));
    }

    #[test]
    fn the_cases_hold() {
        example_cases::run_on_mock(
            &example_cases::of("aggregate_stats"),
            entry!(super::aggregate_stats),
        );
    }
}
