//! The functions that guests import: the guest ABI under both of its spellings, and WASI preview 1.

mod after_commit;
mod command;
mod config;
mod data;
pub(crate) mod fuel;
mod guest;
mod http;
mod input;
mod poll;
mod reply;
mod system;
mod wasi;
mod wasi_files;

use ferrite_wasm_abi::{ENV_PREFIX, MODULE};
use wasmtime::{Caller, Engine, Linker, Result};

use crate::call::state::StoreData;
use ferrite_protocol::keyspace::Keyspace;

use after_commit::after_commit;
use command::call;
use config::{config, config_names};
use data::{del, exists, expire, get, hdel, hget, hset, incr_by, set, ttl};
use guest::Guest;
use http::http;
use input::{arg, arg_count, key, key_count, take};
use reply::{
    reply_array, reply_bool, reply_bulk, reply_double, reply_error, reply_int, reply_map,
    reply_null, reply_simple,
};
use system::{log, random, time_millis};

/// Registers the function of the same name for every declaration of the ABI. The declarations give
/// names, parameters and results, so a function that is missing here or takes other ones does not
/// compile.
macro_rules! register {
    ($($(#[$doc:meta])* fn $name:ident($($param:ident: $ty:ty),*) $(-> $result:ty)?;)*) => {
        fn add_abi<K: Keyspace>(linker: &mut Linker<StoreData<K>>) -> Result<()> {
            $(
                linker.func_wrap(
                    MODULE,
                    stringify!($name),
                    |caller: Caller<'_, StoreData<K>>, $($param: $ty),*| -> register!(@result $($result)?) {
                        Guest::new(caller, stringify!($name)).run(|guest| $name(guest, $($param),*))
                    },
                )?;
                let env_name = [ENV_PREFIX, stringify!($name)].concat();
                linker.alias(MODULE, stringify!($name), "env", &env_name)?;
            )*
            Ok(())
        }
    };
    (@result) => { Result<()> };
    (@result $ty:ty) => { Result<$ty> };
}

ferrite_wasm_abi::imports!(register);

/// Links the modules of an engine; one pair serves all its functions.
pub(crate) struct Linkers<K: Keyspace> {
    /// For instances whose mode is [`Mode::Direct`](crate::instance::Mode::Direct): none of its
    /// functions ever waits.
    pub(crate) direct: Linker<StoreData<K>>,
    /// For all other instances.
    pub(crate) fiber: Linker<StoreData<K>>,
}

impl<K: Keyspace> Linkers<K> {
    /// Makes linkers with everything that a guest may import.
    ///
    /// # Errors
    ///
    /// Fails if a name is registered twice.
    pub(crate) fn new(engine: &Engine) -> Result<Self> {
        let mut direct = Linker::new(engine);
        add_abi(&mut direct)?;
        wasi::add(&mut direct)?;
        let mut fiber = direct.clone();
        poll::add_direct(&mut direct)?;
        poll::add(&mut fiber)?;
        http::add(&mut fiber)?;
        Ok(Self { direct, fiber })
    }
}
