//! Decides which functions pay at their entry, and which are paid by their callers.

use std::collections::HashSet;

use ferrite_cache::{METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT};
use wasmparser::{
    ConstExpr, ElementItems, ElementKind, ExternalKind, FunctionBody, Operator, Parser, Payload,
    TypeRef,
};

use super::MeterError;
use super::paths::{self, Paths};
use super::regions::Callee;
use crate::split::EntryFunctions;

/// A function's callers pay for it if its longest path costs no more than this, in units …
const CALLER_PAYS_ALWAYS: u64 = 64;

/// … or no more than this, and no more than twice its shortest path.
const CALLER_PAYS_EVEN: u64 = 4096;

/// A function without loops and without calls of unknown length does not look at the fuel if its
/// longest path costs no more than this, in units.
const UNCHECKED_MAX: u64 = 4096;

/// Numbers of a module's items, imports included.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) types: u32,
    pub(super) functions: u32,
    pub(super) imported_functions: u32,
    pub(super) tables: u32,
    pub(super) globals: u32,
}

/// Payer of each function's cost in a module.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) counts: Counts,
    pub(super) start: Option<u32>,
    /// Length of each data segment, in bytes.
    pub(super) data_lens: Vec<u32>,
    /// Number of elements of each element segment.
    pub(super) element_lens: Vec<u32>,
    /// Cost of each function that the module defines.
    costs: Vec<Cost>,
}

/// Cost of a function.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Units that callers pay; `None` if it pays for itself.
    paid_by_callers: Option<u64>,
    /// Most units that a call pays, callees included, if nothing in it looks at the fuel.
    unchecked: Option<u64>,
}

/// Properties of one function, read before any decision.
#[derive(Default)]
struct Facts {
    loops: bool,
    /// True if it calls functions that are known only when it runs.
    indirect: bool,
    /// Functions of the module that it calls directly, as places in the code section.
    callees: Vec<usize>,
}

impl Plan {
    /// Reads a valid module.
    pub(super) fn read(wasm: &[u8]) -> Result<Self, MeterError> {
        let mut plan = Self::default();
        // Functions with other callers than the module's own `call`: exported, named by a
        // reference, or the start function. They pay for themselves.
        let mut named = HashSet::new();
        let mut bodies = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            plan.section(payload?, &mut named, &mut bodies)?;
        }
        named.extend(plan.start);
        let imported = plan.counts.imported_functions;
        let facts = bodies
            .iter()
            .map(|body| Facts::read(body, imported, &mut named))
            .collect::<Result<Vec<_>, _>>()?;
        plan.costs = decide(
            &bodies,
            &facts,
            |place| named.contains(&(imported + place as u32)),
            imported,
        )?;
        Ok(plan)
    }

    fn section<'a>(
        &mut self,
        payload: Payload<'a>,
        named: &mut HashSet<u32>,
        bodies: &mut Vec<FunctionBody<'a>>,
    ) -> Result<(), MeterError> {
        let counts = &mut self.counts;
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    counts.types += group?.types().len() as u32;
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
            Payload::FunctionSection(section) => counts.functions += section.count(),
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
                // A host may call them too.
                if let Some(functions) = EntryFunctions::of_section(&section) {
                    named.extend(functions.indices());
                }
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
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    /// Returns the number of functions that the module defines.
    pub(super) fn functions(&self) -> usize {
        self.costs.len()
    }

    /// Returns true if the function at this place of the code section has its own charges.
    pub(super) fn pays_for_itself(&self, place: usize) -> bool {
        let cost = self.costs.get(place);
        cost.is_none_or(|cost| cost.paid_by_callers.is_none())
    }

    /// Returns true if the function at this place of the code section looks at the fuel where it
    /// begins.
    pub(super) fn checks_at_entry(&self, place: usize) -> bool {
        let cost = self.costs.get(place);
        cost.is_none_or(|cost| cost.unchecked.is_none())
    }

    /// Returns the cost of a function for those that call it.
    pub(super) fn callee(&self, function: u32) -> Callee {
        callee(&self.costs, function, self.counts.imported_functions)
    }
}

