//! The servers' module API: its types, constants and functions.
//!
//! Written by hand from the interface's documentation, so that nothing generates code and the
//! module builds without a C compiler. The functions are looked up by name when the module is
//! loaded, under the prefixes of Valkey and of Redis.

#![allow(
    unsafe_code,
    reason = "declares a C interface and turns looked-up addresses into functions"
)]

use std::ffi::{CString, c_char, c_int, c_long, c_longlong, c_uchar, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            pub(crate) struct $name {
                _private: [u8; 0],
            }
        )*
    };
}

opaque! {
    /// A context: the state of one callback, which most functions need.
    Ctx;
    /// A string of the server, with a reference count that only its main thread may change.
    RmString;
    /// An open key.
    Key;
    /// The reply of a command that the module ran.
    CallReply;
    /// A client that waits for its reply.
    BlockedClient;
    /// A user of the server's access control.
    User;
    /// A data type of the module.
    ModuleType;
    /// A stream of persistent data.
    Io;
    /// A command of the module.
    Command;
    /// A place in a collection that is gone through.
    Cursor;
}

pub(crate) const OK: c_int = 0;
pub(crate) const ERR: c_int = 1;

pub(crate) const READ: c_int = 1;
pub(crate) const WRITE: c_int = 2;
/// Opens a key without a trace: the server does not count it as used, tells nobody that it is absent,
/// and counts no hit or miss. Versions that lack one of these flags ignore it.
pub(crate) const UNNOTICED: c_int = 1 << 16 | 1 << 17 | 1 << 18;
/// Opens a key without deleting it if its time is over.
pub(crate) const NO_EXPIRY: c_int = 1 << 19;

pub(crate) const KEYTYPE_EMPTY: c_int = 0;
pub(crate) const KEYTYPE_STRING: c_int = 1;
pub(crate) const KEYTYPE_LIST: c_int = 2;
pub(crate) const KEYTYPE_HASH: c_int = 3;
pub(crate) const KEYTYPE_SET: c_int = 4;
pub(crate) const KEYTYPE_ZSET: c_int = 5;

pub(crate) const HASH_NONE: c_int = 0;
pub(crate) const HASH_EXISTS: c_int = 1 << 3;
/// In the place of a field's value: deletes the field.
pub(crate) const HASH_DELETE: *mut RmString = std::ptr::without_provenance_mut(1);

/// The module handles read errors of truncated files itself.
pub(crate) const OPTION_HANDLE_IO_ERRORS: c_int = 1;
/// The module goes on with what it has in slots that move as a whole; Valkey 9 and later.
pub(crate) const OPTION_HANDLE_SLOT_MIGRATION: c_int = 1 << 5;

pub(crate) const NO_EXPIRE: c_longlong = -1;

pub(crate) const CTX_LUA: c_int = 1 << 0;
pub(crate) const CTX_MULTI: c_int = 1 << 1;
pub(crate) const CTX_PRIMARY: c_int = 1 << 2;
pub(crate) const CTX_CLUSTER: c_int = 1 << 5;
pub(crate) const CTX_OOM: c_int = 1 << 10;
pub(crate) const CTX_REPLICATED: c_int = 1 << 12;
pub(crate) const CTX_LOADING: c_int = 1 << 13;
pub(crate) const CTX_DENY_BLOCKING: c_int = 1 << 21;
pub(crate) const CTX_RESP3: c_int = 1 << 22;

pub(crate) const NOTIFY_GENERIC: c_int = 1 << 2;
pub(crate) const NOTIFY_STRING: c_int = 1 << 3;
pub(crate) const NOTIFY_HASH: c_int = 1 << 6;
pub(crate) const NOTIFY_EXPIRED: c_int = 1 << 8;
pub(crate) const NOTIFY_EVICTED: c_int = 1 << 9;
/// Every class of events about changes of keys: not those about keys that were missed, new, or loaded.
pub(crate) const NOTIFY_CHANGES: c_int =
    1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 13;

