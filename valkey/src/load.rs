//! Starts the module when the server loads the library.

#![allow(
    unsafe_code,
    reason = "the entry points that the server looks up by name, and calls of its functions"
)]

use std::error::Error;
use std::ffi::{CString, c_int, c_void};
use std::path::PathBuf;
use std::sync::Arc;

use ferrite_cache::{Cache, Digest};
use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::resp::Encoder;
use ferrite_runtime::Runtime;
use ferrite_runtime::commands::{COMMANDS, Right, Runs, Spec};

use crate::api::command_call::Format;
use crate::api::context::{Context, log};
use crate::api::ffi::{self, CommandFn, Ctx, Event, RmString, api};
use crate::api::panic_guard::{guard, log_panics};
use crate::api::string::Args;
use crate::api::{log, trap_handlers};
use crate::automation::{clock, duty};
use crate::cluster_call;
use crate::commands::{dispatch, manage};
use crate::execution::runner::IdleRun;
use crate::execution::worker_pool::Pool;
use crate::module::{self, Module};
use crate::options::Options;
use crate::records::listen;
use crate::registry::{cluster_bus, propagate, rdb};
use crate::scripting::engine;
use crate::transaction::ServerKeyspace;
use crate::transaction::call::Call;
use crate::transaction::{command_table, server_reads};
use ferrite_protocol::resp::tree::Tree;

const MODULE_NAME: &std::ffi::CStr = c"ferrite";

/// The version for the server: two digits each for major, minor and patch.
const MODULE_VERSION: c_int = 100;

/// Name of the command that returns the source with a digest to another server.
const SOURCE: &str = "WASM.SOURCE";

/// Commands of the runtime that the server has itself.
const SERVERS_OWN: [&str; 2] = ["FCALL", "FCALL_RO"];

/// Redis's entry point.
///
/// # Safety
///
/// The server calls it, with a live context and `argc` live strings.
// SAFETY: no other function of the process has this name: the server looks it up in this library.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut Ctx,
    argv: *mut *mut RmString,
    argc: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { load(ctx, argv, argc) }
}

/// Valkey's entry point.
///
/// # Safety
///
/// The server calls it, with a live context and `argc` live strings.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ValkeyModule_OnLoad(
    ctx: *mut Ctx,
    argv: *mut *mut RmString,
    argc: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { load(ctx, argv, argc) }
}

unsafe fn load(ctx: *mut Ctx, argv: *mut *mut RmString, argc: c_int) -> c_int {
    let looked_up = std::panic::catch_unwind(|| {
        // SAFETY: the caller's promise.
        unsafe { ffi::start(ctx) }
    });
    match looked_up {
        Ok(Ok(())) => {}
        // The server's log function was not found either.
        Ok(Err(_)) | Err(_) => return ffi::ERR,
    }
    guard("the module's start", ffi::ERR, || {
        // SAFETY: the server passes a live context.
        let Some(context) = (unsafe { Context::new(ctx) }) else {
            return ffi::ERR;
        };
        log_panics();
        // SAFETY: the server passes `argc` live strings, which are used only in this callback.
        let args = unsafe { Args::new(argv, argc) };
        match start(context, &args) {
            Ok(()) => ffi::OK,
            Err(error) => {
                let error = ErrorChain(&*error);
                log(
                    c"warning",
                    &format!("ferrite: the module is not loaded: {error}"),
                );
                ffi::ERR
            }
        }
    })
}

