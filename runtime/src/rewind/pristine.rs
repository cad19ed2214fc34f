//! A module's pristine state, and instances that return to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ferrite_cache::RewindPlan;
use smallvec::SmallVec;
use wasmtime::{AsContextMut, Global, Instance, Memory, Val};

use super::WASM_PAGE;
use super::arena::{Arena, MemoryHandle};
use super::image::{Image, ImageError};

/// Discarded instances in a row after which a module is not rewound any more.
const STRIKES_MAX: u32 = 8;

/// Names of the exports that the compiler's rewriting adds.
const PAGES: &str = "__ferrite_pages";
const PAGES_REFUSED: &str = "__ferrite_pages_refused";

/// A module's state before any call, shared by its instances.
#[derive(Debug)]
pub struct Pristine {
    /// The memory's contents, if the module has a memory.
    image: Option<Image>,
    /// Values of the globals that calls can change, in the order of `globals`.
    globals: Box<[Val]>,
    /// Instances discarded since one was last rewound.
    strikes: AtomicU32,
}

/// Why an instance cannot be rewound.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    /// The artifact lacks what its manifest promises.
    #[error("the artifact has no export {name}, which rewinding needs; compile it again")]
    MissingExport {
        /// The export.
        name: String,
    },
    /// The memory is not one of the arena's.
    #[error("the instance's memory does not come from the arena")]
    ForeignMemory,
    /// The memory cannot be made pristine.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A global or the memory could not be set.
    #[error("the instance cannot be set back: {0}")]
    Set(String),
}

impl From<io::Error> for RewindError {
    fn from(error: io::Error) -> Self {
        Self::Image(ImageError::Map(error))
    }
}

/// What became of an instance after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewound {
    /// It is as new.
    Ready,
    /// It must be dropped: it grew past its headroom or wrote more pages than can be noted.
    Discard,
}

/// An instance that can be rewound.
#[derive(Debug)]
pub struct Rewinder {
    pristine: Arc<Pristine>,
    memory: Option<(Memory, MemoryHandle)>,
    globals: SmallVec<[Global; 4]>,
    /// Pages that the image knew when the instance last taught it.
    taught: usize,
}

impl Pristine {
    /// Takes the state of an instance that has been initialised and not been called.
    ///
    /// # Errors
    ///
    /// When the artifact is not what `plan` says, or there is no memory for the image.
    pub fn capture(
        mut store: impl AsContextMut,
        instance: &Instance,
        memory: Option<Memory>,
        plan: &RewindPlan,
    ) -> Result<Arc<Self>, RewindError> {
        let globals = globals(&mut store, instance, plan)?
            .iter()
            .map(|global| global.get(&mut store))
            .collect();
        let image = memory
            .map(|memory| Image::capture(memory.data(&store)))
            .transpose()?;
        Ok(Arc::new(Self {
            image,
            globals,
            strikes: AtomicU32::new(0),
        }))
    }

    /// Whether calls of this module leave so much behind that rewinding does not pay.
    #[must_use]
    pub fn demoted(&self) -> bool {
        self.strikes.load(Ordering::Relaxed) >= STRIKES_MAX
    }

    /// Pages that new instances start with as writable.
    #[must_use]
    pub fn learned_pages(&self) -> usize {
        self.image.as_ref().map_or(0, Image::learned)
    }

    /// Brings a new instance of the same module to this state and keeps what is needed to do it
    /// again.
    ///
    /// # Errors
    ///
    /// When the instance's memory cannot be set up; the instance is in no defined state then and
    /// must be dropped.
    pub fn attach(
        self: &Arc<Self>,
        mut store: impl AsContextMut,
        instance: &Instance,
        memory: Option<Memory>,
        plan: &RewindPlan,
        arena: &Arc<Arena>,
    ) -> Result<Rewinder, RewindError> {
        let globals = globals(&mut store, instance, plan)?;
        let memory = match (memory, &self.image) {
            (Some(memory), Some(image)) => {
                // Initialisation may have grown the memory that the image was taken of.
                let missing = image.wasm_pages().saturating_sub(memory.size(&store));
                if missing > 0 {
                    memory
                        .grow(&mut store, missing)
                        .map_err(|error| RewindError::Set(format!("{error:#}")))?;
                }
                let handle = arena
                    .find(memory.data_ptr(&store))
                    .ok_or(RewindError::ForeignMemory)?;
                image.show(&handle)?;
                Some((memory, handle))
            }
            _ => None,
        };
        let rewinder = Rewinder {
            pristine: Arc::clone(self),
            memory,
            globals,
            taught: self.learned_pages(),
        };
        rewinder.restore_globals(store)?;
        Ok(rewinder)
    }
}

