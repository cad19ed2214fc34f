//! Decides for each function of a module who pays for it, and where it looks at the fuel.

use std::collections::{HashMap, HashSet};

use ferrite_cache::{METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT};
use wasmparser::{
    CompositeInnerType, ConstExpr, ElementItems, ElementKind, ExternalKind, FuncType, Operator,
    Parser, Payload, SubType, TypeRef,
};

use super::MeterError;
use super::cycles::{self, Calls};
use super::looks;
use super::paths::{self, Paths};
use super::pay::Charge;
use super::payments::payments;
use super::regions::{Callee, Code};
use super::steps::{Last, Steps};
use crate::split::EntryFunctions;

/// A function's callers pay for it if its longest path costs no more than this, in units …
const CALLER_PAYS_ALWAYS: u64 = 64;

/// … or no more than this, and no more than twice its shortest path.
const CALLER_PAYS_EVEN: u64 = 4096;

/// A function need not look at the fuel where it begins if no more than this runs in it until a look, in units.
const BEFORE_LOOK_MAX: u64 = 4096;

/// Numbers of a module's items, imports included.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) types: u32,
    pub(super) functions: u32,
    pub(super) imported_functions: u32,
    pub(super) tables: u32,
    pub(super) globals: u32,
}

/// Charges of each function in a module.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) counts: Counts,
    pub(super) start: Option<u32>,
    /// Length of each data segment, in bytes.
    pub(super) data_lens: Vec<u32>,
    /// Number of elements of each element segment.
    pub(super) element_lens: Vec<u32>,
    /// The functions that the module defines, in the order of its code.
    pub(super) functions: Vec<Steps<'a>>,
    /// The charges of each.
    pub(super) charges: Vec<Vec<Charge>>,
}

/// Parts of a module that decisions rest on.
#[derive(Default)]
struct Module {
    types: Vec<SubType>,
    /// Type of each function that the module defines.
    types_of: Vec<u32>,
    /// Functions with other callers than the module's own `call`: exported, named by a reference, or the start
    /// function.
    named: HashSet<u32>,
    /// Functions for entries, which a host may call too.
    entries: Option<EntryFunctions>,
}

impl<'a> Plan<'a> {
    /// Reads a valid module.
    pub(super) fn read(wasm: &'a [u8]) -> Result<Self, MeterError> {
        let mut plan = Self::default();
        let mut module = Module::default();
        for payload in Parser::new(0).parse_all(wasm) {
            plan.section(payload?, &mut module)?;
        }
        module.named.extend(plan.start);
        let entries = module.entries.map(EntryFunctions::indices);
        let defined = 0..plan.counts.functions;
        module.named.extend(
            entries
                .into_iter()
                .flatten()
                .filter(|function| defined.contains(function)),
        );
        plan.charges = decide(&plan.functions, &module, plan.counts.imported_functions);
        // What is left to do needs the charges and the instructions on ranges.
        for function in &mut plan.functions {
            function.list = Vec::new();
        }
        Ok(plan)
    }

