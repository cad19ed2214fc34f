//! Finds a command by its name.

use crate::commands::connection;
use crate::commands::server;
use crate::commands::spec::Spec;
use crate::commands::transactions;

/// Every command of the server's own.
pub(crate) static SPECS: [&Spec; 18] = [
    &connection::auth::SPEC,
    &connection::client::SPEC,
    &server::command::SPEC,
    &server::config::SPEC,
    &connection::echo::SPEC,
    &connection::hello::SPEC,
    &server::info::SPEC,
    &connection::ping::SPEC,
    &connection::quit::SPEC,
    &connection::reset::SPEC,
    &connection::select::SPEC,
    &server::shutdown::SPEC,
    &server::slowlog::SPEC,
    &transactions::multi::SPEC,
    &transactions::exec::SPEC,
    &transactions::discard::SPEC,
    &transactions::watch::SPEC,
    &transactions::unwatch::SPEC,
];

/// The command of this name, in any case.
///
/// A request for data passes here on its way, so most names are turned away by their length and
/// first letter alone.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<&'static Spec> {
    SPECS
        .iter()
        .find(|spec| {
            spec.name.len() == name.len() && spec.name.as_bytes().eq_ignore_ascii_case(name)
        })
        .copied()
}
