//! Rewinding at its lowest level: memories, faults, images and globals, without the call path.

use std::sync::Arc;

use ferrite_cache::{Profile, Rewind};
use ferrite_compiler::rewrite::rewrite;
use ferrite_runtime::rewind::arena::{Arena, ArenaMemories, ArenaOptions};
use ferrite_runtime::rewind::exports::RewindExports;
use ferrite_runtime::rewind::snapshot::{InstanceSnapshot, Rewinder, Rewound};
use wasmtime::{
    Engine, Instance, InstanceAllocationStrategy, Memory, Module, Store, Trap, TypedFunc, Val,
    WasmParams, WasmResults,
};

const GUEST: &str = r#"(module
    (memory (export "memory") 2)
    (data (i32.const 100) "hello")
    (global $g (mut i64) (i64.const 42))
    (func (export "swap") (param i32 i32) (result i32)
        (global.set $g (i64.add (global.get $g) (i64.const 1)))
        (i32.load (local.get 0))
        (i32.store (local.get 0) (local.get 1)))
    (func (export "fill") (param i32 i32)
        (memory.fill (local.get 0) (i32.const 7) (local.get 1)))
    (func (export "touch") (param i32) (local i32)
        (loop
            (i32.store8 (i32.mul (local.get 1) (i32.const 4096)) (i32.const 1))
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get 1) (local.get 0)))))
    (func (export "beyond") (drop (i32.load (i32.const -8))))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) memory.size)
    (func (export "global") (result i64) (global.get $g)))"#;

/// An engine whose memories come from an arena, and the guest compiled for it.
struct House {
    engine: Engine,
    arena: Arc<Arena>,
    module: Module,
    exports: RewindExports,
}

impl House {
    fn new(memories_max: usize) -> Self {
        Self::of(GUEST, memories_max)
    }

    /// With the guest in a memory of 48 pages, which are 768 of the host's.
    fn wide(memories_max: usize) -> Self {
        let guest = GUEST.replacen("\"memory\") 2", "\"memory\") 48", 1);
        Self::of(&guest, memories_max)
    }

    fn of(guest: &str, memories_max: usize) -> Self {
        let mut config = Profile::native().compiler_config();
        // The first engine installs wasmtime's signal handler; the arena's must come before it.
        let first = Engine::new(&config).expect("an engine can be made");
        let arena = Arena::new(ArenaOptions {
            memories_max,
            reservation_bytes: 4 << 30,
            guard_bytes: 32 << 20,
        })
        .expect("there is address space");
        drop(first);
        config.with_host_memory(Arc::new(ArenaMemories(Arc::clone(&arena))));
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        let engine = Engine::new(&config).expect("an engine can be made");
        let source = ferrite_compiler::to_wasm(guest.as_bytes(), &Default::default())
            .expect("the guest is a module");
        let rewritten = rewrite(&source).expect("the guest is valid");
        let Rewind::Allowed(plan) = rewritten.rewind else {
            panic!("the guest can be rewound");
        };
        let module = Module::new(&engine, rewritten.wasm).expect("the guest compiles");
        let exports = RewindExports::find(&module, &plan).expect("the pass added them");
        Self {
            engine,
            arena,
            module,
            exports,
        }
    }

    fn instance(&self) -> Guest {
        let mut store = Store::new(&self.engine, ());
        let instance = Instance::new(&mut store, &self.module, &[]).expect("it instantiates");
        Guest { store, instance }
    }

    fn snapshot(&self) -> Arc<InstanceSnapshot> {
        let Guest {
            mut store,
            instance,
        } = self.instance();
        InstanceSnapshot::capture(&mut store, &instance, &self.exports).expect("an image")
    }

    fn attached(&self, snapshot: &Arc<InstanceSnapshot>) -> (Guest, Rewinder) {
        let mut guest = self.instance();
        let rewinder = snapshot
            .attach(
                &mut guest.store,
                &guest.instance,
                &self.exports,
                &self.arena,
            )
            .expect("the instance can be rewound");
        (guest, rewinder)
    }
}

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn func<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> TypedFunc<P, R> {
        self.instance
            .get_typed_func(&mut self.store, name)
            .expect("the guest has this function")
    }

    fn memory(&mut self) -> Memory {
        self.instance
            .get_memory(&mut self.store, "memory")
            .expect("the memory is exported")
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, params: P) -> R {
        let func = self.func::<P, R>(name);
        func.call(&mut self.store, params).expect("no trap")
    }
}

