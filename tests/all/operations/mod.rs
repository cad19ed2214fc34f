//! Running a server: configuration, figures, logs, backups, packages.

mod backups;
mod configuration;
pub(crate) mod monitoring;
mod observation;
mod operating;
mod packages;
