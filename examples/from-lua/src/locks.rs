//! Locks with an owner and an end.

use ferrite_wasm_sdk::ferrite::SetOptions;
use ferrite_wasm_sdk::*;

/// Takes a lock; its fencing token, or null where somebody has it.
#[ferrite_function]
pub fn lock_acquire(lock: &str, fence: &str, owner: &str, ttl: i64) -> Result<Option<i64>, Error> {
    let options = SetOptions::new().if_absent().ttl_millis(ttl);
    if ferrite::set_with(lock, owner, options)? {
        return ferrite::incr(fence).map(Some);
    }
    Ok(None)
}

/// Gives a lock back, if it is still the owner's.
#[ferrite_function]
pub fn lock_release(lock: &str, owner: String) -> Result<bool, Error> {
    Ok(ferrite::get(lock)? == Some(owner) && ferrite::del(lock)?)
}

/// Keeps a lock for longer, if it is still the owner's.
#[ferrite_function]
pub fn lock_extend(lock: &str, owner: String, ttl: i64) -> Result<bool, Error> {
    Ok(ferrite::get(lock)? == Some(owner) && ferrite::expire_millis(lock, ttl)?)
}
