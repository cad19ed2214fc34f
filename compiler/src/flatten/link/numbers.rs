//! The indices of everything in the module that is written.

use super::Linker;
use crate::flatten::FlattenError;
use crate::flatten::adapter;
use crate::flatten::module::Kind;
use crate::flatten::resolve::broken;

/// The indices of everything in the module that is written: the functions of hosts, those of the core
/// instances in order, those of the adapter's copies, stubs, and what is generated.
pub(super) struct Numbers {
    /// Functions of hosts, by their indices in the adapter.
    pub(super) imports: Vec<u32>,
    /// The new index of each function that the adapter imports.
    pub(super) imported: Vec<u32>,
    /// First index of each kind in each core instance.
    firsts: Vec<[u32; 4]>,
    pub(super) copies: Vec<CopyNumbers>,
    /// First stub.
    pub(super) stubs: u32,
    /// First global that is generated.
    pub(super) globals: u32,
}

/// The indices of a copy of the adapter.
pub(super) struct CopyNumbers {
    /// The new index of each function that the adapter defines; of those copied.
    pub(super) functions: Vec<u32>,
    pub(super) first_global: u32,
}

impl Numbers {
    pub(super) fn of(linker: &Linker<'_, '_>) -> Self {
        let adapter = linker.adapter;
        let mut imports = Vec::new();
        let mut imported = Vec::new();
        for (index, import) in adapter.survey.imports(Kind::Function).iter().enumerate() {
            let wanted = import.module != adapter::MAIN
                && linker.copies.iter().any(|copy| copy.reached[index]);
            if wanted {
                imported.push(imports.len() as u32);
                imports.push(index as u32);
            } else {
                imported.push(u32::MAX);
            }
        }
        let mut next = [0; 4];
        next[Kind::Function as usize] = imports.len() as u32;
        let mut firsts = Vec::with_capacity(linker.surveys.len());
        for survey in &linker.surveys {
            firsts.push(next);
            for kind in Kind::ALL {
                next[kind as usize] += survey.defined(kind);
            }
        }
        let [mut function, _, _, mut global] = next;
        let mut copies = Vec::with_capacity(linker.copies.len());
        for copy in &linker.copies {
            let mut functions = Vec::with_capacity(adapter.survey.functions.len());
            for reached in &copy.reached[adapter.imported() as usize..] {
                functions.push(if *reached { function } else { u32::MAX });
                function += u32::from(*reached);
            }
            copies.push(CopyNumbers {
                functions,
                first_global: global,
            });
            global += adapter.survey.defined(Kind::Global);
        }
        Self {
            imports,
            imported,
            firsts,
            copies,
            stubs: function,
            globals: global,
        }
    }

    pub(super) fn first(&self, kind: Kind, instance: usize) -> u32 {
        self.firsts[instance][kind as usize]
    }

    /// Returns the index of a function of the adapter in one of its copies.
    pub(super) fn in_copy(&self, copy: usize, function: u32) -> Result<u32, FlattenError> {
        let copy = self.copies.get(copy).ok_or_else(broken)?;
        copy.functions
            .get(function as usize)
            .copied()
            .filter(|index| *index != u32::MAX)
            .ok_or_else(broken)
    }
}