pub(crate) const KEY_RO: c_int = 1 << 0;
pub(crate) const KEY_RW: c_int = 1 << 1;
pub(crate) const KEY_ACCESS: c_int = 1 << 4;
pub(crate) const KEY_UPDATE: c_int = 1 << 5;

pub(crate) const EVENT_LOADING: u64 = 3;
/// Another module was loaded or unloaded.
pub(crate) const EVENT_MODULE: u64 = 9;
pub(crate) const EVENT_CONFIG: u64 = 16;
/// A key's value goes away; Redis 7.2 and later, and Valkey.
pub(crate) const EVENT_KEY: u64 = 17;
/// Slots move as a whole; Valkey 9 and later. In Redis, this number is another event's.
pub(crate) const EVENT_SLOT_MIGRATION: u64 = 19;
pub(crate) const IMPORT_STARTED: u64 = 0;
pub(crate) const IMPORT_ABORTED: u64 = 2;
pub(crate) const IMPORT_COMPLETED: u64 = 4;
pub(crate) const EXPORT_COMPLETED: u64 = 5;
pub(crate) const KEY_DELETED: u64 = 0;
pub(crate) const KEY_EXPIRED: u64 = 1;
pub(crate) const KEY_EVICTED: u64 = 2;
pub(crate) const KEY_OVERWRITTEN: u64 = 3;
pub(crate) const LOADING_REPL_START: u64 = 2;

pub(crate) const LOADING_ENDED: u64 = 3;

pub(crate) const NODE_ID_LEN: usize = 40;
pub(crate) const NODE_MYSELF: c_int = 1;
pub(crate) const NODE_PRIMARY: c_int = 1 << 1;
pub(crate) const NODE_FAIL: c_int = 1 << 4;

pub(crate) const AUX_BEFORE_RDB: c_int = 1;

/// A kind of server event, with the version of the event's data.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) data_version: u64,
}

/// Data of the event that a key's value goes away.
#[repr(C)]
pub(crate) struct KeyInfo {
    pub(crate) version: u64,
    /// The open key, which still has its value.
    pub(crate) key: *mut Key,
}

/// Data of the event that slots move as a whole.
#[repr(C)]
pub(crate) struct SlotMigration {
    pub(crate) version: u64,
    /// The name of the move, with a zero byte behind it.
    pub(crate) name: [c_char; NODE_ID_LEN + 1],
    pub(crate) ranges: *const SlotRange,
    /// Number of `ranges`.
    pub(crate) count: u32,
}

/// Slots from the first to the last.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SlotRange {
    pub(crate) first: c_int,
    pub(crate) last: c_int,
}

/// Callbacks of a data type, in version 4 and, with the last five, version 5 of the interface.
#[repr(C)]
pub(crate) struct TypeMethods {
    pub(crate) version: u64,
    pub(crate) rdb_load: Option<unsafe extern "C" fn(*mut Io, c_int) -> *mut c_void>,
    pub(crate) rdb_save: Option<unsafe extern "C" fn(*mut Io, *mut c_void)>,
    pub(crate) aof_rewrite: Option<unsafe extern "C" fn(*mut Io, *mut RmString, *mut c_void)>,
    pub(crate) mem_usage: *const c_void,
    pub(crate) digest: *const c_void,
    pub(crate) free: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(crate) aux_load: Option<unsafe extern "C" fn(*mut Io, c_int, c_int) -> c_int>,
    pub(crate) aux_save: Option<unsafe extern "C" fn(*mut Io, c_int)>,
    pub(crate) aux_save_triggers: c_int,
    pub(crate) free_effort: *const c_void,
    pub(crate) unlink: *const c_void,
    pub(crate) copy: *const c_void,
    pub(crate) defrag: *const c_void,
    pub(crate) mem_usage2: *const c_void,
    pub(crate) free_effort2: *const c_void,
    pub(crate) unlink2: *const c_void,
    pub(crate) copy2: *const c_void,
    pub(crate) aux_save2: Option<unsafe extern "C" fn(*mut Io, c_int)>,
}

