//! Runs a component's definitions, as instantiating it would: which core modules are instantiated with
//! what, and which core functions its exports are.

use std::collections::HashMap;
use std::rc::Rc;

use wasmparser::{
    CanonicalOption, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ExternalKind, Instance,
};

use super::FlattenError;
use super::adapter;
use super::component::{Component, Definition};
use super::types::FunctionType;

/// Most definitions that are run, those of components that are instantiated again included.
const DEFINITIONS_MAX: u64 = 200_000;

/// A core module that the component instantiates.
pub(super) struct CoreInstance<'a> {
    pub(super) module: &'a [u8],
    /// The sources of its imports, by their module names.
    arguments: HashMap<&'a str, CoreSource<'a>>,
}

impl<'a> CoreInstance<'a> {
    /// Returns the item that satisfies an import.
    pub(super) fn import(&self, module: &str, name: &'a str) -> Option<CoreItem<'a>> {
        self.arguments.get(module)?.item(name)
    }
}

/// An instance of a core module, or a bundle of items that looks like one.
#[derive(Clone)]
enum CoreSource<'a> {
    /// Index into the list of core instances.
    Instance(usize),
    Items(Rc<HashMap<&'a str, CoreItem<'a>>>),
}

impl<'a> CoreSource<'a> {
    fn item(&self, name: &'a str) -> Option<CoreItem<'a>> {
        match self {
            Self::Instance(instance) => Some(CoreItem::Export {
                instance: *instance,
                name,
            }),
            Self::Items(items) => items.get(name).cloned(),
        }
    }
}

/// A core function, memory, table or global.
#[derive(Clone)]
pub(super) enum CoreItem<'a> {
    /// An export of a core instance.
    Export { instance: usize, name: &'a str },
    /// A function of the host.
    Host(Rc<HostFunction<'a>>),
    /// The function that drops a handle of a resource that this imported interface defines.
    ResourceDrop(Option<&'a str>),
}

/// A function that the component imports, as its core modules call it.
pub(super) struct HostFunction<'a> {
    /// The imported interface; empty for a function that is imported by itself.
    pub(super) interface: &'a str,
    pub(super) name: &'a str,
    /// Allocates results for the caller.
    pub(super) realloc: Option<CoreItem<'a>>,
}

/// A function that the component exports.
#[derive(Clone)]
pub(super) struct Lifted<'a> {
    pub(super) function: CoreItem<'a>,
    pub(super) ty: Rc<FunctionType>,
    pub(super) realloc: Option<CoreItem<'a>>,
    /// Frees a result after it was read.
    pub(super) post_return: Option<CoreItem<'a>>,
}

/// The result: everything that is instantiated, in order, and the exported functions.
#[derive(Default)]
pub(super) struct Resolved<'a> {
    pub(super) instances: Vec<CoreInstance<'a>>,
    /// Functions by name; those of an exported interface too.
    pub(super) exports: Vec<(&'a str, Lifted<'a>)>,
}

/// An item of the component model.
#[derive(Clone)]
enum Item<'a> {
    Function(Function<'a>),
    Instance(ComponentSource<'a>),
    Component(Closure<'a>),
    Module(&'a [u8]),
    /// A type, which has no part in this.
    Type,
}

#[derive(Clone)]
enum Function<'a> {
    Imported { interface: &'a str, name: &'a str },
    Lifted(Rc<Lifted<'a>>),
}

#[derive(Clone)]
enum ComponentSource<'a> {
    /// An imported interface.
    Imported(&'a str),
    Items(Rc<HashMap<&'a str, Item<'a>>>),
}

/// A component with what it may refer to around it.
#[derive(Clone)]
struct Closure<'a> {
    component: Rc<Component<'a>>,
    outer: Option<Rc<Outer<'a>>>,
}

/// Modules and components that were defined around a component before it.
struct Outer<'a> {
    modules: Vec<&'a [u8]>,
    components: Vec<Closure<'a>>,
    outer: Option<Rc<Self>>,
}

/// Runs the definitions of a whole component.
pub(super) fn resolve<'a>(component: Rc<Component<'a>>) -> Result<Resolved<'a>, FlattenError> {
    let mut run = Run {
        instances: Vec::new(),
        definitions: 0,
    };
    let root = Closure {
        component,
        outer: None,
    };
    let exports = run.instantiate(&root, None)?;
    let mut functions = Vec::new();
    for (name, item) in exports {
        match item {
            Item::Function(Function::Lifted(lifted)) => {
                functions.push((name, (*lifted).clone()));
            }
            Item::Instance(_) if adapter::is_incoming_handler(name) => {
                return Err(FlattenError::IncomingHandler {
                    what: format!("exports `{name}`"),
                });
            }
            Item::Instance(ComponentSource::Items(items)) => {
                for (name, item) in items.iter() {
                    if let Item::Function(Function::Lifted(lifted)) = item {
                        functions.push((*name, (**lifted).clone()));
                    }
                }
            }
            // What is imported and exported again is no entry.
            _ => {}
        }
    }
    functions.sort_by_key(|(name, _)| *name);
    Ok(Resolved {
        instances: run.instances,
        exports: functions,
    })
}

