//! Links core instances, the adapter and entries into one module.

mod calls;
mod numbers;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use wasm_encoder::{EntityType, ExportKind, Function};
use wasmparser::FuncType;

use super::FlattenError;
use super::adapter::{self, Adapter};
use super::entries::{self, Entry, NameGlobals};
use super::module::{Import, Kind, Survey};
use super::output::{Parts, Types};
use super::renumber::{Constants, Renumber};
use super::resolve::{CoreItem, HostFunction, Resolved, broken};
use crate::split::EntryFunctions;
use numbers::Numbers;

/// Name of the exported memory.
const MEMORY: &str = "memory";

/// Most core instances.
const INSTANCES_MAX: u64 = 1_000;

/// Links what a component instantiates; the result is not validated.
pub(super) fn link(
    resolved: &Resolved<'_>,
    entries: &[Entry<'_>],
    module_bytes_max: u64,
) -> Result<Vec<u8>, FlattenError> {
    let adapter = Adapter::read()?;
    let surveys = survey(resolved, module_bytes_max)?;
    let mut linker = Linker {
        resolved,
        surveys,
        adapter: &adapter,
        copies: Vec::new(),
        stubs: Vec::new(),
        stub_numbers: HashMap::new(),
        fallback: None,
    };
    linker.check_memories()?;
    linker.plan(entries)?;
    linker.emit(entries)
}

/// Surveys each module once, after bounding what all instances take.
fn survey<'a>(
    resolved: &Resolved<'a>,
    module_bytes_max: u64,
) -> Result<Vec<Rc<Survey<'a>>>, FlattenError> {
    let instances = resolved.instances.len() as u64;
    if instances > INSTANCES_MAX {
        return Err(FlattenError::LimitExceeded {
            what: "core instances of the component",
            bound: "component_instances_max",
            found: instances,
            max: INSTANCES_MAX,
        });
    }
    // Each instance has a copy of its module's code.
    let bytes = resolved
        .instances
        .iter()
        .map(|instance| instance.module.len() as u64)
        .sum();
    if bytes > module_bytes_max {
        return Err(FlattenError::LimitExceeded {
            what: "bytes of the modules of all core instances",
            bound: "source_bytes_max",
            found: bytes,
            max: module_bytes_max,
        });
    }
    let mut known: HashMap<*const u8, Rc<Survey<'a>>> = HashMap::new();
    resolved
        .instances
        .iter()
        .map(|instance| {
            let key = instance.module.as_ptr();
            if let Some(survey) = known.get(&key) {
                return Ok(Rc::clone(survey));
            }
            let survey = Rc::new(Survey::of(instance.module)?);
            known.insert(key, Rc::clone(&survey));
            Ok(survey)
        })
        .collect()
}

/// The place that defines a core item in the end.
enum Origin<'a> {
    /// By a core instance, as this one of the items of its kind that it defines.
    Defined(Definition),
    Host(Rc<HostFunction<'a>>),
    /// The function that drops handles of a resource of this interface.
    ResourceDrop(Option<&'a str>),
}

/// An item that a core instance defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Definition {
    instance: usize,
    index: u32,
}

/// The adapter with one of the component's allocators.
struct Copy {
    realloc: Option<Definition>,
    /// Functions that are called from outside.
    roots: Vec<u32>,
    /// The functions to copy, by their indices in the adapter, imported ones too.
    reached: Vec<bool>,
}

/// A function without a host behind it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Stub {
    /// The interface and function; empty for one that drops handles.
    name: String,
    ty: FuncType,
}

/// The replacement of a function that a core module imports.
enum HostCall {
    /// A function that the adapter defines, in one of its copies.
    Adapter {
        copy: usize,
        function: u32,
    },
    Stub(u32),
}

struct Linker<'r, 'a> {
    resolved: &'r Resolved<'a>,
    surveys: Vec<Rc<Survey<'a>>>,
    adapter: &'r Adapter,
    copies: Vec<Copy>,
    stubs: Vec<Stub>,
    stub_numbers: HashMap<Stub, u32>,
    /// The allocator for functions that the component gives none.
    fallback: Option<Definition>,
}

