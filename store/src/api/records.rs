//! Records that the host keeps beside the data of its clients.

use ferrite_protocol::record::Record;

use crate::api::store::Store;
use crate::keyspace::records::RecordChange;
use crate::transaction::Transaction;
use crate::value::blob::Blob;

impl Store {
    /// Returns the value of a record; `None` if there is no such record.
    ///
    /// Records are for the host alone: queues, schedules and the like. No command reaches them, not
    /// even `FLUSHALL`. They are durable and backed up like keys. Names begin with the name of their
    /// user and a slash, such as `outbox/`, and are in the order of their bytes. A [`Transaction`]
    /// changes records together with its keys.
    pub fn record(&self, name: &[u8]) -> Option<Box<[u8]>> {
        let records = self.core.records.lock();
        records.get(name).map(|value| value.as_slice().into())
    }

    /// Returns at most `count` records whose names begin with `prefix` and come after `after`, in the
    /// order of names. An empty `after` begins at the first.
    pub fn records_after(&self, prefix: &[u8], after: &[u8], count: usize) -> Vec<Record> {
        let records = self.core.records.lock();
        records
            .after(prefix, after)
            .take(count)
            .map(|(name, value)| (name.into(), value.as_slice().into()))
            .collect()
    }
}

impl Transaction {
    /// Lets the commit fail if there is no record of this name then, so that nothing is put in the place of one
    /// that was removed meanwhile.
    pub fn require_record(&mut self, name: &[u8]) {
        self.required_records.push(Blob::new(name));
    }

    /// Sets a record, or removes it if there is no value, when the transaction commits.
    ///
    /// The transaction itself does not see the change. Two transactions that change the same record do
    /// not conflict: the later commit counts.
    pub fn change_record(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.written_bytes += name.len() + value.map_or(0, <[u8]>::len);
        self.records.push(RecordChange {
            name: Blob::new(name),
            value: value.map(Blob::new),
        });
    }
}