struct Run<'a> {
    instances: Vec<CoreInstance<'a>>,
    definitions: u64,
}

/// The items that a component has defined so far, by their indices.
#[derive(Default)]
struct Scope<'a> {
    modules: Vec<&'a [u8]>,
    components: Vec<Closure<'a>>,
    core_instances: Vec<CoreSource<'a>>,
    core_functions: Vec<CoreItem<'a>>,
    core_tables: Vec<CoreItem<'a>>,
    core_memories: Vec<CoreItem<'a>>,
    core_globals: Vec<CoreItem<'a>>,
    functions: Vec<Function<'a>>,
    instances: Vec<ComponentSource<'a>>,
    exports: Vec<(&'a str, Item<'a>)>,
}

type Arguments<'a> = HashMap<&'a str, Item<'a>>;

impl<'a> Run<'a> {
    /// Runs a component's definitions; without arguments its imports are the host's. Returns its
    /// exports.
    ///
    /// The depth of this recursion is that of components inside each other.
    fn instantiate(
        &mut self,
        closure: &Closure<'a>,
        arguments: Option<&Arguments<'a>>,
    ) -> Result<Vec<(&'a str, Item<'a>)>, FlattenError> {
        let mut scope = Scope::default();
        let component = &closure.component;
        for definition in &component.definitions {
            self.definitions += 1;
            if self.definitions > DEFINITIONS_MAX {
                return Err(FlattenError::LimitExceeded {
                    what: "definitions of the component, those of inner ones each time",
                    bound: "component_definitions_max",
                    found: self.definitions,
                    max: DEFINITIONS_MAX,
                });
            }
            match definition {
                Definition::Module(module) => scope.modules.push(module),
                Definition::Component(component) => {
                    let around = Outer {
                        modules: scope.modules.clone(),
                        components: scope.components.clone(),
                        outer: closure.outer.clone(),
                    };
                    scope.components.push(Closure {
                        component: Rc::clone(component),
                        outer: Some(Rc::new(around)),
                    });
                }
                Definition::CoreInstance(instance) => {
                    let instance = self.core_instance(&scope, instance)?;
                    scope.core_instances.push(instance);
                }
                Definition::Instance(instance) => {
                    let instance = self.instance(&scope, instance)?;
                    scope.instances.push(instance);
                }
                Definition::Alias(alias) => scope.alias(alias, closure.outer.as_ref())?,
                Definition::Lift {
                    core_function,
                    options,
                    ty,
                } => {
                    let options = Options::read(&scope, options, "a function that it exports")?;
                    let lifted = Lifted {
                        function: at(&scope.core_functions, *core_function)?,
                        ty: Rc::clone(ty),
                        realloc: options.realloc,
                        post_return: options.post_return,
                    };
                    scope.functions.push(Function::Lifted(Rc::new(lifted)));
                }
                Definition::Lower { function, options } => {
                    let function = self.lower(&scope, *function, options)?;
                    scope.core_functions.push(function);
                }
                Definition::ResourceDrop { interface } => {
                    scope
                        .core_functions
                        .push(CoreItem::ResourceDrop(*interface));
                }
                Definition::Import { name, kind } => {
                    let item = match arguments {
                        Some(arguments) => arguments.get(name).cloned(),
                        None => from_host(name, *kind)?,
                    };
                    // The validator has seen an argument for every import but those of types.
                    scope.add(item.unwrap_or(Item::Type));
                }
                Definition::Export(export) => {
                    let item = scope.item(export.kind, export.index)?;
                    scope.exports.push((export.name.name, item.clone()));
                    scope.add(item);
                }
            }
        }
        Ok(scope.exports)
    }

