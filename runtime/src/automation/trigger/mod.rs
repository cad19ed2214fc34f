//! Triggers: functions that are called because of what happened to a key.
//!
//! The commit that changes a key keeps a record of each event that a trigger wants. A delivery calls the
//! trigger's function with the event, and removes the record in the same commit as what the function
//! wrote. So an event is delivered at least once, and takes effect on the data exactly once.

pub(crate) mod definition;
pub(crate) mod event;
pub(crate) mod queue;
pub(crate) mod replacement;
pub(crate) mod table;
