//! The records of requests, where a host keeps them.

use std::future::Future;
use std::ops::ControlFlow;

use ferrite_protocol::keyspace::Keyspace;

use crate::call::request::ReceiptOf;
use crate::error::CallError;
use crate::service::Runtime;

/// A change of a record: its name, and its value unless it is removed.
pub type RecordChange = (Vec<u8>, Option<Vec<u8>>);

/// Looks at a record, by its name and value, and says if it wants to see more.
pub type VisitRecord<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + Send + 'v;

/// The records of requests, where a host keeps them: in its own data, or in another engine's.
pub trait RequestRecords: Sync {
    /// Proof of a change. A durable host waits on it.
    type Receipt: Send;

    /// Returns the value of a record; `None` if it was removed, or another server has it by now.
    ///
    /// # Errors
    ///
    /// It cannot be read at present, so nobody knows if it is there.
    fn record(
        &self,
        name: &[u8],
    ) -> impl Future<Output = Result<Option<Box<[u8]>>, CallError>> + Send;

    /// Passes the records whose names begin with `prefix` to `visit`, in their order, until that breaks. Reads
    /// about `at_once` of them at a time.
    ///
    /// # Errors
    ///
    /// They cannot be read at present.
    fn each_record(
        &self,
        prefix: &[u8],
        at_once: usize,
        visit: &mut VisitRecord<'_>,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Changes records, if those that are `required` are there then.
    ///
    /// # Errors
    ///
    /// One is not, or nothing can be written.
    fn change_records(
        &self,
        required: &[Vec<u8>],
        changes: &[RecordChange],
    ) -> impl Future<Output = Result<Self::Receipt, CallError>> + Send;
}

/// The records in the runtime's own keyspace.
pub(crate) struct OwnRecords<'r, K: Keyspace>(pub(crate) &'r Runtime<K>);

impl<K: Keyspace> RequestRecords for OwnRecords<'_, K> {
    type Receipt = ReceiptOf<K>;

    async fn record(&self, name: &[u8]) -> Result<Option<Box<[u8]>>, CallError> {
        let value = self.0.keyspace().record(name);
        value.map_err(|error| CallError::of_store(&error))
    }

    async fn each_record(
        &self,
        prefix: &[u8],
        at_once: usize,
        visit: &mut VisitRecord<'_>,
    ) -> Result<(), CallError> {
        self.0.each_record(prefix, at_once, visit)
    }

    async fn change_records(
        &self,
        required: &[Vec<u8>],
        changes: &[RecordChange],
    ) -> Result<ReceiptOf<K>, CallError> {
        self.0.change_records_if(required, changes)
    }
}
