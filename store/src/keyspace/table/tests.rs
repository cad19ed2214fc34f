//! Tests of tables: growth, shrinking, scans and deadlines.

use super::*;
use crate::value::Value;

/// Keys of one shard only, as a table has them.
fn keys() -> impl Iterator<Item = (u64, Blob)> {
    (0_u64..)
        .map(|i| Blob::new(&i.to_le_bytes()))
        .map(|key| (hash(&key), key))
        .filter(|(hash, _)| hash >> (64 - SHARD_BITS) == 3)
}

fn entry(key: &Blob, version: u64) -> Entry {
    Entry {
        key: key.clone(),
        value: Value::text(b"v"),
        deadline: Deadline::NEVER,
        version,
    }
}

#[test]
fn an_entry_is_one_cache_line() {
    assert_eq!(size_of::<Entry>(), 64);
}

fn mortal(key: &Blob, deadline: i64) -> Entry {
    Entry {
        deadline: Deadline::at(deadline),
        ..entry(key, 0)
    }
}

/// Removes everything that has passed, a few keys at a time; returns their number.
fn remove_passed(table: &mut Table, now: i64) -> usize {
    let mut removed = 0;
    loop {
        let mut passed = Vec::new();
        table.passed(now, 10, &mut passed);
        if passed.is_empty() {
            return removed;
        }
        assert!(passed.len() <= 10);
        for key in passed {
            let gone = table.remove(hash(&key), &key);
            assert!(gone.is_some_and(|entry| entry.deadline.has_passed(now)));
            removed += 1;
        }
    }
}

#[test]
fn what_has_expired_is_found_whatever_happened_to_the_deadlines() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut table = Table::default();
    let mut model = std::collections::HashMap::new();
    let keys: Vec<(u64, Blob)> = keys().take(6_000).collect();
    for now in 0..60 {
        for _ in 0..600 {
            let (hash, key) = &keys[random.usize(..keys.len())];
            let deadline = match random.u32(..4) {
                0 => Deadline::NEVER,
                _ => Deadline::at(now + random.i64(..40)),
            };
            if random.u32(..8) == 0 {
                table.remove(*hash, key);
                model.remove(key);
            } else if let Some(place) = table.find(*hash, key) {
                let entry = table.at_mut(place).expect("it was just found");
                let old = std::mem::replace(&mut entry.deadline, deadline);
                table.deadline_changed(*hash, old, deadline);
                model.insert(key.clone(), deadline);
            } else {
                let mut entry = entry(key, 0);
                entry.deadline = deadline;
                table.insert(*hash, entry);
                model.insert(key.clone(), deadline);
            }
        }
        let before = model.len();
        model.retain(|_, deadline| !deadline.has_passed(now));
        assert_eq!(remove_passed(&mut table, now), before - model.len());
        assert_eq!(table.len(), model.len());
        assert!(!table.is_due(now));
    }
}

#[test]
fn one_key_that_has_expired_costs_a_look_at_its_segment() {
    let mut table = Table::default();
    for (deadline, (hash, key)) in keys().take(20_000).enumerate() {
        table.insert(hash, mortal(&key, 1_000 + deadline as i64));
    }
    let segments = table.segments.len();
    steps::take();
    assert!(!table.is_due(1_000));
    assert_eq!(remove_passed(&mut table, 1_000), 0);
    assert_eq!(remove_passed(&mut table, 1_001), 1);
    let few = steps::take();
    assert!(few < 4 * 840, "{few} steps in {segments} segments");
}

#[test]
fn the_only_live_key_is_found_among_expired_ones_without_a_look_at_them() {
    let mut table = Table::default();
    let mut keys = keys();
    for (hash, key) in keys.by_ref().take(20_000) {
        table.insert(hash, mortal(&key, 10));
    }
    let (hash, key) = keys.next().expect("keys without end");
    table.insert(hash, entry(&key, 7));
    for round in 0..50 {
        steps::take();
        let live = table.live(11, fastrand::u64(..) >> SHARD_BITS, fastrand::u64(..));
        assert_eq!(live.map(|entry| entry.version), Some(7), "round {round}");
        assert!(steps::take() < 2 * 840);
    }
    table.remove(hash, &key);
    assert!(table.live(11, 0, 0).is_none());
    steps::take();
    assert!(table.live(11, 0, 0).is_none());
    assert_eq!(steps::take(), 0, "its segment is known to be dead now");
}