    fn core_instance(
        &mut self,
        scope: &Scope<'a>,
        instance: &Instance<'a>,
    ) -> Result<CoreSource<'a>, FlattenError> {
        match instance {
            Instance::Instantiate { module_index, args } => {
                let mut arguments = HashMap::with_capacity(args.len());
                for argument in args {
                    arguments.insert(argument.name, at(&scope.core_instances, argument.index)?);
                }
                self.instances.push(CoreInstance {
                    module: at(&scope.modules, *module_index)?,
                    arguments,
                });
                Ok(CoreSource::Instance(self.instances.len() - 1))
            }
            Instance::FromExports(exports) => {
                let mut items = HashMap::with_capacity(exports.len());
                for export in exports {
                    items.insert(export.name, scope.core_item(export.kind, export.index)?);
                }
                Ok(CoreSource::Items(Rc::new(items)))
            }
        }
    }

    fn instance(
        &mut self,
        scope: &Scope<'a>,
        instance: &ComponentInstance<'a>,
    ) -> Result<ComponentSource<'a>, FlattenError> {
        let items = match instance {
            ComponentInstance::Instantiate {
                component_index,
                args,
            } => {
                let mut arguments = HashMap::with_capacity(args.len());
                for argument in args {
                    arguments.insert(argument.name, scope.item(argument.kind, argument.index)?);
                }
                let closure = at(&scope.components, *component_index)?;
                self.instantiate(&closure, Some(&arguments))?
            }
            ComponentInstance::FromExports(exports) => exports
                .iter()
                .map(
                    |ComponentExport {
                         name, kind, index, ..
                     }| { Ok((name.name, scope.item(*kind, *index)?)) },
                )
                .collect::<Result<_, FlattenError>>()?,
        };
        Ok(ComponentSource::Items(Rc::new(items.into_iter().collect())))
    }

    fn lower(
        &self,
        scope: &Scope<'a>,
        function: u32,
        options: &[CanonicalOption],
    ) -> Result<CoreItem<'a>, FlattenError> {
        let (interface, name) = match at(&scope.functions, function)? {
            Function::Imported { interface, name } => (interface, name),
            Function::Lifted(lifted) => {
                return Err(FlattenError::Composed {
                    callee: match lifted.function {
                        CoreItem::Export { instance, name } => {
                            format!("core instance {instance}, `{name}`")
                        }
                        _ => "another component".to_owned(),
                    },
                });
            }
        };
        let shown = match interface {
            "" => format!("import `{name}`"),
            _ => format!("import `{interface}#{name}`"),
        };
        let options = Options::read(scope, options, &shown)?;
        Ok(CoreItem::Host(Rc::new(HostFunction {
            interface,
            name,
            realloc: options.realloc,
        })))
    }
}

/// The item that a host gives for an import; types have none.
fn from_host<'a>(
    name: &'a str,
    kind: ComponentExternalKind,
) -> Result<Option<Item<'a>>, FlattenError> {
    match kind {
        ComponentExternalKind::Instance => {
            Ok(Some(Item::Instance(ComponentSource::Imported(name))))
        }
        ComponentExternalKind::Func => Ok(Some(Item::Function(Function::Imported {
            interface: "",
            name,
        }))),
        ComponentExternalKind::Type => Ok(None),
        ComponentExternalKind::Module
        | ComponentExternalKind::Component
        | ComponentExternalKind::Value => Err(FlattenError::Unsupported {
            what: format!("an import of a {}, `{name}`", kind.desc()),
            remedy: "put it into the component",
        }),
    }
}

/// Options of a lifted or lowered function that matter here.
struct Options<'a> {
    realloc: Option<CoreItem<'a>>,
    post_return: Option<CoreItem<'a>>,
}

impl<'a> Options<'a> {
    fn read(
        scope: &Scope<'a>,
        options: &[CanonicalOption],
        shown: &str,
    ) -> Result<Self, FlattenError> {
        let mut read = Self {
            realloc: None,
            post_return: None,
        };
        for option in options {
            match *option {
                // There is only one memory in the end.
                CanonicalOption::UTF8
                | CanonicalOption::Memory(_)
                | CanonicalOption::CoreType(_) => {}
                CanonicalOption::Realloc(index) => {
                    read.realloc = Some(at(&scope.core_functions, index)?);
                }
                CanonicalOption::PostReturn(index) => {
                    read.post_return = Some(at(&scope.core_functions, index)?);
                }
                CanonicalOption::UTF16 | CanonicalOption::CompactUTF16 => {
                    return Err(FlattenError::Unsupported {
                        what: format!("strings in UTF-16, in {shown}"),
                        remedy: "build it with strings in UTF-8",
                    });
                }
                CanonicalOption::Async | CanonicalOption::Callback(_) => {
                    return Err(FlattenError::Asynchronous {
                        what: shown.to_owned(),
                    });
                }
                CanonicalOption::Gc => {
                    return Err(FlattenError::Unsupported {
                        what: format!("references for values, in {shown}"),
                        remedy: "build it for linear memory",
                    });
                }
            }
        }
        Ok(read)
    }
}