impl Rewinder {
    /// Brings the instance back to its pristine state after a call that ended well.
    ///
    /// Costs a copy of 4 KiB for each page that calls of the instance have ever written, and a
    /// store for each global.
    pub fn rewind(&mut self, mut store: impl AsContextMut) -> Rewound {
        if self.try_rewind(&mut store) {
            self.pristine.strikes.store(0, Ordering::Relaxed);
            return Rewound::Ready;
        }
        self.pristine.strikes.fetch_add(1, Ordering::Relaxed);
        Rewound::Discard
    }

    fn try_rewind(&mut self, mut store: impl AsContextMut) -> bool {
        if let (Some((memory, handle)), Some(image)) = (&self.memory, &self.pristine.image) {
            let Some(slot) = handle.slot() else {
                return false;
            };
            let grown = memory.data_size(&store) != image.len();
            if grown || slot.overflowed() {
                return false;
            }
            image.restore(handle, slot);
            if slot.learned() > self.taught {
                image.teach(slot);
                self.taught = slot.learned();
            }
        }
        self.restore_globals(&mut store).is_ok()
    }

    fn restore_globals(&self, mut store: impl AsContextMut) -> Result<(), RewindError> {
        for (global, value) in self.globals.iter().zip(&*self.pristine.globals) {
            global
                .set(&mut store, *value)
                .map_err(|error| RewindError::Set(format!("{error:#}")))?;
        }
        Ok(())
    }

    /// Says where the instance differs from its pristine state; for tests and for hosts that pay
    /// for certainty.
    pub fn difference(&self, mut store: impl AsContextMut) -> Option<String> {
        if let (Some((memory, _)), Some(image)) = (&self.memory, &self.pristine.image) {
            let (now, then) = (memory.data(&store), image.contents());
            if now.len() != then.len() {
                return Some(format!(
                    "the memory has {} bytes, not {}",
                    now.len(),
                    then.len()
                ));
            }
            if now != then {
                let at = now.iter().zip(then).position(|(now, then)| now != then);
                let at = at.unwrap_or_default();
                return Some(format!(
                    "the byte at {at:#x} (page {}) is {:#04x}, not {:#04x}",
                    at as u64 / WASM_PAGE,
                    now[at],
                    then[at]
                ));
            }
        }
        for (index, (global, then)) in self.globals.iter().zip(&*self.pristine.globals).enumerate()
        {
            let now = global.get(&mut store);
            if bits(&now) != bits(then) {
                return Some(format!("global {index} is {now:?}, not {then:?}"));
            }
        }
        None
    }

    /// Pages that this instance copies back after a call.
    #[must_use]
    pub fn learned_pages(&self) -> usize {
        self.memory
            .as_ref()
            .and_then(|(_, handle)| handle.slot())
            .map_or(0, super::slot::Slot::learned)
    }
}

/// A number as bits: floats that are not numbers are equal only to themselves so.
fn bits(value: &Val) -> Option<u128> {
    match value {
        Val::I32(value) => Some(u128::from(value.cast_unsigned())),
        Val::I64(value) => Some(u128::from(value.cast_unsigned())),
        Val::F32(bits) => Some(u128::from(*bits)),
        Val::F64(bits) => Some(u128::from(*bits)),
        Val::V128(value) => Some(value.as_u128()),
        _ => None,
    }
}

/// The globals that calls can change.
fn globals(
    mut store: impl AsContextMut,
    instance: &Instance,
    plan: &RewindPlan,
) -> Result<SmallVec<[Global; 4]>, RewindError> {
    let own = (0..plan.globals).map(|ordinal| format!("__ferrite_global_{ordinal}"));
    let growth = [PAGES, PAGES_REFUSED]
        .into_iter()
        .filter(|_| plan.grows)
        .map(str::to_owned);
    own.chain(growth)
        .map(|name| {
            instance
                .get_global(&mut store, &name)
                .ok_or(RewindError::MissingExport { name })
        })
        .collect()
}