#[test]
fn every_call_sees_the_pristine_state() {
    let house = House::new(4);
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    assert_eq!(rewinder.difference(&mut guest.store), None);
    for round in 0..5 {
        // Within a page, across two, in the data segment, and by a bulk operation over several.
        assert_eq!(guest.call::<_, i32>("swap", (8192, 77)), 0);
        assert_eq!(guest.call::<_, i32>("swap", (4094, -1)), 0);
        assert_eq!(
            guest.call::<_, i32>("swap", (100, 0)),
            i32::from_le_bytes(*b"hell")
        );
        guest.call::<_, ()>("fill", (20_000, 20_000));
        assert_eq!(guest.call::<_, i64>("global", ()), 45);
        assert_eq!(guest.call::<_, i32>("grow", 3), 2);
        assert_eq!(guest.call::<_, i32>("swap", (2 * 65_536, 1)), 0);
        assert_eq!(guest.call::<_, i32>("swap", (5 * 65_536 - 4, 1)), 0);
        assert_eq!(guest.call::<_, i32>("size", ()), 5);
        assert!(rewinder.difference(&mut guest.store).is_some());
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
        assert_eq!(rewinder.difference(&mut guest.store), None, "round {round}");
        assert_eq!(guest.call::<_, i32>("size", ()), 2);
        assert_eq!(guest.memory().data_size(&guest.store), 2 * 65_536);
    }
}

#[test]
fn writes_of_the_host_are_undone_too() {
    let house = House::new(4);
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    let memory = guest.memory();
    memory
        .write(&mut guest.store, 65_530, b"across the pages")
        .expect("it fits");
    let difference = rewinder.difference(&mut guest.store);
    assert!(difference.is_some_and(|text| text.contains("0xfffa")));
    assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
    assert_eq!(rewinder.difference(&mut guest.store), None);
}

/// Restores the state that a reset would leave if it missed a page or a global.
#[test]
fn a_reset_that_forgets_something_is_noticed() {
    let house = House::new(4);
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    let memory = guest.memory();
    let pages = [0, 1, 5, 17, 31];
    for page in pages {
        assert_eq!(guest.call::<_, i32>("swap", (page * 4096 + 12, 99)), 0);
    }
    let dirty = memory.data(&guest.store).to_vec();
    for page in pages {
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
        let bytes = page as usize * 4096..(page as usize + 1) * 4096;
        memory
            .write(&mut guest.store, bytes.start, &dirty[bytes.clone()])
            .expect("it fits");
        let difference = rewinder.difference(&mut guest.store);
        let place = format!("{:#x}", bytes.start + 12);
        assert!(difference.is_some_and(|text| text.contains(&place)));
        assert_eq!(guest.call::<_, i32>("swap", (page * 4096 + 12, 0)), 99);
    }
    assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
    assert_eq!(rewinder.difference(&mut guest.store), None);
    let global = guest
        .instance
        .get_global(&mut guest.store, "__ferrite_global_0")
        .expect("the pass exports it");
    global
        .set(&mut guest.store, Val::I64(43))
        .expect("it is mutable");
    assert!(rewinder.difference(&mut guest.store).is_some());
}

#[test]
fn siblings_start_with_what_was_learned() {
    let house = House::new(4);
    let snapshot = house.snapshot();
    let (mut first, mut rewinder) = house.attached(&snapshot);
    first.call::<_, ()>("touch", 3);
    assert_eq!(rewinder.rewind(&mut first.store), Rewound::Ready);
    assert_eq!(snapshot.learned_pages(), 3);
    let (mut second, mut other) = house.attached(&snapshot);
    assert_eq!(other.learned_pages(), 3);
    second.call::<_, ()>("touch", 3);
    assert_eq!(other.learned_pages(), 3, "nothing new");
    assert_eq!(other.rewind(&mut second.store), Rewound::Ready);
    assert_eq!(other.difference(&mut second.store), None);
}

/// Loads and stores just past the memory that trap, where growth was or will be.
fn traps(guest: &mut Guest, places: &[i32]) {
    let swap = guest.func::<(i32, i32), i32>("swap");
    for &place in places {
        let error = swap
            .call(&mut guest.store, (place, 1))
            .expect_err("it is out of bounds");
        let trap = error.downcast_ref();
        assert_eq!(trap, Some(&Trap::MemoryOutOfBounds), "{place:#x}");
    }
}

