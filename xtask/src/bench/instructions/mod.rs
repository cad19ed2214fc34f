//! Instructions of a call within Valkey: a count that does not depend on what else the machine does.

mod valgrind;
pub(crate) mod without_auxv;

use std::fmt::Write as _;

use anyhow::{Result, bail};
use ferrite_tests::Reply;
use serde::{Deserialize, Serialize};

use super::load::{Generator, Shape, must_succeed};
use super::socket::{self, PERMISSIONS, source};
use super::valkey;
use crate::binaries::{self, BuildProfile};
use crate::server::Server;
use crate::workspace::Workspace;
use valgrind::Counted;

/// One connection, so that each turn of the server's loop has as many requests.
const SHAPE: Shape = Shape {
    connections: 1,
    pipeline: 16,
};

/// Calls before the count, and calls that are counted.
const WARM: u64 = 3_200;
const CALLS: u64 = 16_000;

/// Valgrind has no room for more instances, each of which reserves addresses.
const INSTANCES: &str = "8";

/// The functions, by their names in the list of the load.
const FUNCTIONS: [&str; 4] = ["noop", "get_set", "rate_limit", "validate_user"];

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(super) struct Instructions {
    valkey_version: String,
    rows: Vec<Row>,
}

/// Instructions of the whole server for a call of one function.
#[derive(Serialize, Deserialize)]
struct Row {
    function: String,
    wasm: f64,
    lua: f64,
}

/// Counts each function once, rewound and in Lua.
///
/// # Errors
/// If the server does not start, or a call fails.
pub(super) fn measure(workspace: &Workspace, profile: BuildProfile) -> Result<Instructions> {
    let generator = Generator::find()?;
    let folder = workspace.target.join("bench/instructions");
    super::empty(&folder)?;
    let module = binaries::module(workspace, profile)?.display().to_string();
    let wasmc = binaries::wasmc(workspace, profile)?.display().to_string();
    let arguments = [
        "--loadmodule",
        &module,
        "compiler",
        &wasmc,
        "total-instances",
        INSTANCES,
    ];
    let mut counted = Counted::start(workspace, &folder, &arguments)?;
    valkey::load_scripts(workspace, &counted.server)?;
    socket::register_users(&counted.server);
    let mut rows = Vec::new();
    for function in FUNCTIONS {
        load(workspace, &counted.server, function)?;
        let mut each = |command: &[String]| -> Result<f64> {
            must_succeed(&counted.server, command)?;
            generator.turn(&counted.server, SHAPE, command, WARM)?;
            let all = counted.count(|server| {
                generator.turn(server, SHAPE, command, CALLS)?;
                Ok(())
            })?;
            Ok(all as f64 / CALLS as f64)
        };
        let [wasm, lua] = socket::commands(function, function);
        let row = Row {
            function: function.to_owned(),
            wasm: each(&wasm)?,
            lua: each(&lua)?,
        };
        println!(
            "{function:<14} {:>9.0} in wasm {:>9.0} in Lua",
            row.wasm, row.lua
        );
        rows.push(row);
    }
    let valkey_version = valkey::version(&counted.server);
    counted.server.stop()?;
    Ok(Instructions {
        valkey_version,
        rows,
    })
}

fn load(workspace: &Workspace, server: &Server, function: &str) -> Result<()> {
    let source = source(workspace, function)?;
    let words: [&[u8]; 7] = [
        b"WASM.LOAD",
        function.as_bytes(),
        &source,
        b"PERMISSIONS",
        PERMISSIONS.as_bytes(),
        b"ISOLATION",
        b"rewind",
    ];
    match server.client().call(&words) {
        Reply::Error(error) => bail!("Valkey refused {function}: {error}"),
        _ => Ok(()),
    }
}

/// Writes the section of the page.
pub(super) fn section(page: &mut String, figures: &Instructions) -> std::fmt::Result {
    let Instructions {
        valkey_version,
        rows,
    } = figures;
    writeln!(page, "\n## By instructions\n")?;
    writeln!(
        page,
        "Instructions of the whole server for a call, rewound and in Lua, counted by callgrind (`cargo xtask bench --only\n\
         instructions`): averages of {CALLS} calls by one connection with pipelines of 16, in Valkey {valkey_version} without\n\
         persistence or replicas. They do not depend on what else the machine does.\n"
    )?;
    writeln!(
        page,
        "| function | wasm | Lua | wasm, of Lua |\n|---|---|---|---|"
    )?;
    for Row {
        function,
        wasm,
        lua,
    } in rows
    {
        writeln!(
            page,
            "| `{function}` | {:.1} K | {:.1} K | {:.2} × |",
            wasm / 1e3,
            lua / 1e3,
            wasm / lua
        )?;
    }
    Ok(())
}
