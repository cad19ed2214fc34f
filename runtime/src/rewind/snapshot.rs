//! The snapshot of an instance before its first call, and instances that return to it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ferrite_cache::{
    Image as StoredImage, ImageValue, RewindPlan, VerifiedArtifact, WASM_PAGE_BYTES, engine_base,
};
use memmap2::MmapOptions;
use smallvec::SmallVec;
use wasmtime::{AsContextMut, ExternType, Global, Instance, Memory, Module, Val, ValType};

use super::arena::{Arena, MemoryHandle};
use super::exports::{RewindExports, global_name};
use super::image::{Image, ImageError};
use super::parked::{MappedImage, Wanted, WeakImage};
use super::slot::MemorySlot;
use super::{FEW_PAGES, REWINDS_MAX, ZEROS};

/// Number of instances discarded in a row, each for the same cause, after which a module is treated
/// differently.
const STRIKES_MAX: u32 = 8;

/// The state of a module's instance before any call, shared by all of its instances.
#[derive(Debug)]
pub struct InstanceSnapshot {
    /// The memory's contents, if the module has a memory.
    image: Option<Image>,
    /// Values of the globals that calls can change, in the order of `globals`.
    globals: Box<[Val]>,
    /// Number of instances that wrote too many pages since the last rewound one.
    overflowed: AtomicU32,
}

/// Reason why an instance cannot be rewound.
#[derive(Debug, thiserror::Error)]
pub enum RewindError {
    /// The memory does not belong to the arena.
    #[error("the instance's memory does not come from the arena")]
    ForeignMemory,
    /// The memory cannot be reset to the image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Setting a global or the memory failed.
    #[error("the instance cannot be set back: {0}")]
    Set(String),
}

/// Reason why the image of an artifact cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredImageError {
    /// The file cannot be opened a second time, or mapped.
    #[error("the image cannot be mapped")]
    Read(#[source] io::Error),
    /// It is no image, or not one for this code.
    #[error(transparent)]
    Image(#[from] ferrite_cache::ImageError),
    /// The manifest does not describe it.
    #[error("its manifest describes none")]
    Undescribed,
    /// The code has no such global.
    #[error("the engine does not export {name}, which its manifest promises")]
    NoGlobal {
        /// The export.
        name: String,
    },
    /// A global has another type.
    #[error("the image gives global {number} a value of another type than it has")]
    Type {
        /// The number of the global.
        number: u32,
    },
}

impl From<wasmtime::Error> for RewindError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Set(format!("{error:#}"))
    }
}

impl From<io::Error> for RewindError {
    fn from(error: io::Error) -> Self {
        Self::Image(ImageError::Map(error))
    }
}

/// The result of rewinding an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewound {
    /// The instance is as new.
    Ready,
    /// The instance must be dropped: it wrote more pages than can be recorded, it is to forget pages
    /// that it wrote long ago, or the system refused.
    Discard,
}

/// Method to undo an instance's writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    /// Written pages are recorded and copied back.
    Copy,
    /// The image is mapped again: for modules whose calls write more pages than can be recorded.
    Map,
}

/// An instance that can be rewound.
#[derive(Debug)]
pub struct Rewinder {
    snapshot: Arc<InstanceSnapshot>,
    memory: Option<Memory>,
    handle: Option<MemoryHandle>,
    undo: Undo,
    globals: SmallVec<[Global; 4]>,
    /// Number of pages in the image when this instance last added to it.
    taught: usize,
    /// Most pages of growth that a call wrote without their being recorded.
    growth_pages: usize,
    /// Calls since more pages are copied than a few.
    long_rewinds: u32,
}

impl InstanceSnapshot {
    /// Ends a series of discarded instances. Writes only if there is one, so that threads that
    /// rewind in parallel share no cache line that changes.
    fn note_rewound(strikes: &AtomicU32) {
        if (1..STRIKES_MAX).contains(&strikes.load(Ordering::Relaxed)) {
            strikes.store(0, Ordering::Relaxed);
        }
    }