pub(crate) type CommandFn = unsafe extern "C" fn(*mut Ctx, *mut *mut RmString, c_int) -> c_int;
pub(crate) type FreeFn = unsafe extern "C" fn(*mut Ctx, *mut c_void);
pub(crate) type DisconnectFn = unsafe extern "C" fn(*mut Ctx, *mut BlockedClient);
pub(crate) type EventFn = unsafe extern "C" fn(*mut Ctx, Event, u64, *mut c_void);

pub(crate) type ClusterFn = unsafe extern "C" fn(*mut Ctx, *const c_char, u8, *const c_uchar, u32);
/// Is told of a keyspace event: its class, name and key.
pub(crate) type NotifyFn =
    unsafe extern "C" fn(*mut Ctx, c_int, *const c_char, *mut RmString) -> c_int;
/// Runs after the command that caused an event, in the same execution unit.
pub(crate) type AfterNotifyFn = unsafe extern "C" fn(*mut Ctx, *mut c_void);
/// Gets an element of a collection: its name and, for a hash or a sorted set, its value or score.
pub(crate) type ScanFn = unsafe extern "C" fn(*mut Key, *mut RmString, *mut RmString, *mut c_void);
pub(crate) type TimerFn = unsafe extern "C" fn(*mut Ctx, *mut c_void);

/// The server has no module function of this name.
#[derive(Debug, thiserror::Error)]
#[error(
    "this server lacks the module function {name}; Redis 7.0 or Valkey 7.2 is the oldest that has it"
)]
pub(crate) struct MissingFunction {
    name: &'static str,
}

macro_rules! api {
    (
        needed { $($field:ident = $name:literal: $type:ty;)* }
        optional { $($ofield:ident = $oname:literal: $otype:ty;)* }
    ) => {
        /// The functions of the server, looked up once.
        pub(crate) struct Api {
            $(pub(crate) $field: $type,)*
            $(pub(crate) $ofield: Option<$otype>,)*
        }

        impl Api {
            /// # Safety
            ///
            /// `ctx` is what the server passed to the module's load function.
            unsafe fn look_up(ctx: *mut Ctx) -> Result<Self, MissingFunction> {
                // SAFETY: the interface's first rule: a context begins with the address of the
                // function that looks others up.
                let get: GetApi = unsafe { *ctx.cast::<GetApi>() };
                let valkeys = format!("{PREFIX_OF_VALKEY}Alloc");
                IS_VALKEY.store(find_as(get, &valkeys).is_some(), Ordering::Relaxed);
                Ok(Self {
                    $($field: {
                        let address = find(get, $name).ok_or(MissingFunction { name: $name })?;
                        // SAFETY: the server exports a function of this type under this name; the
                        // types above are those of the interface's documentation.
                        unsafe { std::mem::transmute::<*mut c_void, $type>(address) }
                    },)*
                    $($ofield: find(get, $oname).map(|address| {
                        // SAFETY: as above.
                        unsafe { std::mem::transmute::<*mut c_void, $otype>(address) }
                    }),)*
                })
            }
        }
    };
}

type GetApi = unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int;

/// Begins the names of functions in Valkey, which has them under the prefix of Redis too.
const PREFIX_OF_VALKEY: &str = "ValkeyModule_";

/// Returns the address of a function, under either prefix.
fn find(get: GetApi, name: &str) -> Option<*mut c_void> {
    let mut prefixes = [PREFIX_OF_VALKEY, "RedisModule_"].into_iter();
    prefixes.find_map(|prefix| find_as(get, &format!("{prefix}{name}")))
}

fn find_as(get: GetApi, name: &str) -> Option<*mut c_void> {
    let name = CString::new(name).ok()?;
    let mut address = std::ptr::null_mut();
    // SAFETY: a C string and a place for an address, as the function wants them.
    let found = unsafe { get(name.as_ptr(), &raw mut address) };
    (found == OK && !address.is_null()).then_some(address)
}

