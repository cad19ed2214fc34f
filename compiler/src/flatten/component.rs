//! Reads a component: its definitions in order, with the types of what it lifts.

use std::collections::HashMap;
use std::rc::Rc;

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ResourceId};
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExport, ComponentExternalKind,
    ComponentInstance, ComponentType, Instance, Parser, Payload, Validator, WasmFeatures,
};

use super::FlattenError;
use super::types::FunctionType;

/// The custom section that lists the entries which a component's `run` knows, one a line.
pub(super) const ENTRIES_SECTION: &str = "ferrite:entries";

/// Most components inside each other.
const NESTING_MAX: u64 = 16;

/// A component, or one inside it.
#[derive(Debug, Default)]
pub(super) struct Component<'a> {
    pub(super) definitions: Vec<Definition<'a>>,
    /// Content of the section of entries, if there is one.
    pub(super) entries: Option<&'a [u8]>,
    /// The interfaces that define the resources which are imported.
    resources: HashMap<ResourceId, &'a str>,
}

/// A definition; each takes the next index of its kind.
#[derive(Debug)]
pub(super) enum Definition<'a> {
    Module(&'a [u8]),
    Component(Rc<Component<'a>>),
    CoreInstance(Instance<'a>),
    Instance(ComponentInstance<'a>),
    Alias(ComponentAlias<'a>),
    Lift {
        core_function: u32,
        options: Box<[CanonicalOption]>,
        ty: Rc<FunctionType>,
    },
    Lower {
        function: u32,
        options: Box<[CanonicalOption]>,
    },
    /// The function that drops a handle.
    ResourceDrop {
        /// The imported interface that defines the resource.
        interface: Option<&'a str>,
    },
    Import {
        name: &'a str,
        kind: ComponentExternalKind,
    },
    Export(ComponentExport<'a>),
}

/// A component that is being read, or a core module in it.
enum Open<'a> {
    Component(Component<'a>),
    Module,
}

/// Reads a component.
///
/// Bodies of functions are not validated here: the module that results is.
pub(super) fn read(source: &[u8], core: WasmFeatures) -> Result<Component<'_>, FlattenError> {
    // Asynchronous functions are on to be refused by name.
    let features = core
        | WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::CM_ASYNC
        | WasmFeatures::CM_ASYNC_STACKFUL
        | WasmFeatures::CM_MORE_ASYNC_BUILTINS;
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut validator = Validator::new_with_features(features);
    let mut open: Vec<Open<'_>> = vec![Open::Component(Component::default())];
    for payload in parser.parse_all(source) {
        let payload = payload?;
        if let Payload::ComponentTypeSection(section) = &payload {
            for ty in section.clone().into_iter_with_offsets() {
                if let (offset, ComponentType::Resource { .. }) = ty? {
                    return Err(FlattenError::Resource {
                        offset: offset as u64,
                    });
                }
            }
        }
        validator.payload(&payload)?;
        let Some(Open::Component(component)) = open.last_mut() else {
            // A core module ends, or one more of its sections was read.
            if matches!(payload, Payload::End(_)) {
                open.pop();
            }
            continue;
        };
        match payload {
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                let cut_short = FlattenError::Malformed {
                    message: "a core module goes on behind the end".to_owned(),
                    offset: unchecked_range.start as u64,
                };
                let module = source.get(unchecked_range).ok_or(cut_short)?;
                component.definitions.push(Definition::Module(module));
                open.push(Open::Module);
            }
            Payload::ComponentSection { .. } => {
                if open.len() as u64 >= NESTING_MAX {
                    return Err(FlattenError::LimitExceeded {
                        what: "components inside each other",
                        bound: "component_nesting_max",
                        found: open.len() as u64 + 1,
                        max: NESTING_MAX,
                    });
                }
                open.push(Open::Component(Component::default()));
            }
            Payload::End(_) => {
                let Some(Open::Component(done)) = open.pop() else {
                    unreachable!("the last open part is a component");
                };
                match open.last_mut() {
                    Some(Open::Component(outer)) => {
                        outer.definitions.push(Definition::Component(Rc::new(done)));
                    }
                    _ => return Ok(done),
                }
            }
            payload => component.take(payload, &validator)?,
        }
    }
    // The parser ends with an error instead.
    Err(FlattenError::Malformed {
        message: "unexpected end".to_owned(),
        offset: source.len() as u64,
    })
}

impl<'a> Component<'a> {
    /// Reads a section that was validated.
    fn take(&mut self, payload: Payload<'a>, validator: &Validator) -> Result<(), FlattenError> {
        let all = &mut self.definitions;
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section {
                    all.push(Definition::CoreInstance(instance?));
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    all.push(Definition::Instance(instance?));
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    all.push(Definition::Alias(alias?));
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    all.push(canonical(function?, validator, &self.resources)?);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    let name = import.name.name;
                    all.push(Definition::Import {
                        name,
                        kind: import.ty.kind(),
                    });
                    for resource in resources(name, validator) {
                        // Later interfaces use the type of the first.
                        self.resources.entry(resource).or_insert(name);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    all.push(Definition::Export(export?));
                }
            }
            Payload::ComponentStartSection { .. } => {
                return Err(FlattenError::Unsupported {
                    what: "a start function of the component".to_owned(),
                    remedy: "do the work in a core module's start",
                });
            }
            Payload::CustomSection(section) if section.name() == ENTRIES_SECTION => {
                self.entries = Some(section.data());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns the resources among the types of an imported interface.
fn resources(import: &str, validator: &Validator) -> Vec<ResourceId> {
    let types = validator.types(0).expect("a component is being read");
    let Some(item) = types.component_item_for_import(import) else {
        return Vec::new();
    };
    let ComponentEntityType::Instance(interface) = item.ty else {
        return Vec::new();
    };
    let exports = types[interface].exports.values();
    exports
        .filter_map(|export| match export.ty {
            ComponentEntityType::Type {
                created: ComponentAnyTypeId::Resource(id),
                ..
            } => Some(id.resource()),
            _ => None,
        })
        .collect()
}

fn canonical<'a>(
    function: CanonicalFunction,
    validator: &Validator,
    resources: &HashMap<ResourceId, &'a str>,
) -> Result<Definition<'a>, FlattenError> {
    match function {
        CanonicalFunction::Lift {
            core_func_index,
            type_index,
            options,
        } => {
            let types = validator.types(0).expect("a component is being read");
            let ComponentAnyTypeId::Func(id) = types.component_any_type_at(type_index) else {
                unreachable!("the validator has seen a type of functions");
            };
            Ok(Definition::Lift {
                core_function: core_func_index,
                options,
                ty: Rc::new(FunctionType::read(types, id)),
            })
        }
        CanonicalFunction::Lower {
            func_index,
            options,
        } => Ok(Definition::Lower {
            function: func_index,
            options,
        }),
        CanonicalFunction::ResourceDrop { resource } => {
            let types = validator.types(0).expect("a component is being read");
            let interface = match types.component_any_type_at(resource) {
                ComponentAnyTypeId::Resource(id) => resources.get(&id.resource()).copied(),
                _ => None,
            };
            Ok(Definition::ResourceDrop { interface })
        }
        other => {
            let debug = format!("{other:?}");
            let name = debug
                .split(|end: char| !end.is_ascii_alphanumeric())
                .next()
                .unwrap_or_default();
            Err(FlattenError::Asynchronous {
                what: format!("the built-in function `{name}` that it imports"),
            })
        }
    }
}
