//! Rights of a function: permissions, limits, isolation, configuration, the network, files, and the comparison of grants.

pub mod files;
pub mod function_config;
pub mod function_spec;
pub mod limits;
pub mod network;
pub mod permissions;
pub mod privilege_diff;
pub mod quantity;
pub mod server_limits;
pub mod strict_json;
