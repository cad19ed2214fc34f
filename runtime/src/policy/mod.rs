//! Rights of a function: permissions, limits, isolation, and the comparison of two grants.

pub mod function_spec;
pub mod limits;
pub mod permissions;
pub mod privilege_diff;
pub mod quantity;
pub mod strict_json;
