//! Queues: messages once, jobs under a lease, jobs for later.

use ferrite_wasm_sdk::ferrite::SetOptions;
use ferrite_wasm_sdk::*;

/// Returns true if a message is seen for the first time.
#[ferrite_function]
pub fn dedupe(marker: &str, ttl_secs: i64) -> Result<bool, Error> {
    ferrite::set_with(marker, 1, SetOptions::new().if_absent().ttl_secs(ttl_secs))
}

/// Takes jobs from a queue under a lease; who finishes one removes it from `taken`.
#[ferrite_function]
pub fn queue_take(
    pending: &str,
    taken: &str,
    now: i64,
    lease: i64,
    most: usize,
) -> Result<Vec<String>, Error> {
    let mut jobs = Vec::new();
    while jobs.len() < most {
        let Some(job) = ferrite::call::<Option<String>>("LPOP", pending)? else {
            break;
        };
        ferrite::call::<()>("ZADD", (taken, now + lease, &job))?;
        jobs.push(job);
    }
    Ok(jobs)
}

/// Moves jobs that are due to the queue; how many.
#[ferrite_function]
pub fn delayed_jobs(schedule: &str, queue: &str, now: i64, most: i64) -> Result<usize, Error> {
    let range = (schedule, "-inf", now, "LIMIT", 0, most);
    let due: Vec<String> = ferrite::call("ZRANGEBYSCORE", range)?;
    for job in &due {
        ferrite::call::<()>("ZREM", (schedule, job))?;
        ferrite::call::<()>("RPUSH", (queue, job))?;
    }
    Ok(due.len())
}