#[test]
fn growth_is_out_of_bounds_before_and_after() {
    const PAGE: i32 = 65_536;
    let house = House::new(4);
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    // Growth that is written in part, at its ends, and far from its start.
    for (round, pages) in [1, 3, 1, 100, 2, 0, 100, 1].into_iter().enumerate() {
        traps(
            &mut guest,
            &[
                2 * PAGE - 3,
                2 * PAGE,
                3 * PAGE,
                5 * PAGE,
                90 * PAGE,
                102 * PAGE,
            ],
        );
        assert_eq!(guest.call::<_, i32>("grow", pages), 2);
        let end = (2 + pages) * PAGE;
        for place in [2 * PAGE - 2, 2 * PAGE, 2 * PAGE + 5000, end - 9000, end - 4] {
            if place < end - 3 {
                assert_eq!(guest.call::<_, i32>("swap", (place, 7)), 0, "{place:#x}");
            }
            if place == 2 * PAGE - 2 && place < end - 3 {
                assert_eq!(guest.call::<_, i32>("swap", (place, 0)), 7);
            }
        }
        traps(&mut guest, &[end - 3, end, end + 4096, 103 * PAGE]);
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
        assert_eq!(rewinder.difference(&mut guest.store), None, "round {round}");
    }
    traps(&mut guest, &[2 * PAGE]);
}

#[test]
fn all_of_a_growth_is_zero_again() {
    let house = House::new(4);
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    for pages in [1, 2, 3, 1, 3] {
        assert_eq!(guest.call::<_, i32>("grow", pages), 2);
        let memory = guest.memory();
        let growth = &memory.data(&guest.store)[2 * 65_536..];
        assert_eq!(growth.len(), pages as usize * 65_536);
        assert!(growth.iter().all(|&byte| byte == 0), "{pages} pages");
        guest.call::<_, ()>("fill", (2 * 65_536, pages * 65_536));
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
    }
}

#[test]
fn a_large_growth_is_undone_as_well() {
    let house = House::new(4);
    let snapshot = house.snapshot();
    let mut discarded = 0;
    let mut attached = None;
    for _ in 0..12 {
        let (mut guest, mut rewinder) = attached.unwrap_or_else(|| house.attached(&snapshot));
        assert_eq!(guest.call::<_, i32>("grow", 100), 2);
        guest.call::<_, ()>("fill", (60_000, 100 * 65_536));
        attached = match rewinder.rewind(&mut guest.store) {
            Rewound::Ready => {
                assert_eq!(rewinder.difference(&mut guest.store), None);
                assert_eq!(guest.call::<_, i32>("size", ()), 2);
                Some((guest, rewinder))
            }
            Rewound::Discard => {
                discarded += 1;
                None
            }
        };
    }
    assert_eq!(discarded, 8, "then it is mapped anew");
    assert!(snapshot.mapped_anew());
}

#[test]
fn a_memory_of_no_size_grows_and_is_rewound() {
    let house = House::of(
        r#"(module (memory (export "memory") 0)
            (func (export "swap") (param i32 i32) (result i32)
                (i32.load (local.get 0)) (i32.store (local.get 0) (local.get 1)))
            (func (export "size") (result i32) memory.size)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
        4,
    );
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    for _ in 0..3 {
        traps(&mut guest, &[0, 65_536]);
        assert_eq!(guest.call::<_, i32>("grow", 1), 0);
        assert_eq!(guest.call::<_, i32>("swap", (100, 7)), 0);
        traps(&mut guest, &[65_536]);
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
        assert_eq!(guest.call::<_, i32>("size", ()), 0);
    }
}

#[test]
fn a_module_that_writes_many_pages_is_mapped_anew() {
    let house = House::wide(4);
    let snapshot = house.snapshot();
    for round in 0..8 {
        assert!(!snapshot.mapped_anew(), "round {round}");
        let (mut guest, mut rewinder) = house.attached(&snapshot);
        guest.call::<_, ()>("touch", 513);
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Discard);
    }
    assert!(snapshot.mapped_anew());
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    for _ in 0..3 {
        guest.call::<_, ()>("touch", 700);
        assert_eq!(guest.call::<_, i32>("grow", 3), 48);
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
        assert_eq!(rewinder.difference(&mut guest.store), None);
    }
}

/// As an interpreter does.
#[test]
fn some_hundred_pages_are_copied_back() {
    let house = House::wide(2);
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    for pages in [512, 1, 300, 512] {
        guest.call::<_, ()>("touch", pages);
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
        assert_eq!(rewinder.difference(&mut guest.store), None);
    }
    assert_eq!(rewinder.learned_pages(), 512);
    assert!(!snapshot.mapped_anew());
}

/// One call that writes many pages does not make all later ones copy them.
#[test]
fn an_instance_with_many_pages_starts_anew_after_many_calls() {
    let house = House::wide(2);
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    guest.call::<_, ()>("touch", 300);
    let mut rewound = 0;
    while rewinder.rewind(&mut guest.store) == Rewound::Ready {
        rewound += 1;
        guest.call::<_, ()>("touch", 2);
    }
    assert_eq!(rewound, 999);
    assert_eq!(snapshot.learned_pages(), 0);
    drop((guest, rewinder));
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    // With few pages it stays.
    for _ in 0..2000 {
        guest.call::<_, ()>("touch", 2);
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
    }
    assert_eq!(rewinder.learned_pages(), 2);
}

