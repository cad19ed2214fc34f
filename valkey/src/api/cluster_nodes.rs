//! The nodes of the cluster that the server belongs to.

#![allow(unsafe_code, reason = "asks the server for its cluster")]

use std::ffi::{CStr, c_char};

use crate::api::command_call::{Format, RunError};
use crate::api::context::Context;
use crate::api::ffi::{self, api};

/// A node of the cluster, with the address at which others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) primary: bool,
}

/// Returns this node's id in the cluster; empty outside of a cluster.
pub(crate) fn node_id(context: Context<'_>) -> String {
    // SAFETY: a live context; what is returned is null or 40 characters that stay.
    let id = unsafe { (api().get_my_cluster_id)(context.raw()) };
    if id.is_null() {
        return String::new();
    }
    // SAFETY: as just said.
    let id = unsafe { std::slice::from_raw_parts(id.cast::<u8>(), ffi::NODE_ID_LEN) };
    String::from_utf8_lossy(id).into_owned()
}

/// Returns every other node that is not known to have failed.
pub(crate) fn others(context: Context<'_>) -> Vec<Node> {
    let mut count = 0;
    // SAFETY: a live context and a place for a number; null outside of a cluster, or else `count`
    // names of 40 characters, which the caller frees.
    let names = unsafe { (api().get_cluster_nodes)(context.raw(), &raw mut count) };
    if names.is_null() {
        return Vec::new();
    }
    let nodes = (0..count)
        .filter_map(|index| {
            // SAFETY: `index` is below the number of names.
            let name = unsafe { *names.add(index) };
            node(context, name)
        })
        .collect();
    // SAFETY: the list that the server returned, freed once.
    unsafe { (api().free_cluster_nodes)(names) };
    nodes
}

/// Returns true if this node of a cluster does not serve a key: its slot is another node's, or is being moved
/// and the key is not here, or not yet.
pub(crate) fn is_elsewhere(context: Context<'_>, key: &[u8]) -> bool {
    let argv = [context.string(key)];
    let reply = context.call(c"EXISTS", Format::Own, &argv);
    reply.is_some_and(|reply| reply.run_error() == Some(RunError::Elsewhere))
}

/// Returns true if this node of a cluster serves a key.
pub(crate) fn is_own(context: Context<'_>, key: &[u8]) -> bool {
    let argv = [context.string(key)];
    let reply = context.call(c"EXISTS", Format::Own, &argv);
    reply.is_some_and(|reply| reply.error().is_none())
}

fn node(context: Context<'_>, name: *const c_char) -> Option<Node> {
    // Longer than the server's own buffer for an address.
    let mut host = [0_u8; 256];
    let mut primary_id = [0_u8; ffi::NODE_ID_LEN + 1];
    let (mut port, mut flags) = (0, 0);
    let mut own = [0_u8; ffi::NODE_ID_LEN + 1];
    // SAFETY: the list's names have 40 characters and no zero byte after them, which the next call
    // needs.
    unsafe {
        std::ptr::copy_nonoverlapping(name.cast::<u8>(), own.as_mut_ptr(), ffi::NODE_ID_LEN);
    }
    // SAFETY: a live context, a name of 40 characters, and places that are large enough for what
    // the interface writes to them.
    let known = unsafe {
        (api().get_cluster_node_info)(
            context.raw(),
            own.as_ptr().cast(),
            host.as_mut_ptr().cast(),
            primary_id.as_mut_ptr().cast(),
            &raw mut port,
            &raw mut flags,
        )
    };
    if known != ffi::OK || flags & (ffi::NODE_MYSELF | ffi::NODE_FAIL) != 0 {
        return None;
    }
    let host = CStr::from_bytes_until_nul(&host).ok()?;
    Some(Node {
        host: host.to_string_lossy().into_owned(),
        port: u16::try_from(port).ok()?,
        primary: flags & ffi::NODE_PRIMARY != 0,
    })
}
