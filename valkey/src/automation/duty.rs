//! Decides which events, schedules and requests this server serves: those of its own keys, while it is a primary.

use crate::api::cluster_nodes;
use crate::api::context::Context;
use crate::api::ffi;
use crate::api::locked_cell::LockedCell;
use crate::automation::deliver;
use crate::module::Module;
use crate::records::place::{Place, Queue};
use crate::records::{capture, definitions, listen, own_slots, queue};
use crate::registry::{cluster_bus, rdb};

/// Parts of the queue that are looked at in one turn, in a cluster.
const PARTS_IN_A_TURN: u16 = 512;

/// With more schedules than this, a node of a cluster asks only in some turns which are its own.
const SCHEDULES_IN_EVERY_TURN: usize = 128;

/// Turns between two of those.
const TURNS_BETWEEN: u32 = 10;

/// A time that a schedule's new server finds passed by no more than this is not missed.
const GRACE_MILLIS: i64 = 5_000;

#[derive(Default)]
struct Duty {
    /// True while this server is a primary that has taken its events in.
    active: bool,
    /// True while this server is a primary that has taken its requests in.
    sends: bool,
    /// The part of the queue to look at next.
    part: u16,
    turn: u32,
}

static DUTY: LockedCell<Option<Box<Duty>>> = LockedCell::new(None);

/// Lets a node of a cluster run no schedule before it has asked which are its own.
pub(crate) fn begin(module: &Module, context: Context<'_>) {
    if context.flags() & ffi::CTX_CLUSTER != 0 {
        module
            .runtime
            .run_schedules_here(GRACE_MILLIS, &mut |_| false);
    }
}

/// Does what is due ten times a second, on the main thread.
pub(crate) fn turn(module: &'static Module, context: Context<'_>) {
    let mut duty = DUTY.take(context).unwrap_or_default();
    duty.turn(module, context);
    DUTY.set(context, Some(duty));
}

impl Duty {
    fn turn(&mut self, module: &'static Module, context: Context<'_>) {
        let runtime = &module.runtime;
        let is_primary = context.flags() & ffi::CTX_PRIMARY != 0 && !rdb::is_loading();
        own_slots::forget(context);
        capture::queue_left(context, is_primary);
        let moved = listen::take_moved(context);
        if !is_primary {
            if self.active || self.sends {
                (self.active, self.sends) = (false, false);
                runtime.forget_events();
                runtime.forget_requests();
                queue::forget(context);
                runtime.run_schedules_here(GRACE_MILLIS, &mut |_| false);
            }
            return;
        }
        for definition in definitions::take_unsent(context) {
            cluster_bus::send_definition(context, None, &definition);
        }
        let calls = runtime.has_automation();
        // Without rules, no request is ever sent.
        let sends = !runtime.options().network.rules.is_empty();
        if !calls && !sends {
            return;
        }
        let in_cluster = context.flags() & ffi::CTX_CLUSTER != 0;
        let begins = calls && !std::mem::replace(&mut self.active, true);
        let begins_to_send = sends && !std::mem::replace(&mut self.sends, true);
        let parts = queue::parts(context);
        let looked_at = if begins || begins_to_send {
            parts
        } else {
            parts.min(PARTS_IN_A_TURN)
        };
        let first = self.part;
        self.part = (first + looked_at) % parts;
        let next = (0..looked_at).map(|distance| (first + distance) % parts);
        let looked_at = moved.into_iter().flatten().chain(next);
        capture::take_in_all(
            context,
            looked_at.flat_map(|part| queues(part, calls, sends)),
        );
        if !calls {
            // There are no schedules.
            deliver::start(module);
            return;
        }
        self.turn = self.turn.wrapping_add(1);
        let asks = runtime.schedule_count() <= SCHEDULES_IN_EVERY_TURN
            || self.turn.is_multiple_of(TURNS_BETWEEN);
        if begins || !in_cluster || asks {
            runtime.run_schedules_here(GRACE_MILLIS, &mut |key| {
                !in_cluster || cluster_nodes::is_own(context, key)
            });
        }
        // Only now, so that no schedule runs that is another's.
        deliver::start(module);
    }
}

/// The hashes of a part that this server goes through: of events if it calls functions, of requests if it sends any.
fn queues(part: u16, calls: bool, sends: bool) -> impl Iterator<Item = Place> {
    let events = calls.then_some((Queue::Events, part));
    events
        .into_iter()
        .chain(sends.then_some((Queue::Outbox, part)))
}