#[test]
fn a_trap_is_still_a_trap() {
    let house = House::new(4);
    let snapshot = house.snapshot();
    let (mut guest, _rewinder) = house.attached(&snapshot);
    guest.call::<_, ()>("touch", 2);
    let beyond = guest.func::<(), ()>("beyond");
    let error = beyond
        .call(&mut guest.store, ())
        .expect_err("it is out of bounds");
    assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
}

#[test]
fn a_dropped_memory_leaves_nothing_to_the_next() {
    let house = House::new(2);
    let snapshot = house.snapshot();
    for _ in 0..200 {
        let (mut guest, mut rewinder) = house.attached(&snapshot);
        guest.call::<_, ()>("touch", 32);
        assert_eq!(guest.call::<_, i32>("swap", (100_000, 5)), 0);
        assert_eq!(guest.call::<_, i32>("grow", 4), 2);
        guest.call::<_, ()>("fill", (2 * 65_536, 4 * 65_536));
        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
        // What a call that traps leaves in its growth is not reset.
        assert_eq!(guest.call::<_, i32>("grow", 1), 2);
        guest.call::<_, ()>("fill", (2 * 65_536, 65_536));
        traps(&mut guest, &[3 * 65_536]);
    }
    let mut plain = house.instance();
    assert_eq!(plain.call::<_, i32>("swap", (0, 1)), 0, "zero when new");
    assert_eq!(plain.call::<_, i32>("grow", 4), 2);
    let memory = plain.memory();
    assert!(
        memory.data(&plain.store)[4096..]
            .iter()
            .all(|&byte| byte == 0),
        "as is its growth"
    );
    let _other = house.instance();
    let error = Instance::new(Store::new(&house.engine, ()), &house.module, &[]);
    let text = format!("{:#}", error.expect_err("both slots are taken"));
    assert!(text.contains("all 2 rewindable memories"), "{text}");
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .expect("this is Linux")
        .lines()
        .count()
}

/// Separate pages cost mappings, of which the kernel gives a process 65,530.
#[test]
fn all_instances_together_cannot_use_up_the_mappings() {
    const INSTANCES: usize = 600;
    let house = House::wide(INSTANCES);
    let snapshot = house.snapshot();
    let before = mappings();
    let mut many: Vec<_> = (0..INSTANCES).map(|_| house.attached(&snapshot)).collect();
    for (guest, _) in &mut many {
        for page in 0..60 {
            assert_eq!(guest.call::<_, i32>("swap", (page * 8192, 1)), 0);
        }
    }
    let taken = mappings() - before;
    assert!(taken < 25_000, "{taken} mappings");
    let mut rewound = 0;
    for (guest, rewinder) in &mut many {
        if rewinder.rewind(&mut guest.store) == Rewound::Ready {
            assert_eq!(rewinder.difference(&mut guest.store), None);
            rewound += 1;
        }
    }
    assert!(
        (1..INSTANCES).contains(&rewound),
        "{rewound} fit into the bound"
    );
    drop(many);
    assert!(mappings() <= before + 4);
    // Dropping them frees the bound for others.
    let (mut guest, mut rewinder) = house.attached(&house.snapshot());
    guest.call::<_, i32>("swap", (8192, 1));
    assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
}

#[test]
fn mappings_stay_bounded() {
    let house = House::new(300);
    let snapshot = house.snapshot();
    let (mut guest, mut rewinder) = house.attached(&snapshot);
    guest.call::<_, ()>("touch", 4);
    assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
    let before = mappings();
    let many: Vec<_> = (0..250).map(|_| house.attached(&snapshot)).collect();
    // Learned pages, the protected rest, and the space between this memory and the next.
    let each = (mappings() - before) / many.len();
    assert!(each <= 4, "{each} mappings an instance");
    drop(many);
    assert!(mappings() <= before + 4);
}

#[test]
fn threads_rewind_side_by_side() {
    let house = House::new(16);
    let snapshot = house.snapshot();
    std::thread::scope(|scope| {
        for seed in 1..=4_i32 {
            let (house, snapshot) = (&house, &snapshot);
            scope.spawn(move || {
                for round in 0..50 {
                    let (mut guest, mut rewinder) = house.attached(snapshot);
                    for call in 0..20 {
                        let at = (seed * 1000 + round * 37 + call * 4099) % 120_000;
                        guest.call::<_, i32>("swap", (at, seed));
                        assert_eq!(rewinder.rewind(&mut guest.store), Rewound::Ready);
                        assert_eq!(rewinder.difference(&mut guest.store), None);
                    }
                }
            });
        }
    });
}