    fn section(&mut self, payload: Payload<'a>, module: &mut Module) -> Result<(), MeterError> {
        let Module { named, .. } = module;
        let counts = &mut self.counts;
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.into_types() {
                        counts.types += 1;
                        module.types.push(ty);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    match import?.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                            counts.functions += 1;
                            counts.imported_functions += 1;
                        }
                        TypeRef::Table(_) => counts.tables += 1,
                        TypeRef::Global(_) => counts.globals += 1,
                        TypeRef::Memory(_) | TypeRef::Tag(_) => {}
                    }
                }
            }
            Payload::FunctionSection(section) => {
                counts.functions += section.count();
                module.types_of = section.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::TableSection(section) => counts.tables += section.count(),
            Payload::GlobalSection(section) => {
                counts.globals += section.count();
                for global in section {
                    references(&global?.init_expr, named)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let reserved = [METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT];
                    if let Some(name) = reserved.into_iter().find(|name| *name == export.name) {
                        return Err(MeterError::Reserved { name });
                    }
                    if matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                        named.insert(export.index);
                    }
                }
            }
            Payload::CustomSection(section) => {
                module.entries = EntryFunctions::of_section(&section).or(module.entries);
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => {
                for element in section {
                    let element = element?;
                    if let ElementKind::Active { offset_expr, .. } = &element.kind {
                        references(offset_expr, named)?;
                    }
                    self.element_lens.push(match &element.items {
                        ElementItems::Functions(functions) => functions.count(),
                        ElementItems::Expressions(_, expressions) => expressions.count(),
                    });
                    match element.items {
                        ElementItems::Functions(functions) => {
                            for function in functions {
                                named.insert(function?);
                            }
                        }
                        ElementItems::Expressions(_, expressions) => {
                            for expression in expressions {
                                references(&expression?, named)?;
                            }
                        }
                    }
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    self.data_lens.push(data?.data.len() as u32);
                }
            }
            Payload::CodeSectionEntry(body) => {
                let steps = Steps::read(body)?;
                named.extend(&steps.references);
                self.functions.push(steps);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Records the functions that a constant expression refers to.
fn references(expression: &ConstExpr<'_>, named: &mut HashSet<u32>) -> Result<(), MeterError> {
    for operator in expression.get_operators_reader() {
        if let Operator::RefFunc { function_index } = operator? {
            named.insert(function_index);
        }
    }
    Ok(())
}

/// Numbers of a module's types, the same for types that are the same.
fn numbers(types: &[SubType]) -> Vec<usize> {
    let mut known: HashMap<&FuncType, usize> = HashMap::new();
    types
        .iter()
        .enumerate()
        .map(|(index, ty)| match &ty.composite_type.inner {
            CompositeInnerType::Func(ty) => *known.entry(ty).or_insert(index),
            _ => index,
        })
        .collect()
}

/// Decides the charges of every function, callees first.
fn decide(functions: &[Steps<'_>], module: &Module, imported: u32) -> Vec<Vec<Charge>> {
    let types = numbers(&module.types);
    let count = functions.len();
    let node_of = |ty: u32| count + types.get(ty as usize).copied().unwrap_or_default();
    let is_named = |place: usize| module.named.contains(&(imported + place as u32));
    let mut calls = Calls {
        to: vec![Vec::new(); count + types.len()],
        functions: count,
    };
    let node_called = |last: Last| match last {
        Last::Call(function) => function.checked_sub(imported).map(|place| place as usize),
        Last::CallReference(ty) => Some(node_of(ty)),
        _ => None,
    };
    for (place, steps) in functions.iter().enumerate() {
        let called = steps.list.iter().filter_map(|step| node_called(step.last));
        calls.to[place] = called.collect();
        if let (true, Some(&ty)) = (is_named(place), module.types_of.get(place)) {
            calls.to[node_of(ty)].push(place);
        }
    }
    let cycles::Order {
        nodes,
        looks,
        components,
    } = cycles::order(&calls);
    let mut costs = vec![Callee::default(); calls.to.len()];
    // Most units from the last look to the return, of each component.
    let mut after = vec![0_u64; calls.to.len()];
    let mut charges = vec![Vec::new(); count];
    for node in nodes {
        // Of functions of the host nothing is known: it charges for its own work, and looks at the fuel when that
        // is more than a slice.
        let cost = |last: Last| {
            node_called(last).map_or(Callee::default(), |callee| {
                let component = components[callee];
                let nests = component == components[node];
                Callee {
                    after: if nests { 0 } else { after[component] },
                    nests,
                    ..costs[callee]
                }
            })
        };
        let decided = if let Some(steps) = functions.get(node) {
            let (decided, charged) = decide_one(steps, looks[node], is_named(node), cost);
            charges[node] = charged;
            decided
        } else {
            let functions = calls.to[node].iter().map(|&function| costs[function]);
            functions.fold(Callee::default(), |all, one| Callee {
                inside: all.inside.max(one.inside),
                after: all.after.max(one.after),
                ..all
            })
        };
        costs[node] = decided;
        let after = &mut after[components[node]];
        *after = decided.after.max(*after);
    }
    charges
}

/// Decides the charges of one function, and its cost for its callers. It looks at the fuel where it begins if it
/// `must`; if it is named, its callers cannot pay for it.
fn decide_one(
    steps: &Steps<'_>,
    must: bool,
    is_named: bool,
    cost: impl Fn(Last) -> Callee,
) -> (Callee, Vec<Charge>) {
    let loops = steps.list.iter().any(|step| step.last == Last::Loop);
    if !loops && !must && !is_named {
        let paths = paths::measure(steps, &cost);
        if let Some(paid) = callers_pay(paths) {
            let callee = Callee {
                paid,
                inside: paths.inside,
                after: paths.after,
                nests: false,
            };
            return (callee, Vec::new());
        }
    }
    let code = Code::cut(steps, cost);
    let mut looks = looks::looks(&code, must);
    if looks.before > BEFORE_LOOK_MAX {
        looks = looks::looks(&code, true);
    }
    let callee = Callee {
        paid: 0,
        inside: looks.before,
        after: looks.after,
        nests: false,
    };
    let places = code.regions.iter().zip(payments(&code)).zip(looks.at);
    let charges = places
        .filter(|((_, units), looks)| *units > 0 || *looks)
        .map(|((region, units), looks)| Charge {
            at: region.at,
            units,
            looks,
        });
    (callee, charges.collect())
}

/// Returns the units that callers pay for a function without loops; `None` if it pays for itself.
fn callers_pay(paths: Paths) -> Option<u64> {
    let Paths {
        longest, shortest, ..
    } = paths;
    let even = longest <= CALLER_PAYS_EVEN && longest <= 2 * shortest;
    let is_paid = longest <= CALLER_PAYS_ALWAYS || even;
    (is_paid && longest.saturating_add(paths.inside) <= BEFORE_LOOK_MAX).then_some(longest)
}
