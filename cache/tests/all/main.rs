//! Tests of the cache as others see it.

#[cfg(feature = "compiler")]
mod profile;
