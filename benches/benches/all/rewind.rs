//! The engine's part of a rewound call, with and without a fiber, beside a warm call.

use std::sync::Arc;

use criterion::Criterion;
use ferrite_cache::{Profile, Rewind};
use ferrite_compiler::rewrite::rewrite;
use ferrite_runtime::instance::engine::{EngineOptions, engine};
use ferrite_runtime::rewind::arena::{Arena, ArenaMemories, ArenaOptions};
use ferrite_runtime::rewind::exports::RewindExports;
use ferrite_runtime::rewind::snapshot::{InstanceSnapshot, Rewinder, Rewound};
use wasmtime::{Engine, Instance, InstanceAllocationStrategy, Module, Store, TypedFunc};

use crate::bed::block_on;

/// Entries that write one word on each of some pages, through a stack pointer, and that grow the memory
/// and write the first and the last word of what is new, as allocators do.
const MODULE: &str = r#"(module
    (memory (export "memory") 17)
    (global $stack (mut i32) (i32.const 1048576))
    (func (export "pages") (param $pages i32)
        (global.set $stack (i32.sub (global.get $stack) (i32.const 16)))
        (block $end (loop $next
            (br_if $end (i32.eqz (local.get $pages)))
            (i32.store (i32.mul (local.get $pages) (i32.const 8192)) (local.get $pages))
            (local.set $pages (i32.sub (local.get $pages) (i32.const 1)))
            (br $next)))
        (global.set $stack (i32.add (global.get $stack) (i32.const 16))))
    (func (export "grow") (param $pages i32)
        (i32.store (i32.shl (memory.grow (local.get $pages)) (i32.const 16)) (i32.const 1))
        (i32.store (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 4)) (i32.const 1))))"#;

/// An instance that can be rewound.
struct Guest {
    store: Store<()>,
    entry: TypedFunc<i32, ()>,
    rewinder: Rewinder,
}

/// The ways to run a guest.
#[derive(Clone, Copy)]
enum Fiber {
    No,
    Yes,
}

impl Guest {
    fn new(fiber: Fiber, entry: &str) -> Self {
        // The first engine installs wasmtime's signal handler.
        let profile = Profile::native();
        let first = engine(&profile, &EngineOptions::default()).expect("an engine");
        let arena = Arena::new(ArenaOptions {
            memories_max: 4,
            reservation_bytes: 4 << 30,
            guard_bytes: 32 << 20,
        })
        .expect("there is address space");
        drop(first);
        let mut config = profile.compiler_config();
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        config.with_host_memory(Arc::new(ArenaMemories(Arc::clone(&arena))));
        let engine = Engine::new(&config).expect("an engine");
        let source = wat::parse_str(MODULE).expect("a module");
        let rewritten = rewrite(&source).expect("a valid module");
        let Rewind::Allowed(plan) = &rewritten.rewind else {
            panic!("it can be rewound");
        };
        let module = Module::new(&engine, &rewritten.wasm).expect("a valid module");
        let exports = RewindExports::find(&module, plan).expect("they were added");
        let mut store = Store::new(&engine, ());
        let instance = match fiber {
            Fiber::Yes => block_on(Instance::new_async(&mut store, &module, &[])),
            Fiber::No => Instance::new(&mut store, &module, &[]),
        };
        let instance = instance.expect("room");
        let snapshot =
            InstanceSnapshot::capture(&mut store, &instance, &exports).expect("an image");
        let rewinder = snapshot
            .attach(&mut store, &instance, &exports, &arena)
            .expect("it can be rewound");
        let entry = instance
            .get_typed_func(&mut store, entry)
            .expect("an export");
        Self {
            store,
            entry,
            rewinder,
        }
    }

    fn call(&mut self, fiber: Fiber, pages: i32) {
        let called = match fiber {
            Fiber::Yes => block_on(self.entry.call_async(&mut self.store, pages)),
            Fiber::No => self.entry.call(&mut self.store, pages),
        };
        called.expect("a plain return");
    }

    fn rewind(&mut self) {
        assert_eq!(self.rewinder.rewind(&mut self.store), Rewound::Ready);
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rewind");
    for (fiber, name) in [(Fiber::No, "sync"), (Fiber::Yes, "async")] {
        for pages in [0, 1, 10] {
            let mut guest = Guest::new(fiber, "pages");
            group.bench_function(format!("{name}, {pages} pages, warm"), |bencher| {
                bencher.iter(|| guest.call(fiber, pages));
            });
            group.bench_function(format!("{name}, {pages} pages, rewound"), |bencher| {
                bencher.iter(|| {
                    guest.call(fiber, pages);
                    guest.rewind();
                });
            });
        }
        for pages in [1, 2, 16] {
            let mut guest = Guest::new(fiber, "grow");
            group.bench_function(format!("{name}, grown by {pages}, rewound"), |bencher| {
                bencher.iter(|| {
                    guest.call(fiber, pages);
                    guest.rewind();
                });
            });
        }
    }
    group.finish();
}