#[test]
fn every_key_is_found_after_many_splits_and_removals() {
    let mut table = Table::default();
    for (version, (hash, key)) in keys().take(20_000).enumerate() {
        table.insert(hash, entry(&key, version as u64));
    }
    assert_eq!(table.len(), 20_000);
    assert!(table.segments.len() > 20);
    for (version, (hash, key)) in keys().take(20_000).enumerate() {
        assert_eq!(
            table.get(hash, &key).map(|entry| entry.version),
            Some(version as u64)
        );
        if version % 3 > 0 {
            assert!(table.remove(hash, &key).is_some());
            assert!(table.get(hash, &key).is_none());
        }
    }
    assert_eq!(table.len(), table.iter().count());
}

/// Room for entries in all segments.
fn capacity(table: &Table) -> usize {
    let room = |segment: &Segment| segment.entries.capacity();
    table.segments.iter().map(room).sum()
}

#[test]
fn a_table_that_empties_gives_its_room_back() {
    let mut table = Table::default();
    let keys: Vec<(u64, Blob)> = keys().take(60_000).collect();
    for (at, (hash, key)) in keys.iter().enumerate() {
        table.insert(*hash, mortal(key, at as i64));
    }
    let (full, segments) = (capacity(&table), table.segments.len());
    assert!(segments > 60, "{segments}");
    // Every hundredth key stays.
    for (at, (hash, key)) in keys.iter().enumerate() {
        if at % 100 > 0 {
            assert!(table.remove(*hash, key).is_some());
        }
    }
    let left = capacity(&table);
    assert!(left < full / 25, "{left} of {full}");
    let used = table.segments.len() - table.free.len();
    assert!(used <= segments / 5, "{used} of {segments}");
    for (at, (hash, key)) in keys.iter().enumerate() {
        let found = table.get(*hash, key).map(|entry| entry.deadline);
        let expected = (at % 100 == 0).then(|| Deadline::at(at as i64));
        assert_eq!(found, expected);
    }
    // It grows again, into the segments that are free.
    for (at, (hash, key)) in keys.iter().enumerate() {
        if at % 100 > 0 {
            table.insert(*hash, mortal(key, at as i64));
        }
    }
    assert!(table.segments.len() < segments * 5 / 4);
    assert_eq!(remove_passed(&mut table, 60_000), 60_000);
    assert_eq!((capacity(&table), table.segments.len()), (0, 0));
    assert_eq!(table.directory.capacity(), 0);
    assert_eq!(table.expiring(), Expiring::default());
    table.insert(keys[0].0, entry(&keys[0].1, 1));
    assert_eq!(table.len(), 1);
}

#[test]
fn a_scan_visits_each_entry_once_while_the_table_shrinks() {
    let mut table = Table::default();
    let keys: Vec<(u64, Blob)> = keys().take(20_000).collect();
    for (at, (hash, key)) in keys.iter().enumerate() {
        table.insert(*hash, entry(key, u64::from(at % 50 == 0)));
    }
    let mut removed = keys.iter().enumerate().filter(|(at, _)| at % 50 > 0);
    let mut seen = Vec::new();
    let mut cursor = Some(3 << (64 - SHARD_BITS));
    while let Some(from) = cursor {
        let mut count = 10;
        cursor = table.scan(from, &mut count, |entry| {
            if entry.version == 1 {
                seen.push(entry.key.clone());
            }
        });
        for (_, (hash, key)) in removed.by_ref().take(200) {
            table.remove(*hash, key);
        }
    }
    let mut expected: Vec<Blob> = keys
        .iter()
        .step_by(50)
        .map(|(_, key)| key.clone())
        .collect();
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
    assert!(table.free.len() > 20, "{}", table.free.len());
}

#[test]
fn a_scan_visits_each_entry_once_while_the_table_grows() {
    let mut table = Table::default();
    let mut keys = keys();
    let mut expected = Vec::new();
    for (hash, key) in keys.by_ref().take(3_000) {
        expected.push(key.clone());
        table.insert(hash, entry(&key, 0));
    }
    let mut seen = Vec::new();
    let mut cursor = Some(3 << (64 - SHARD_BITS));
    while let Some(from) = cursor {
        let mut count = 10;
        cursor = table.scan(from, &mut count, |entry| {
            if entry.version == 0 {
                seen.push(entry.key.clone());
            }
        });
        for (hash, key) in keys.by_ref().take(20) {
            table.insert(hash, entry(&key, 1));
        }
    }
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
}
