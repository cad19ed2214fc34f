//! Goes through a map of the engine, which a second thread reads if there is much in it.

use std::sync::mpsc::{SyncSender, sync_channel};

use fjall::{Guard, Iter, Keyspace, UserKey, UserValue};

/// Records that the threads hand over together; a map with no more is read by one thread.
const CHUNK_LEN: usize = 1024;

/// Chunks that wait at most.
const CHUNKS_MAX: usize = 8;

type Record = fjall::Result<(UserKey, UserValue)>;

/// Gives `take` each record of a map, in the order of their keys, until it fails.
///
/// # Errors
///
/// The error of `take`, to which `engine` turns an error of the engine.
pub(super) fn each_record<E>(
    map: &Keyspace,
    engine: impl Fn(fjall::Error) -> E,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut take_all = |records: Vec<Record>| {
        records.into_iter().try_for_each(|record| {
            let (key, value) = record.map_err(&engine)?;
            take(&key, &value)
        })
    };
    let mut records = map.iter();
    let first = chunk(&mut records);
    let is_all = first.len() < CHUNK_LEN;
    take_all(first)?;
    if is_all {
        return Ok(());
    }
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(CHUNKS_MAX);
        let reader = std::thread::Builder::new()
            .name("store-reader".to_owned())
            .spawn_scoped(scope, move || send_all(records, &sender));
        if reader.is_err() {
            // There is no further thread to be had.
            let mut rest = map.iter().skip(CHUNK_LEN).map(Guard::into_inner);
            return rest.try_for_each(|record| take_all(vec![record]));
        }
        // Once this returns, the receiver is gone and the thread ends with its next chunk.
        receiver.into_iter().try_for_each(take_all)
    })
}

fn send_all(mut records: Iter, sender: &SyncSender<Vec<Record>>) {
    loop {
        let records = chunk(&mut records);
        if records.is_empty() || sender.send(records).is_err() {
            return;
        }
    }
}

/// Reads the next records; none at the end.
fn chunk(records: &mut Iter) -> Vec<Record> {
    let records = records.take(CHUNK_LEN);
    records.map(Guard::into_inner).collect()
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::{CHUNK_LEN, CHUNKS_MAX, each_record};

    #[test]
    fn records_come_in_order_until_one_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = Disk::open(folder.path()).expect("an empty folder");
        let most = (2 * CHUNKS_MAX * CHUNK_LEN) as u64;
        let mut count = 0;
        for len in [0, 1, CHUNK_LEN as u64 - 1, CHUNK_LEN as u64, most] {
            while count < len {
                let number: u64 = count;
                let written = disk.keys.insert(number.to_be_bytes(), number.to_le_bytes());
                written.expect("written");
                count += 1;
            }
            let read = |end: u64| {
                let mut next: u64 = 0;
                let result = each_record(
                    &disk.keys,
                    |error| error.to_string(),
                    |key, value| {
                        assert_eq!(key, next.to_be_bytes());
                        assert_eq!(value, next.to_le_bytes());
                        if next == end {
                            return Err("refused".to_owned());
                        }
                        next += 1;
                        Ok(())
                    },
                );
                (result, next)
            };
            assert_eq!(read(u64::MAX), (Ok(()), len));
            for end in [0, len / 2].into_iter().filter(|end| *end < len) {
                assert_eq!(read(end), (Err("refused".to_owned()), end));
            }
        }
    }
}