impl<'a> Scope<'a> {
    /// Gives an item the next index of its kind.
    fn add(&mut self, item: Item<'a>) {
        match item {
            Item::Function(function) => self.functions.push(function),
            Item::Instance(instance) => self.instances.push(instance),
            Item::Component(component) => self.components.push(component),
            Item::Module(module) => self.modules.push(module),
            Item::Type => {}
        }
    }

    fn item(&self, kind: ComponentExternalKind, index: u32) -> Result<Item<'a>, FlattenError> {
        Ok(match kind {
            ComponentExternalKind::Func => Item::Function(at(&self.functions, index)?),
            ComponentExternalKind::Instance => Item::Instance(at(&self.instances, index)?),
            ComponentExternalKind::Component => Item::Component(at(&self.components, index)?),
            ComponentExternalKind::Module => Item::Module(at(&self.modules, index)?),
            ComponentExternalKind::Type => Item::Type,
            ComponentExternalKind::Value => return Err(unsupported_value()),
        })
    }

    fn core_item(&self, kind: ExternalKind, index: u32) -> Result<CoreItem<'a>, FlattenError> {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => at(&self.core_functions, index),
            ExternalKind::Table => at(&self.core_tables, index),
            ExternalKind::Memory => at(&self.core_memories, index),
            ExternalKind::Global => at(&self.core_globals, index),
            ExternalKind::Tag => Err(unsupported_tag()),
        }
    }

    fn alias(
        &mut self,
        alias: &ComponentAlias<'a>,
        outer: Option<&Rc<Outer<'a>>>,
    ) -> Result<(), FlattenError> {
        match *alias {
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index,
                name,
            } => {
                let source: CoreSource<'a> = at(&self.core_instances, instance_index)?;
                let item = source.item(name).ok_or_else(broken)?;
                match kind {
                    ExternalKind::Func | ExternalKind::FuncExact => self.core_functions.push(item),
                    ExternalKind::Table => self.core_tables.push(item),
                    ExternalKind::Memory => self.core_memories.push(item),
                    ExternalKind::Global => self.core_globals.push(item),
                    ExternalKind::Tag => return Err(unsupported_tag()),
                }
            }
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => {
                let item = match at(&self.instances, instance_index)? {
                    ComponentSource::Items(items) => items.get(name).cloned().ok_or_else(broken)?,
                    ComponentSource::Imported(interface) => match kind {
                        ComponentExternalKind::Func => {
                            Item::Function(Function::Imported { interface, name })
                        }
                        ComponentExternalKind::Type => Item::Type,
                        _ => {
                            return Err(FlattenError::Unsupported {
                                what: format!("a {} of the import `{interface}`", kind.desc()),
                                remedy: "import interfaces of functions",
                            });
                        }
                    },
                };
                self.add(item);
            }
            ComponentAlias::Outer { kind, count, index } => {
                // Zero is this component itself.
                let item = match (kind, count) {
                    (ComponentOuterAliasKind::CoreModule, 0) => {
                        Item::Module(at(&self.modules, index)?)
                    }
                    (ComponentOuterAliasKind::Component, 0) => {
                        Item::Component(at(&self.components, index)?)
                    }
                    (ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type, _) => {
                        Item::Type
                    }
                    (kind, count) => {
                        let mut around = outer.ok_or_else(broken)?;
                        for _ in 1..count {
                            around = around.outer.as_ref().ok_or_else(broken)?;
                        }
                        if kind == ComponentOuterAliasKind::CoreModule {
                            Item::Module(at(&around.modules, index)?)
                        } else {
                            Item::Component(at(&around.components, index)?)
                        }
                    }
                };
                self.add(item);
            }
        }
        Ok(())
    }
}

fn at<T: Clone>(all: &[T], index: u32) -> Result<T, FlattenError> {
    all.get(index as usize).cloned().ok_or_else(broken)
}

/// An index or a name that the validator should have refused.
pub(super) fn broken() -> FlattenError {
    FlattenError::Malformed {
        message: "a definition refers to an item that is not there".to_owned(),
        offset: 0,
    }
}

fn unsupported_tag() -> FlattenError {
    FlattenError::Unsupported {
        what: "tags of exceptions".to_owned(),
        remedy: "build it without exceptions",
    }
}

fn unsupported_value() -> FlattenError {
    FlattenError::Unsupported {
        what: "values as definitions".to_owned(),
        remedy: "export functions",
    }
}