api! {
    needed {
        alloc = "Alloc": unsafe extern "C" fn(usize) -> *mut c_void;
        set_module_attribs = "SetModuleAttribs": unsafe extern "C" fn(*mut Ctx, *const c_char, c_int, c_int);
        set_module_options = "SetModuleOptions": unsafe extern "C" fn(*mut Ctx, c_int);
        create_command = "CreateCommand": unsafe extern "C" fn(*mut Ctx, *const c_char, CommandFn, *const c_char, c_int, c_int, c_int) -> c_int;
        log = "Log": unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...);
        get_context_flags = "GetContextFlags": unsafe extern "C" fn(*mut Ctx) -> c_int;
        get_selected_db = "GetSelectedDb": unsafe extern "C" fn(*mut Ctx) -> c_int;
        select_db = "SelectDb": unsafe extern "C" fn(*mut Ctx, c_int) -> c_int;
        is_keys_position_request = "IsKeysPositionRequest": unsafe extern "C" fn(*mut Ctx) -> c_int;
        key_at_pos_with_flags = "KeyAtPosWithFlags": unsafe extern "C" fn(*mut Ctx, c_int, c_int);
        get_command_keys = "GetCommandKeys": unsafe extern "C" fn(*mut Ctx, *mut *mut RmString, c_int, *mut c_int) -> *mut c_int;
        free = "Free": unsafe extern "C" fn(*mut c_void);

        create_string = "CreateString": unsafe extern "C" fn(*mut Ctx, *const c_char, usize) -> *mut RmString;
        free_string = "FreeString": unsafe extern "C" fn(*mut Ctx, *mut RmString);
        retain_string = "RetainString": unsafe extern "C" fn(*mut Ctx, *mut RmString);
        string_ptr_len = "StringPtrLen": unsafe extern "C" fn(*const RmString, *mut usize) -> *const c_char;

        open_key = "OpenKey": unsafe extern "C" fn(*mut Ctx, *mut RmString, c_int) -> *mut Key;
        close_key = "CloseKey": unsafe extern "C" fn(*mut Key);
        key_type = "KeyType": unsafe extern "C" fn(*mut Key) -> c_int;
        value_length = "ValueLength": unsafe extern "C" fn(*mut Key) -> usize;
        string_dma = "StringDMA": unsafe extern "C" fn(*mut Key, *mut usize, c_int) -> *mut c_char;
        string_set = "StringSet": unsafe extern "C" fn(*mut Key, *mut RmString) -> c_int;
        unlink_key = "UnlinkKey": unsafe extern "C" fn(*mut Key) -> c_int;
        hash_get = "HashGet": unsafe extern "C" fn(*mut Key, c_int, ...) -> c_int;
        hash_set = "HashSet": unsafe extern "C" fn(*mut Key, c_int, ...) -> c_int;
        get_abs_expire = "GetAbsExpire": unsafe extern "C" fn(*mut Key) -> c_longlong;
        set_abs_expire = "SetAbsExpire": unsafe extern "C" fn(*mut Key, c_longlong) -> c_int;
        list_get = "ListGet": unsafe extern "C" fn(*mut Key, c_long) -> *mut RmString;
        scan_cursor_create = "ScanCursorCreate": unsafe extern "C" fn() -> *mut Cursor;
        scan_cursor_destroy = "ScanCursorDestroy": unsafe extern "C" fn(*mut Cursor);
        scan_key = "ScanKey": unsafe extern "C" fn(*mut Key, *mut Cursor, ScanFn, *mut c_void) -> c_int;
        subscribe_to_keyspace_events = "SubscribeToKeyspaceEvents": unsafe extern "C" fn(*mut Ctx, c_int, NotifyFn) -> c_int;
        get_context_from_io = "GetContextFromIO": unsafe extern "C" fn(*mut Io) -> *mut Ctx;
        notify_keyspace_event = "NotifyKeyspaceEvent": unsafe extern "C" fn(*mut Ctx, c_int, *const c_char, *mut RmString) -> c_int;

        call = "Call": unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...) -> *mut CallReply;
        call_reply_proto = "CallReplyProto": unsafe extern "C" fn(*mut CallReply, *mut usize) -> *const c_char;
        free_call_reply = "FreeCallReply": unsafe extern "C" fn(*mut CallReply);
        replicate = "Replicate": unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...) -> c_int;

        reply_with_long_long = "ReplyWithLongLong": unsafe extern "C" fn(*mut Ctx, c_longlong) -> c_int;
        reply_with_error = "ReplyWithError": unsafe extern "C" fn(*mut Ctx, *const c_char) -> c_int;
        reply_with_simple_string = "ReplyWithSimpleString": unsafe extern "C" fn(*mut Ctx, *const c_char) -> c_int;
        reply_with_string_buffer = "ReplyWithStringBuffer": unsafe extern "C" fn(*mut Ctx, *const c_char, usize) -> c_int;
        reply_with_null = "ReplyWithNull": unsafe extern "C" fn(*mut Ctx) -> c_int;
        reply_with_null_array = "ReplyWithNullArray": unsafe extern "C" fn(*mut Ctx) -> c_int;
        reply_with_array = "ReplyWithArray": unsafe extern "C" fn(*mut Ctx, c_long) -> c_int;
        reply_with_map = "ReplyWithMap": unsafe extern "C" fn(*mut Ctx, c_long) -> c_int;
        reply_with_set = "ReplyWithSet": unsafe extern "C" fn(*mut Ctx, c_long) -> c_int;
        reply_with_double = "ReplyWithDouble": unsafe extern "C" fn(*mut Ctx, f64) -> c_int;
        reply_with_bool = "ReplyWithBool": unsafe extern "C" fn(*mut Ctx, c_int) -> c_int;
        reply_with_big_number = "ReplyWithBigNumber": unsafe extern "C" fn(*mut Ctx, *const c_char, usize) -> c_int;
        reply_with_verbatim = "ReplyWithVerbatimStringType": unsafe extern "C" fn(*mut Ctx, *const c_char, usize, *const c_char) -> c_int;

        block_client = "BlockClient": unsafe extern "C" fn(*mut Ctx, Option<CommandFn>, Option<CommandFn>, Option<FreeFn>, c_longlong) -> *mut BlockedClient;
        unblock_client = "UnblockClient": unsafe extern "C" fn(*mut BlockedClient, *mut c_void) -> c_int;
        set_disconnect_callback = "SetDisconnectCallback": unsafe extern "C" fn(*mut BlockedClient, DisconnectFn);
        get_blocked_private_data = "GetBlockedClientPrivateData": unsafe extern "C" fn(*mut Ctx) -> *mut c_void;
        get_thread_safe_context = "GetThreadSafeContext": unsafe extern "C" fn(*mut BlockedClient) -> *mut Ctx;
        get_detached_context = "GetDetachedThreadSafeContext": unsafe extern "C" fn(*mut Ctx) -> *mut Ctx;
        free_thread_safe_context = "FreeThreadSafeContext": unsafe extern "C" fn(*mut Ctx);
        thread_safe_context_lock = "ThreadSafeContextLock": unsafe extern "C" fn(*mut Ctx);
        thread_safe_context_unlock = "ThreadSafeContextUnlock": unsafe extern "C" fn(*mut Ctx);

        avoid_replica_traffic = "AvoidReplicaTraffic": unsafe extern "C" fn() -> c_int;
        get_current_user_name = "GetCurrentUserName": unsafe extern "C" fn(*mut Ctx) -> *mut RmString;
        get_user = "GetModuleUserFromUserName": unsafe extern "C" fn(*mut RmString) -> *mut User;
        free_user = "FreeModuleUser": unsafe extern "C" fn(*mut User) -> c_int;
        acl_check_command = "ACLCheckCommandPermissions": unsafe extern "C" fn(*mut User, *mut *mut RmString, c_int) -> c_int;

        subscribe = "SubscribeToServerEvent": unsafe extern "C" fn(*mut Ctx, Event, EventFn) -> c_int;
        create_data_type = "CreateDataType": unsafe extern "C" fn(*mut Ctx, *const c_char, c_int, *const TypeMethods) -> *mut ModuleType;
        create_timer = "CreateTimer": unsafe extern "C" fn(*mut Ctx, c_longlong, TimerFn, *mut c_void) -> u64;
        register_cluster_message = "RegisterClusterMessageReceiver": unsafe extern "C" fn(*mut Ctx, u8, Option<ClusterFn>);
        send_cluster_message = "SendClusterMessage": unsafe extern "C" fn(*mut Ctx, *const c_char, u8, *const c_char, u32) -> c_int;
        get_my_cluster_id = "GetMyClusterID": unsafe extern "C" fn(*mut Ctx) -> *const c_char;
        get_cluster_nodes = "GetClusterNodesList": unsafe extern "C" fn(*mut Ctx, *mut usize) -> *mut *mut c_char;
        free_cluster_nodes = "FreeClusterNodesList": unsafe extern "C" fn(*mut *mut c_char);
        get_cluster_node_info = "GetClusterNodeInfo": unsafe extern "C" fn(*mut Ctx, *const c_char, *mut c_char, *mut c_char, *mut c_int, *mut c_int) -> c_int;
        save_string_buffer = "SaveStringBuffer": unsafe extern "C" fn(*mut Io, *const c_char, usize);
        load_string_buffer = "LoadStringBuffer": unsafe extern "C" fn(*mut Io, *mut usize) -> *mut c_char;
        is_io_error = "IsIOError": unsafe extern "C" fn(*mut Io) -> c_int;

    }
    optional {
        after_notification = "AddPostNotificationJob": unsafe extern "C" fn(*mut Ctx, AfterNotifyFn, *mut c_void, Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
        get_key_name = "GetKeyNameFromModuleKey": unsafe extern "C" fn(*mut Key) -> *const RmString;
        get_command = "GetCommand": unsafe extern "C" fn(*mut Ctx, *const c_char) -> *mut Command;
        set_categories = "SetCommandACLCategories": unsafe extern "C" fn(*mut Command, *const c_char) -> c_int;
        register_engine = "RegisterScriptingEngine": unsafe extern "C" fn(*mut Ctx, *const c_char, *mut c_void, *mut c_void) -> c_int;
        server_version = "GetServerVersion": unsafe extern "C" fn() -> c_int;
        get_user_acl = "GetModuleUserACLString": unsafe extern "C" fn(*mut User) -> *mut RmString;
        execution_state = "GetFunctionExecutionState": unsafe extern "C" fn(*mut c_void) -> c_int;
    }
}

static API: OnceLock<Api> = OnceLock::new();

static IS_VALKEY: AtomicBool = AtomicBool::new(false);

/// Returns true if the server is Valkey. Later versions of it and of Redis give the same numbers to different
/// things.
pub(crate) fn is_valkey() -> bool {
    IS_VALKEY.load(Ordering::Relaxed)
}

/// Looks up every function.
///
/// # Safety
///
/// `ctx` is what the server passed to the module's load function.
pub(crate) unsafe fn start(ctx: *mut Ctx) -> Result<(), MissingFunction> {
    // SAFETY: the caller's promise.
    let api = unsafe { Api::look_up(ctx) }?;
    // A second load finds the same server.
    let _ = API.set(api);
    Ok(())
}

/// The functions of the server.
///
/// # Panics
///
/// If called before the module was loaded.
#[inline]
pub(crate) fn api() -> &'static Api {
    API.get().expect("the module was loaded")
}