fn start(context: Context<'_>, args: &Args) -> Result<(), Box<dyn Error>> {
    // SAFETY: a live context while the module loads, and a C string.
    unsafe {
        (api().set_module_attribs)(context.raw(), MODULE_NAME.as_ptr(), MODULE_VERSION, 1);
    }
    let arguments: Vec<String> = args
        .slices()
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let folder = server_folder(context).ok_or("the server does not tell its working folder")?;
    let options = Options::read(&arguments, &folder)?;
    log::start();
    if !command_table::load(context) {
        return Err("the server does not tell its commands".into());
    }
    let cache = match &options.cache {
        None => None,
        Some(cache) => Some(Cache::open(cache.clone())?),
    };
    trap_handlers::note_servers();
    let runtime = Runtime::new(options.runtime.clone(), ServerKeyspace, cache)?;
    trap_handlers::note_ours();
    if !module::set(Module {
        runtime,
        options,
        pool: Pool::new(),
        idle: IdleRun::new(),
    }) {
        return Err("it is loaded already".into());
    }
    if !rdb::register(context) {
        return Err("the server does not take the data type that holds the registry".into());
    }
    subscribe(
        context,
        ffi::EVENT_CONFIG,
        trap_handlers::configuration_changed,
    )?;
    subscribe(context, ffi::EVENT_LOADING, rdb::loading)?;
    subscribe(context, ffi::EVENT_MODULE, modules_changed)?;
    if !listen::start(context) {
        return Err("the server does not tell what happens to keys".into());
    }
    // A truncated file then is an error that the module sees; without the option the server would exit.
    let mut module_options = ffi::OPTION_HANDLE_IO_ERRORS;
    if listen::start_for_slots(context) {
        module_options |= ffi::OPTION_HANDLE_SLOT_MIGRATION;
    }
    // SAFETY: a live context while the module loads.
    unsafe { (api().set_module_options)(context.raw(), module_options) };
    if let Some(module) = module::module() {
        duty::begin(module, context);
    }
    clock::start(context);
    for (index, spec) in COMMANDS.iter().enumerate() {
        if SERVERS_OWN.contains(&spec.name) {
            continue;
        }
        let callback = dispatch::callback(index).ok_or("there are more commands than callbacks")?;
        create_command(context, spec.name, callback, &flags(spec))?;
        categorise(context, spec)?;
    }
    if engine::register(context) {
        tracing::info!("functions can also be loaded with FUNCTION LOAD, by the engine WASM");
    }
    cluster_bus::start(context);
    cluster_call::start(context);
    let register_name = propagate::REGISTER.to_string_lossy();
    create_command(context, &register_name, register, "write admin deny-script")?;
    create_command(context, SOURCE, source, "readonly admin deny-script")?;
    Ok(())
}

/// Returns a command's flags by the names of the module API.
fn flags(spec: &Spec) -> String {
    let mut flags: Vec<&str> = spec
        .flags
        .iter()
        .map(|&flag| match flag {
            "noscript" => "deny-script",
            "movablekeys" => "getkeys-api",
            flag => flag,
        })
        .collect();
    // Those that change something wait while clients are paused: the server aborts if anything is replicated
    // then.
    if spec.right == Right::Manage && !matches!(spec.runs, Runs::AtOnce) {
        flags.push("may-replicate");
    }
    flags.join(" ")
}

/// Puts a command into the ACL categories that similar commands of the server are in.
///
/// Redis 7.0 has no such categories for modules, so nothing happens there.
fn categorise(context: Context<'_>, spec: &Spec) -> Result<(), Box<dyn Error>> {
    let (Some(find), Some(set)) = (api().get_command, api().set_categories) else {
        return Ok(());
    };
    let mut categories = vec!["slow"];
    if spec.right == Right::Call {
        categories.push("scripting");
    }
    for flag in spec.flags {
        categories.extend_from_slice(match *flag {
            "write" => &["write"],
            "readonly" => &["read"],
            "admin" => &["admin", "dangerous"],
            _ => &[],
        });
    }
    let (name, categories) = (
        CString::new(spec.name)?,
        CString::new(categories.join(" "))?,
    );
    // SAFETY: a live context while the module loads, and C strings; the command is one of this
    // module's, which the server keeps.
    let done = unsafe {
        let command = find(context.raw(), name.as_ptr());
        !command.is_null() && set(command, categories.as_ptr()) == ffi::OK
    };
    if done {
        Ok(())
    } else {
        let (name, categories) = (spec.name, categories.to_string_lossy());
        Err(format!(
            "the server does not take the command {name} into the categories '{categories}'"
        )
        .into())
    }
}

