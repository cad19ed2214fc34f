//! The runtime over the embedded store.

use ferrite_runtime::Runtime;
use ferrite_store::Store;

/// Functions that work on the embedded store.
pub(crate) type Functions = Runtime<Store>;