    /// Takes a snapshot of an initialised instance before its first call.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory for the image.
    pub fn capture(
        mut store: impl AsContextMut,
        instance: &Instance,
        exports: &RewindExports,
    ) -> Result<Arc<Self>, RewindError> {
        let memory = exports.memory(&mut store, instance);
        let globals: SmallVec<[Global; 4]> = exports.globals(&mut store, instance).collect();
        let globals = globals
            .iter()
            .map(|global| global.get(&mut store))
            .collect();
        let image = memory
            .map(|memory| Image::capture(memory.data(&store)))
            .transpose()?;
        Ok(Arc::new(Self {
            image,
            globals,
            overflowed: AtomicU32::new(0),
        }))
    }

    /// Takes over the image that came with an artifact: the state of an instance before any code ran.
    ///
    /// # Errors
    ///
    /// The image does not fit the module that its code became.
    pub fn stored(
        artifact: &VerifiedArtifact,
        module: &Module,
        plan: &RewindPlan,
    ) -> Result<Arc<Self>, StoredImageError> {
        let manifest = artifact.manifest();
        let (Some(info), Some(file)) = (&manifest.image, artifact.image()) else {
            return Err(StoredImageError::Undescribed);
        };
        let most = StoredImage::contents_start_max(plan.globals);
        let most = usize::try_from(info.len).map_or(most, |len| len.min(most));
        let mut head = vec![0; most];
        file.read_exact_at(&mut head, 0)
            .map_err(StoredImageError::Read)?;
        let stored = StoredImage::decode(&head, info.len)?;
        stored.check(info, &manifest.module)?;
        let mut values = stored.globals.iter().copied().peekable();
        let globals = (0..plan.globals)
            .map(|number| {
                let name = global_name(number);
                let Some(ExternType::Global(ty)) = module.get_export(&name) else {
                    return Err(StoredImageError::NoGlobal { name });
                };
                let zero = zero(ty.content());
                let value = values.next_if(|(of, _)| *of == number);
                let value = value.map_or(zero, |(_, value)| Some(val(value)));
                value
                    .filter(|value| zero.is_some_and(|zero| same_type(&zero, value)))
                    .ok_or(StoredImageError::Type { number })
            })
            .collect::<Result<_, _>>()?;
        let image = if stored.over_base {
            over_base(&stored, artifact, file, info.len)?
        } else {
            let len = memory_len(&stored);
            let file = file.try_clone().map_err(StoredImageError::Read)?;
            Image::stored(file, stored.contents_start() as u64, &stored.runs, len)
                .map_err(StoredImageError::Read)?
        };
        Ok(Arc::new(Self {
            image: Some(image),
            globals,
            overflowed: AtomicU32::new(0),
        }))
    }

    /// Says that the instance which is made next on this thread will [begin](Self::begin) in this state: it may get a
    /// memory that maps the image already.
    pub(crate) fn want(self: &Arc<Self>) -> Wanted {
        Wanted::new(self)
    }

    /// Brings a new instance to this state, without the means to do so again. The image is mapped privately if
    /// the memory belongs to `arena`; else it is copied.
    ///
    /// # Errors
    ///
    /// Fails if the memory cannot be set up; the instance must be dropped then.
    pub fn begin(
        self: &Arc<Self>,
        mut store: impl AsContextMut,
        instance: &Instance,
        exports: &RewindExports,
        arena: Option<&Arc<Arena>>,
    ) -> Result<(), RewindError> {
        if let (Some(memory), Some(image)) = (exports.memory(&mut store, instance), &self.image) {
            grow_to(&mut store, memory, image)?;
            let handle = arena.and_then(|arena| arena.find(memory.data_ptr(&store)));
            let this: WeakImage = Arc::<Self>::downgrade(self);
            match handle {
                Some(handle) if handle.shows(&this) => {}
                Some(handle) => {
                    if image.show_writable(&handle)? {
                        handle.note_shown(this);
                    }
                }
                None => {
                    for (start, contents) in image.parts() {
                        memory
                            .write(&mut store, start, contents)
                            .map_err(|error| RewindError::Set(error.to_string()))?;
                    }
                }
            }
        }
        let globals = exports.globals(&mut store, instance);
        let globals: SmallVec<[Global; 4]> = globals.collect();
        set_globals(store, &globals, &self.globals)
    }

    /// Returns true if calls of this module usually write more pages than can be recorded, so that
    /// its image is mapped again after each.
    #[must_use]
    pub fn mapped_anew(&self) -> bool {
        self.overflowed.load(Ordering::Relaxed) >= STRIKES_MAX
    }