fn create_command(
    context: Context<'_>,
    name: &str,
    callback: CommandFn,
    flags: &str,
) -> Result<(), Box<dyn Error>> {
    let (c_name, c_flags) = (CString::new(name)?, CString::new(flags)?);
    // SAFETY: a live context while the module loads, C strings, and a callback of the right type.
    let created = unsafe {
        (api().create_command)(
            context.raw(),
            c_name.as_ptr(),
            callback,
            c_flags.as_ptr(),
            0,
            0,
            0,
        )
    };
    if created == ffi::OK {
        Ok(())
    } else {
        Err(format!("the server does not take the command {name} with the flags '{flags}'").into())
    }
}

fn subscribe(context: Context<'_>, id: u64, callback: ffi::EventFn) -> Result<(), Box<dyn Error>> {
    let event = Event {
        id,
        data_version: 1,
    };
    // SAFETY: a live context, an event of the interface, and a callback of its type.
    let subscribed = unsafe { (api().subscribe)(context.raw(), event, callback) };
    if subscribed == ffi::OK {
        Ok(())
    } else {
        Err(format!("the server has no event {id}").into())
    }
}

/// Returns the server's working folder, from its configuration.
fn server_folder(context: Context<'_>) -> Option<PathBuf> {
    server_reads::command(
        context,
        &[b"CONFIG", b"GET", b"dir"],
        Format::Own,
        |reply| {
            let tree = Tree::read(reply)?;
            let text = tree.list().get(1)?.text()?;
            Some(PathBuf::from(String::from_utf8_lossy(text).into_owned()))
        },
    )?
}

/// Reads the table of commands again when another module has come or gone: a command of the same name may have
/// other keys now, or write.
unsafe extern "C" fn modules_changed(ctx: *mut Ctx, _: Event, _: u64, _: *mut c_void) {
    guard("a change of modules", (), || {
        // SAFETY: the server passes a live context.
        if let Some(context) = unsafe { Context::new(ctx) } {
            command_table::load(context);
        }
    });
}

/// Runs `WASM.REGISTER`: adopts an entry of another server.
unsafe extern "C" fn register(ctx: *mut Ctx, argv: *mut *mut RmString, argc: c_int) -> c_int {
    // SAFETY: the server passes a live context and `argc` live strings.
    unsafe {
        peer_command(ctx, argv, argc, |module, context, args| {
            manage::register(module, context, args.bytes(1));
        })
    }
}

/// Runs `WASM.SOURCE`: replies with the source that has a digest, to another server.
unsafe extern "C" fn source(ctx: *mut Ctx, argv: *mut *mut RmString, argc: c_int) -> c_int {
    // SAFETY: as above.
    unsafe {
        peer_command(ctx, argv, argc, |module, context, args| {
            let call = Arc::new(Call::new(args, 0));
            dispatch::on_own_thread(SOURCE, context, &call, |call, _| {
                let text = String::from_utf8_lossy(call.args.bytes(1)).into_owned();
                let mut reply = Encoder::default();
                let found = text
                    .parse::<Digest>()
                    .ok()
                    .and_then(|digest| module.runtime.cache()?.source(&digest).ok()?);
                match found {
                    Some(source) => reply.bulk(&source),
                    None => reply.null(),
                }
                reply.take()
            });
        })
    }
}

/// Runs a command with one argument that servers send to each other.
///
/// # Safety
///
/// `ctx` is a live context of a command, and `argv` has `argc` live strings.
unsafe fn peer_command(
    ctx: *mut Ctx,
    argv: *mut *mut RmString,
    argc: c_int,
    run: fn(&'static Module, Context<'_>, Args),
) -> c_int {
    guard("a command between servers", (), || {
        // SAFETY: the caller's promise; the strings are retained if a call outlives the callback.
        let (context, args) = unsafe { (Context::new(ctx), Args::new(argv, argc)) };
        match (context, module::module()) {
            (Some(context), Some(module)) if args.len() == 2 => run(module, context, args),
            (Some(context), _) => context.reply_error("ERR one argument is needed"),
            (None, _) => {}
        }
    });
    ffi::OK
}
