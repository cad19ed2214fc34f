//! A timer of the server that keeps triggers and schedules going, and has its users counted.

#![allow(unsafe_code, reason = "the callback of a timer")]

use std::ffi::{c_longlong, c_void};

use crate::api::context::Context;
use crate::api::ffi::{Ctx, api};
use crate::api::panic_guard::guard;
use crate::automation::duty;
use crate::execution::caller_share;
use crate::module::module;

/// Time between two turns, in milliseconds.
const TURN_MILLIS: c_longlong = 100;

/// Starts the timer.
pub(crate) fn start(context: Context<'_>) {
    // SAFETY: a live context, and a callback of the right type that takes nothing.
    unsafe {
        (api().create_timer)(
            context.raw(),
            TURN_MILLIS,
            turn,
            std::ptr::null_mut::<c_void>(),
        );
    }
}

unsafe extern "C" fn turn(ctx: *mut Ctx, _: *mut c_void) {
    guard("a turn of the timer", (), || {
        // SAFETY: the server passes a live context.
        let Some(context) = (unsafe { Context::new(ctx) }) else {
            return;
        };
        start(context);
        if let Some(module) = module() {
            caller_share::turn(context, module.options.share_among_users);
            duty::turn(module, context);
        }
    });
}