    /// Returns the number of pages that are writable from the start in new instances.
    #[must_use]
    pub fn learned_pages(&self) -> usize {
        self.image.as_ref().map_or(0, Image::learned)
    }

    /// Brings a new instance of the same module to this state and returns the handle to do it
    /// again.
    ///
    /// # Errors
    ///
    /// Fails if the instance's memory cannot be set up; the instance is then in no defined state
    /// and must be dropped.
    pub fn attach(
        self: &Arc<Self>,
        mut store: impl AsContextMut,
        instance: &Instance,
        exports: &RewindExports,
        arena: &Arc<Arena>,
    ) -> Result<Rewinder, RewindError> {
        let mut undo = if self.mapped_anew() {
            Undo::Map
        } else {
            Undo::Copy
        };
        let globals = exports.globals(&mut store, instance).collect();
        let memory = exports.memory(&mut store, instance);
        let handle = match (memory, &self.image) {
            (Some(memory), Some(image)) => {
                // Initialisation may have grown the memory of the image's instance.
                grow_to(&mut store, memory, image)?;
                let handle = arena
                    .find(memory.data_ptr(&store))
                    .ok_or(RewindError::ForeignMemory)?;
                match undo {
                    Undo::Copy if image.show(&handle)? => {}
                    _ => {
                        undo = Undo::Map;
                        let _ = image.show_writable(&handle)?;
                    }
                }
                Some(handle)
            }
            _ => None,
        };
        let rewinder = Rewinder {
            snapshot: Arc::clone(self),
            memory,
            handle,
            undo,
            globals,
            taught: self.learned_pages(),
            growth_pages: 0,
            long_rewinds: 0,
        };
        rewinder.restore_globals(store)?;
        Ok(rewinder)
    }
}

/// Returns the size of an image's memory, in bytes.
fn memory_len(stored: &StoredImage) -> usize {
    usize::try_from(u64::from(stored.memory_pages) * WASM_PAGE_BYTES).unwrap_or(usize::MAX)
}

/// Makes the image of a memory that changes its engine's base. Instances map it as they map one that was captured.
fn over_base(
    stored: &StoredImage,
    artifact: &VerifiedArtifact,
    file: &File,
    image_len: u64,
) -> Result<Image, StoredImageError> {
    let base =
        engine_base::read(artifact.file(), artifact.len()).map_err(StoredImageError::Read)?;
    let start = stored.contents_start() as u64;
    let len = usize::try_from(image_len - start).unwrap_or(usize::MAX);
    let mut patches = vec![0; len];
    file.read_exact_at(&mut patches, start)
        .map_err(StoredImageError::Read)?;
    // A mapping takes memory for those pages alone that are written.
    let mut memory = MmapOptions::new()
        .len(memory_len(stored))
        .no_reserve_swap()
        .map_anon()
        .map_err(StoredImageError::Read)?;
    stored.fill(&patches, base.as_deref(), &mut memory)?;
    Image::capture(&memory).map_err(StoredImageError::Read)
}

impl MappedImage for InstanceSnapshot {
    fn page(&self, offset: usize) -> &[u8] {
        self.image
            .as_ref()
            .map_or(&ZEROS, |image| image.page(offset))
    }
}

impl Rewinder {
    /// Brings the instance back to its pristine state after a call that returned normally.
    ///
    /// Costs a copy of 4 KiB for each page that calls of the instance have ever written, and a
    /// store for each global. If the call grew the memory, it also costs a system call and a look at
    /// the first pages of growth. If calls write more pages than can be recorded, it costs a system
    /// call and later a fault for each page.
    pub fn rewind(&mut self, mut store: impl AsContextMut) -> Rewound {
        if self.restore_memory(&mut store).is_some() && self.restore_globals(&mut store).is_ok() {
            Rewound::Ready
        } else {
            Rewound::Discard
        }
    }

