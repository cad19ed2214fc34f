//! The peer: a Valkey server with the same functions in Lua.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ferrite_tests::Reply;
use serde::{Deserialize, Serialize};

use crate::server::{Server, free_port};
use crate::tools::Python;
use crate::workspace::Workspace;

/// Use that both servers of a comparison make of their disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Durability {
    /// They keep nothing.
    #[default]
    Memory,
    /// They write every change, and sync each second: the default of `ferrite-server`.
    Everysec,
}

/// Arguments of a server that writes every change and syncs each second. A rewrite of the log during a
/// turn would slow only this side.
const EVERYSEC: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--auto-aof-rewrite-percentage",
    "0",
];

/// Starts a Valkey without persistence, with the functions of `benches/functions/peers.lua`.
///
/// # Errors
/// If it is not available, does not start, or refuses the functions.
pub(super) fn start(workspace: &Workspace, folder: &Path) -> Result<Server> {
    start_with(workspace, folder, &[])
}

/// Does the same as [`start`], with this use of the disk.
///
/// # Errors
/// As for [`start`].
pub(super) fn start_keeping(
    workspace: &Workspace,
    folder: &Path,
    durability: Durability,
) -> Result<Server> {
    let arguments: &[&str] = match durability {
        Durability::Memory => &[],
        Durability::Everysec => EVERYSEC,
    };
    // The later of two arguments counts.
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    start_with(workspace, folder, &arguments)
}

/// Does the same as [`start`], with further arguments.
///
/// # Errors
/// As for [`start`].
pub(super) fn start_with(
    workspace: &Workspace,
    folder: &Path,
    arguments: &[OsString],
) -> Result<Server> {
    let binary = Python::ensure(workspace)?.valkey_server()?;
    let port = free_port()?;
    let mut command = workspace.command(binary);
    command.args([
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--port",
        &port.to_string(),
        "--dir",
    ]);
    command.arg(folder).args(arguments);
    let server = Server::start(&mut command, port, &folder.join("valkey.log"))?;
    load_scripts(workspace, &server)?;
    Ok(server)
}

/// Loads the functions of `benches/functions/peers.lua`.
///
/// # Errors
/// If the server refuses them.
pub(super) fn load_scripts(workspace: &Workspace, server: &Server) -> Result<()> {
    let path = workspace.root.join("benches/functions/peers.lua");
    let functions = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if let Reply::Error(error) = server.client().call(&["FUNCTION", "LOAD", &functions]) {
        bail!(
            "Valkey refused {}: {error}",
            workspace.shown(&path).display()
        );
    }
    Ok(())
}

/// Starts a Valkey that writes everything to its folder and syncs each second. It loads the data
/// that the folder holds.
///
/// # Errors
/// If it is not available or does not start.
pub(super) fn start_durable(workspace: &Workspace, folder: &Path) -> Result<Server> {
    let binary = Python::ensure(workspace)?.valkey_server()?;
    let port = free_port()?;
    let mut command = workspace.command(binary);
    command
        .args(["--bind", "127.0.0.1", "--save", ""])
        .args(EVERYSEC)
        .args(["--port", &port.to_string(), "--dir"]);
    Server::start(command.arg(folder), port, &folder.join("valkey.log"))
}

/// Returns the Valkey version that the server's `INFO` names.
pub(super) fn version(server: &Server) -> String {
    let reply = server.client().call(&["INFO", "server"]);
    let text = reply.text().unwrap_or_default();
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("valkey_version:"));
    version.unwrap_or("of an unknown version").to_owned()
}