impl<'r, 'a> Linker<'r, 'a> {
    /// Finds where an item is defined, through instances that only import it.
    fn origin(&self, item: &CoreItem<'a>, kind: Kind) -> Result<Origin<'a>, FlattenError> {
        let mut item = item.clone();
        // An instance imports from earlier ones only, so this ends.
        loop {
            let (instance, name) = match item {
                CoreItem::Export { instance, name } => (instance, name),
                CoreItem::Host(function) => return Ok(Origin::Host(function)),
                CoreItem::ResourceDrop(interface) => return Ok(Origin::ResourceDrop(interface)),
            };
            let survey = self.surveys.get(instance).ok_or_else(broken)?;
            let (found, index) = *survey.exports.get(name).ok_or_else(broken)?;
            if found != kind {
                return Err(broken());
            }
            let imports = survey.imports(kind);
            match imports.get(index as usize) {
                Some(import) => {
                    item = self.resolved.instances[instance]
                        .import(import.module, import.name)
                        .ok_or_else(broken)?;
                }
                None => {
                    return Ok(Origin::Defined(Definition {
                        instance,
                        index: index - imports.len() as u32,
                    }));
                }
            }
        }
    }

    fn defined(&self, item: &CoreItem<'a>) -> Result<Definition, FlattenError> {
        match self.origin(item, Kind::Function)? {
            Origin::Defined(definition) => Ok(definition),
            Origin::Host(_) | Origin::ResourceDrop(_) => Err(FlattenError::Unsupported {
                what: "a function of the host as an allocator or an export".to_owned(),
                remedy: "export functions of a core module",
            }),
        }
    }

    fn check_memories(&self) -> Result<(), FlattenError> {
        let mut first = None;
        for (instance, survey) in self.surveys.iter().enumerate() {
            for _ in 0..survey.defined(Kind::Memory) {
                let Some(first) = first.replace(instance) else {
                    continue;
                };
                return Err(FlattenError::SeveralMemories {
                    first: self.describe(first),
                    second: self.describe(instance),
                });
            }
        }
        Ok(())
    }

    /// Names a core instance for a message.
    fn describe(&self, instance: usize) -> String {
        match self.surveys[instance].name {
            Some(name) => format!(
                "core instance {instance} (module `{}`)",
                name.escape_debug().take(64).collect::<String>()
            ),
            None => format!("core instance {instance}"),
        }
    }

    /// Decides which functions of the adapter are needed, and which stubs.
    fn plan(&mut self, entries: &[Entry<'a>]) -> Result<(), FlattenError> {
        for entry in entries {
            let realloc = entry.lifted.realloc.as_ref();
            let realloc = realloc.map(|item| self.defined(item)).transpose()?;
            self.fallback = self.fallback.or(realloc);
            let copy = self.copy(realloc);
            for &name in calls::needed(entry) {
                let function = self.adapter.function(name).ok_or_else(broken)?;
                self.copies[copy].roots.push(function);
            }
        }
        for instance in 0..self.surveys.len() {
            let survey = Rc::clone(&self.surveys[instance]);
            for import in survey.imports(Kind::Function) {
                let item = self.resolved.instances[instance]
                    .import(import.module, import.name)
                    .ok_or_else(broken)?;
                let ty = survey.types.get(import.ty as usize).ok_or_else(broken)?;
                match self.origin(&item, Kind::Function)? {
                    Origin::Defined(_) => {}
                    Origin::Host(function) => self.need(&function, ty)?,
                    Origin::ResourceDrop(interface) => match dropping(interface) {
                        Some(function) => self.need(&function, ty)?,
                        None => {
                            self.stub("", ty);
                        }
                    },
                }
            }
        }
        for copy in &mut self.copies {
            copy.reached = self.adapter.reached(copy.roots.iter().copied());
        }
        Ok(())
    }

    /// Has a function of the host copied from the adapter.
    fn need(&mut self, function: &HostFunction<'a>, ty: &FuncType) -> Result<(), FlattenError> {
        if let HostCall::Adapter { copy, function } = self.host_call(function, ty)? {
            self.copies[copy].roots.push(function);
        }
        Ok(())
    }

    /// Returns the adapter's copy for an allocator, which may be new.
    fn copy(&mut self, realloc: Option<Definition>) -> usize {
        let realloc = realloc.or(self.fallback);
        if let Some(known) = self.copies.iter().position(|copy| copy.realloc == realloc) {
            return known;
        }
        self.copies.push(Copy {
            realloc,
            roots: Vec::new(),
            reached: Vec::new(),
        });
        self.copies.len() - 1
    }

    fn stub(&mut self, name: &str, ty: &FuncType) -> u32 {
        let stub = Stub {
            name: name.to_owned(),
            ty: ty.clone(),
        };
        if let Some(known) = self.stub_numbers.get(&stub) {
            return *known;
        }
        let number = self.stubs.len() as u32;
        self.stubs.push(stub.clone());
        self.stub_numbers.insert(stub, number);
        number
    }

    /// Finds what takes the place of a function of the host.
    fn host_call(
        &mut self,
        function: &HostFunction<'a>,
        ty: &FuncType,
    ) -> Result<HostCall, FlattenError> {
        let name = adapter::name_of(function.interface, function.name);
        let shown = || match function.interface {
            "" => function.name.to_owned(),
            interface => format!("{interface}#{}", function.name),
        };
        if adapter::is_incoming_handler(function.interface) {
            return Err(FlattenError::IncomingHandler {
                what: format!("imports `{}`", shown()),
            });
        }
        let Some(index) = self.adapter.function(&name) else {
            if adapter::is_wasi(function.interface) {
                return Ok(HostCall::Stub(self.stub(&shown(), ty)));
            }
            return Err(FlattenError::UnknownImport { import: shown() });
        };
        let expected = self.adapter.imported() + index;
        if self.adapter.survey.function_type(expected) != Some(ty) {
            return Err(FlattenError::ImportSignature { import: shown() });
        }
        let realloc = function.realloc.as_ref();
        let realloc = realloc.map(|item| self.defined(item)).transpose()?;
        let copy = self.copy(realloc);
        Ok(HostCall::Adapter {
            copy,
            function: index,
        })
    }

    fn emit(&mut self, entries: &[Entry<'a>]) -> Result<Vec<u8>, FlattenError> {
        let numbers = Numbers::of(self);
        let mut types = Types::default();
        let constants = Constants::default();
        let mut instances = Vec::with_capacity(self.surveys.len());
        let (mut elements, mut data) = (0, 0);
        for instance in 0..self.surveys.len() {
            let mut renumber = self.renumber(instance, &numbers, &mut types)?;
            renumber.first_element = elements;
            renumber.first_data = data;
            renumber.constants = Rc::clone(&constants);
            elements += self.surveys[instance].elements;
            data += self.surveys[instance].data;
            instances.push(renumber);
        }
        let mut copied = Vec::with_capacity(self.copies.len());
        for copy in 0..self.copies.len() {
            copied.push(self.renumber_copy(copy, &numbers, &mut types)?);
        }
        let mut set = HashSet::new();
        let adapters = copied.iter().map(|copy| (&self.adapter.survey, copy));
        let surveys = self.surveys.iter().map(Rc::as_ref).zip(&instances);
        for (sets, renumber) in surveys
            .map(|(it, renumber)| (&it.sets, renumber))
            .chain(adapters.map(|(it, renumber)| (&it.sets, renumber)))
        {
            set.extend(
                sets.iter()
                    .filter_map(|&global| renumber.globals.get(global as usize).copied()),
            );
        }

        let mut parts = Parts::default();
        for &import in &numbers.imports {
            let declared = &self.adapter.survey.imports(Kind::Function)[import as usize];
            let ty = types.of(&self.adapter.survey.types[declared.ty as usize])?;
            parts
                .imports
                .import(declared.module, declared.name, EntityType::Function(ty));
        }
        for (instance, renumber) in instances.iter_mut().enumerate() {
            let first_global = numbers.first(Kind::Global, instance);
            parts.copy(&self.surveys[instance], renumber, first_global, &set)?;
        }
        for (copy, renumber) in copied.iter_mut().enumerate() {
            let reached = &self.copies[copy].reached;
            let first_global = numbers.copies[copy].first_global;
            parts.copy_adapter(self.adapter, renumber, reached, first_global, &set)?;
        }
        for (number, stub) in (numbers.stubs..).zip(&self.stubs) {
            let mut function = Function::new([]);
            // Dropping a handle does nothing; calling what no host offers ends the call.
            if !stub.name.is_empty() {
                parts
                    .names
                    .append(number, &format!("{} (not offered)", stub.name));
                function.instructions().unreachable();
            }
            function.instructions().end();
            parts.function(types.of(&stub.ty)?, &function);
        }
        if self.surveys.iter().any(|it| it.defined(Kind::Memory) > 0) {
            parts.exports.export(MEMORY, ExportKind::Memory, 0);
        }
        let no_type = types.of(&FuncType::new([], []))?;
        let first_entry = numbers.stubs + self.stubs.len() as u32;
        let mut next = first_entry;
        let names = NameGlobals::of(entries, numbers.globals);
        let mut named = None;
        let mut number = 0;
        // Those of the section come last, before the functions that none of them uses.
        let (told, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.takes_name);
        for entry in others.into_iter().chain(told) {
            if entry.name == MEMORY {
                return Err(FlattenError::SameEntry {
                    name: entry.name.clone(),
                });
            }
            if let Some(typed) = &entry.typed {
                let calls = self.typed_calls(entry, &numbers)?;
                parts.function(no_type, &typed.body(&entry.name, &calls));
                parts.exports.export(&entry.name, ExportKind::Func, next);
                next += 1;
                continue;
            }
            let calls = self.calls(entry, &numbers)?;
            let mut name = None;
            if entry.takes_name {
                names.add(&entry.name, &mut parts.globals);
                name = Some((&names, number));
                number += 1;
            }
            parts.function(no_type, &entries::body(name, &calls));
            parts.exports.export(&entry.name, ExportKind::Func, next);
            next += 1;
            named = entry.takes_name.then_some(calls);
        }
        if let Some(calls) = named {
            // All of them call the same function.
            for number in number..names.count {
                names.add("", &mut parts.globals);
                parts.function(no_type, &entries::body(Some((&names, number)), &calls));
                next += 1;
            }
        }
        let functions = EntryFunctions {
            first: first_entry,
            count: next - first_entry,
        };
        let start = match parts.starts.as_slice() {
            [] => None,
            [one] => Some(*one),
            several => {
                let mut function = Function::new([]);
                for start in several {
                    function.instructions().call(*start);
                }
                function.instructions().end();
                parts.function(no_type, &function);
                Some(next)
            }
        };
        let mut module = parts.finish(&types.section, start);
        functions.append_to(&mut module);
        Ok(module)
    }

    /// Returns the new index of an item that a core instance imports.
    fn imported(
        &mut self,
        instance: usize,
        kind: Kind,
        import: &Import<'a>,
        numbers: &Numbers,
    ) -> Result<u32, FlattenError> {
        let item = self.resolved.instances[instance]
            .import(import.module, import.name)
            .ok_or_else(broken)?;
        let origin = self.origin(&item, kind)?;
        if let Origin::Defined(definition) = origin {
            return Ok(numbers.first(kind, definition.instance) + definition.index);
        }
        let survey = Rc::clone(&self.surveys[instance]);
        let ty = survey.types.get(import.ty as usize).ok_or_else(broken)?;
        let function = match origin {
            Origin::Host(function) => Some(function),
            Origin::ResourceDrop(interface) => dropping(interface).map(Rc::new),
            Origin::Defined(_) => None,
        };
        let Some(function) = function else {
            return Ok(numbers.stubs + self.stub("", ty));
        };
        match self.host_call(&function, ty)? {
            HostCall::Adapter { copy, function } => numbers.in_copy(copy, function),
            HostCall::Stub(number) => Ok(numbers.stubs + number),
        }
    }

    /// Returns the new indices of everything in a core instance.
    fn renumber(
        &mut self,
        instance: usize,
        numbers: &Numbers,
        types: &mut Types,
    ) -> Result<Renumber, FlattenError> {
        let survey = Rc::clone(&self.surveys[instance]);
        let mut renumber = Renumber {
            types: types.of_all(&survey.types)?,
            ..Renumber::default()
        };
        for kind in Kind::ALL {
            let imports = survey.imports(kind);
            let mut all = Vec::with_capacity(imports.len() + survey.defined(kind) as usize);
            for import in imports {
                all.push(self.imported(instance, kind, import, numbers)?);
            }
            let first = numbers.first(kind, instance);
            all.extend(first..first + survey.defined(kind));
            *match kind {
                Kind::Function => &mut renumber.functions,
                Kind::Table => &mut renumber.tables,
                Kind::Memory => &mut renumber.memories,
                Kind::Global => &mut renumber.globals,
            } = all;
        }
        Ok(renumber)
    }

    /// The same for a copy of the adapter. Functions that are not copied have no valid index.
    fn renumber_copy(
        &self,
        copy: usize,
        numbers: &Numbers,
        types: &mut Types,
    ) -> Result<Renumber, FlattenError> {
        let survey = &self.adapter.survey;
        let Copy {
            realloc, reached, ..
        } = &self.copies[copy];
        let mut functions = Vec::with_capacity(reached.len());
        for (index, import) in survey.imports(Kind::Function).iter().enumerate() {
            let allocator = match import.name {
                adapter::OWN => self.fallback,
                _ => *realloc,
            };
            functions.push(if import.module != adapter::MAIN {
                numbers.imported[index]
            } else if let Some(allocator) = allocator {
                numbers.first(Kind::Function, allocator.instance) + allocator.index
            } else if reached[index] {
                return Err(FlattenError::Unsupported {
                    what: "an import whose results no allocator is given for".to_owned(),
                    remedy: "give the canonical option `realloc`",
                });
            } else {
                u32::MAX
            });
        }
        functions.extend(&numbers.copies[copy].functions);
        let first_global = numbers.copies[copy].first_global;
        Ok(Renumber {
            types: types.of_all(&survey.types)?,
            functions,
            memories: vec![0],
            globals: (first_global..first_global + survey.defined(Kind::Global)).collect(),
            ..Renumber::default()
        })
    }
}

/// Returns the adapter's function that drops handles of an interface. Other handles need none: nothing
/// ends with them.
fn dropping<'a>(interface: Option<&'a str>) -> Option<HostFunction<'a>> {
    adapter::drops(interface?).then_some(HostFunction {
        interface: adapter::RESOURCE,
        name: adapter::DROP,
        realloc: None,
    })
}