    /// Resets the memory. Returns `None` if the instance must be dropped.
    fn restore_memory(&mut self, mut store: impl AsContextMut) -> Option<()> {
        let snapshot = &self.snapshot;
        let (Some(memory), Some(handle), Some(image)) =
            (&self.memory, &self.handle, &snapshot.image)
        else {
            return Some(());
        };
        let slot = handle.slot()?;
        let grew = slot.size() != image.len();
        match self.undo {
            Undo::Map => {
                let _ = image.show_writable(handle).ok()?;
            }
            Undo::Copy if slot.overflowed() => {
                snapshot.overflowed.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Undo::Copy => {
                let written = image.restore(handle, slot).ok()?;
                self.growth_pages = self.growth_pages.max(written);
                if slot.learned() > self.taught {
                    image.teach(slot);
                    self.taught = slot.learned();
                }
                InstanceSnapshot::note_rewound(&snapshot.overflowed);
                if slot.learned() > FEW_PAGES {
                    self.long_rewinds += 1;
                    if self.long_rewinds >= REWINDS_MAX {
                        image.forget();
                        return None;
                    }
                }
            }
        }
        if grew {
            // To grow by nothing makes wasmtime read the memory's size again, which is less now.
            memory.grow(&mut store, 0).ok()?;
        }
        (memory.data_size(&store) == image.len()).then_some(())
    }

    fn restore_globals(&self, store: impl AsContextMut) -> Result<(), RewindError> {
        set_globals(store, &self.globals, &self.snapshot.globals)
    }

    /// Describes the difference between instance and snapshot, if there is one; for tests and for
    /// hosts that pay for certainty.
    pub fn difference(&self, mut store: impl AsContextMut) -> Option<String> {
        if let (Some(memory), Some(image)) = (&self.memory, &self.snapshot.image) {
            let now = memory.data(&store);
            if now.len() != image.len() {
                return Some(format!(
                    "the memory has {} bytes, not {}",
                    now.len(),
                    image.len()
                ));
            }
            if let Some((at, then)) = image.difference(now) {
                return Some(format!(
                    "the byte at {at:#x} (page {}) is {:#04x}, not {then:#04x}",
                    at as u64 / WASM_PAGE_BYTES,
                    now[at]
                ));
            }
        }
        for (index, (global, then)) in self.globals.iter().zip(&*self.snapshot.globals).enumerate()
        {
            let now = global.get(&mut store);
            if bits(&now) != bits(then) {
                return Some(format!("global {index} is {now:?}, not {then:?}"));
            }
        }
        None
    }

    /// Returns the bytes of memory that a call begins with.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.snapshot.image.as_ref().map_or(0, Image::len) as u64
    }

    /// Returns the number of pages that this instance has for itself.
    #[must_use]
    pub fn learned_pages(&self) -> usize {
        let slot = self.handle.as_ref().and_then(MemoryHandle::slot);
        slot.map_or(0, MemorySlot::learned) + self.growth_pages
    }
}

/// Grows a memory to the size that an image has.
fn grow_to(mut store: impl AsContextMut, memory: Memory, image: &Image) -> Result<(), RewindError> {
    let missing = image.wasm_pages().saturating_sub(memory.size(&store));
    if missing > 0 {
        memory
            .grow(&mut store, missing)
            .map_err(|error| RewindError::Set(format!("{error:#}")))?;
    }
    Ok(())
}

fn set_globals(
    mut store: impl AsContextMut,
    globals: &[Global],
    values: &[Val],
) -> Result<(), RewindError> {
    for (global, value) in globals.iter().zip(values) {
        global
            .set(&mut store, *value)
            .map_err(|error| RewindError::Set(format!("{error:#}")))?;
    }
    Ok(())
}

/// Returns a value of an image as one of wasmtime's.
fn val(value: ImageValue) -> Val {
    match value {
        ImageValue::I32(bits) => Val::I32(bits.cast_signed()),
        ImageValue::I64(bits) => Val::I64(bits.cast_signed()),
        ImageValue::F32(bits) => Val::F32(bits),
        ImageValue::F64(bits) => Val::F64(bits),
        ImageValue::V128(bits) => Val::V128(bits.into()),
    }
}

/// Returns the zero of a type of numbers.
fn zero(ty: &ValType) -> Option<Val> {
    match ty {
        ValType::I32 => Some(Val::I32(0)),
        ValType::I64 => Some(Val::I64(0)),
        ValType::F32 => Some(Val::F32(0)),
        ValType::F64 => Some(Val::F64(0)),
        ValType::V128 => Some(Val::V128(0.into())),
        ValType::Ref(_) => None,
    }
}

fn same_type(one: &Val, other: &Val) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Returns a number as bits, because a NaN does not equal itself as a float.
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
