//! Tests of the cache as others see it.

mod at_once;
mod crash;
mod damage;
mod disk_full;
mod evict;
mod fixture;
mod images;
mod intruders;
mod memory;
#[cfg(feature = "compiler")]
mod profile;
mod stored;
mod together;
