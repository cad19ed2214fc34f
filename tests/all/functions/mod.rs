//! Functions from loading to removal, with good and with bad modules.

mod bad;
mod bombs;
mod calls;
mod depth;
mod files;
mod hot_reload;
mod kept_files;
mod lifecycle;
mod live_limits;
