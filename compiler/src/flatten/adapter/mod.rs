//! The adapter: functions that take the place of a component's imports, and those that entries use.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::FlattenError;
use super::module::{Kind, Survey};

/// The module that `adapter.c` and the files that it includes are compiled to.
const WASM: &[u8] = include_bytes!("adapter.wasm");

/// The module name of the functions that allocate.
pub(super) const MAIN: &str = "main";

/// The allocator of what the adapter keeps for itself; the other one is for results of the caller.
pub(super) const OWN: &str = "own";

/// Functions of entries in the adapter.
pub(super) const KEY_COUNT: &str = "entry#key-count";
pub(super) const ARG_COUNT: &str = "entry#arg-count";
pub(super) const KEYS: &str = "entry#keys";
pub(super) const ARGS: &str = "entry#args";
pub(super) const ALLOCATE: &str = "entry#allocate";
pub(super) const REPLY: &str = "entry#reply";

/// The function of the adapter that drops handles, as if it were one of an interface.
pub(super) const RESOURCE: &str = "resource";
pub(super) const DROP: &str = "drop";

/// The adapter's module and its functions.
pub(super) struct Adapter {
    pub(super) survey: Survey<'static>,
}

impl Adapter {
    pub(super) fn read() -> Result<Self, FlattenError> {
        let survey = Survey::of(WASM)?;
        Ok(Self { survey })
    }

    /// Returns the function with this name: its index among those that the adapter defines.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        let (kind, index) = *self.survey.exports.get(name)?;
        if kind != Kind::Function {
            return None;
        }
        index.checked_sub(self.imported())
    }

    /// Returns how many functions the adapter imports.
    pub(super) fn imported(&self) -> u32 {
        self.survey.imports(Kind::Function).len() as u32
    }

    /// Returns every function that these call, by index, imported ones too.
    pub(super) fn reached(&self, roots: impl IntoIterator<Item = u32>) -> Vec<bool> {
        let imported = self.imported() as usize;
        let mut reached = vec![false; imported + self.survey.functions.len()];
        let mut waiting: VecDeque<usize> = roots
            .into_iter()
            .map(|defined| imported + defined as usize)
            .collect();
        while let Some(function) = waiting.pop_front() {
            if std::mem::replace(&mut reached[function], true) {
                continue;
            }
            if let Some(defined) = function.checked_sub(imported) {
                waiting.extend(self.survey.calls[defined].iter().map(|&it| it as usize));
            }
        }
        reached
    }
}

/// Returns the adapter's name for a function of an interface: `wasi` in any version 0.2.x is one.
pub(super) fn name_of(interface: &str, name: &str) -> String {
    format!("{}#{name}", without_patch(interface))
}

/// Returns true for an interface of WASI 0.2, whose other functions end the call.
pub(super) fn is_wasi(interface: &str) -> bool {
    interface.starts_with("wasi:") && !without_patch(interface).contains('@')
}

/// Returns true for an interface whose resources the adapter drops.
pub(super) fn drops(interface: &str) -> bool {
    let packages = ["wasi:io/", "wasi:filesystem/", "wasi:http/"];
    is_wasi(interface)
        && packages
            .iter()
            .any(|package| interface.starts_with(package))
}

/// Returns true for the interface by which a server hands requests to a component.
pub(super) fn is_incoming_handler(interface: &str) -> bool {
    interface.split('@').next() == Some("wasi:http/incoming-handler")
}

fn without_patch(interface: &str) -> Cow<'_, str> {
    if let Some((bare, version)) = interface.split_once('@')
        && interface.starts_with("wasi:")
        && let Some(patch) = version.strip_prefix("0.2.")
        && patch.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Cow::Borrowed(bare);
    }
    Cow::Borrowed(interface)
}

#[cfg(test)]
mod tests {
    use super::{Adapter, drops, is_wasi, name_of};
    use crate::flatten::module::Kind;

    #[test]
    fn the_adapter_has_no_data_and_no_stack() {
        let adapter = Adapter::read().expect("it is a module");
        assert_eq!(adapter.survey.data, 0, "constants in memory");
        assert_eq!(adapter.survey.elements, 0, "a table");
        assert!(adapter.survey.start.is_none());
        assert!(!adapter.survey.sets.contains(&0), "a stack in memory");
        assert_eq!(adapter.survey.defined(Kind::Global), 4);
    }

    #[test]
    fn patch_versions_of_wasi_are_one() {
        let name = name_of("wasi:clocks/wall-clock@0.2.9", "now");
        assert_eq!(name, "wasi:clocks/wall-clock#now");
        assert!(is_wasi("wasi:sockets/tcp@0.2.0"));
        assert!(drops("wasi:io/poll@0.2.12") && !drops("wasi:keyvalue/store@0.2.0-draft2"));
        assert!(drops("wasi:filesystem/types@0.2.6") && !drops("wasi:sockets/tcp@0.2.6"));
        for other in [
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:clocks/wall-clock@0.3.0",
            "a:b/c@0.2.1",
        ] {
            assert!(!is_wasi(other), "{other}");
            assert_eq!(name_of(other, "f"), format!("{other}#f"));
        }
    }
}