/// Returns the cost of a function for those that call it, by those that the module defines.
fn callee(costs: &[Cost], function: u32, imported: u32) -> Callee {
    let Some(place) = function.checked_sub(imported) else {
        // The host charges for its own work, and looks at the fuel when that is more than a slice.
        return Callee {
            paid: 0,
            unchecked: Some(0),
        };
    };
    let Cost {
        paid_by_callers,
        unchecked,
    } = costs.get(place as usize).copied().unwrap_or_default();
    Callee {
        paid: paid_by_callers.unwrap_or(0),
        unchecked,
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

impl Facts {
    fn read(
        body: &FunctionBody<'_>,
        imported: u32,
        named: &mut HashSet<u32>,
    ) -> Result<Self, MeterError> {
        let mut facts = Self::default();
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            match operators.read()? {
                Operator::Loop { .. } => facts.loops = true,
                Operator::Call { function_index } => {
                    if let Some(place) = function_index.checked_sub(imported) {
                        facts.callees.push(place as usize);
                    }
                }
                Operator::CallIndirect { .. } | Operator::CallRef { .. } => facts.indirect = true,
                Operator::RefFunc { function_index } => {
                    named.insert(function_index);
                }
                Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => {
                    return Err(MeterError::Unknown { what: "tail calls" });
                }
                Operator::TryTable { .. } | Operator::Try { .. } => {
                    return Err(MeterError::Unknown { what: "exceptions" });
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}

/// Progress of the decision about a function; callees come first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// Its callees are being decided. A call that leads back here closes a cycle.
    Begun,
    Decided,
}

/// Decides the cost of every function, callees first.
fn decide(
    bodies: &[FunctionBody<'_>],
    facts: &[Facts],
    is_named: impl Fn(usize) -> bool,
    imported: u32,
) -> Result<Vec<Cost>, MeterError> {
    let mut costs = vec![Cost::default(); facts.len()];
    let mut known = vec![Known::Nothing; facts.len()];
    // An explicit stack: a chain of calls may be as long as the number of functions.
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for root in 0..facts.len() {
        if known[root] != Known::Nothing {
            continue;
        }
        stack.push((root, 0));
        while let Some((place, next)) = stack.last_mut() {
            let place = *place;
            known[place] = Known::Begun;
            if facts[place].loops {
                // Its callees are decided separately.
                known[place] = Known::Decided;
                stack.pop();
                continue;
            }
            if let Some(&callee) = facts[place].callees.get(*next) {
                *next += 1;
                match known.get(callee) {
                    Some(Known::Nothing) => stack.push((callee, 0)),
                    // In every cycle at least one function pays for itself: this one.
                    Some(Known::Begun) => {
                        known[place] = Known::Decided;
                        stack.pop();
                    }
                    _ => {}
                }
                continue;
            }
            let paths = paths::measure(&bodies[place], |function| {
                callee(&costs, function, imported)
            })?;
            let checks = |place: &usize| costs[*place].unchecked.is_none();
            let quiet = !facts[place].indirect
                && paths.with_callees <= UNCHECKED_MAX
                && !facts[place].callees.iter().any(checks);
            costs[place] = Cost {
                paid_by_callers: callers_pay(paths).filter(|_| !is_named(place)),
                unchecked: quiet.then_some(paths.with_callees),
            };
            known[place] = Known::Decided;
            stack.pop();
        }
    }
    Ok(costs)
}

/// Returns the units that callers pay for a function without loops; `None` if it pays for itself.
fn callers_pay(
    Paths {
        longest, shortest, ..
    }: Paths,
) -> Option<u64> {
    let even = longest <= CALLER_PAYS_EVEN && longest <= 2 * shortest;
    (longest <= CALLER_PAYS_ALWAYS || even).then_some(longest)
}
