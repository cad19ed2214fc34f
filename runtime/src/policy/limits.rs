//! Upper bounds of a function's use of the machine. One table defines every limit; the rest of this
//! file works on all of them.

use std::fmt::Display;
use std::time::Duration;

use ferrite_cache::TABLE_ELEMENTS_MAX;
use serde::{Deserialize, Serialize};

use crate::policy::quantity::{ByteSize, Count, HumanDuration, QuantityError};
use crate::policy::strict_json::{self, JsonError};

/// Defines the limits. A row is
/// `name: Unit => field: Type = default, generous most [, at_least smallest] [, at_most largest];`:
///
/// - `name` is the limit in JSON and in the configuration, written as a `Unit`;
/// - `field` is the resolved limit that the runtime enforces;
/// - `default` holds for functions that do not set it, `most` is what a function may ask for, both
///   unless the operator says otherwise;
/// - a setting below `smallest` is an error, one above `largest` is lowered to it.
macro_rules! limits {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $Unit:ident => $field:ident: $Type:ty = $default:expr, generous $generous:expr
            $(, at_least $least:expr)? $(, at_most $most:expr)?;
    )+) => {
        /// Limits as people write them: `LIMITS '{"max_memory": "4MB", "max_time": "250ms"}'`.
        ///
        /// Sizes take `KB`, `MB`, `GB` (powers of 1024) or plain bytes; times take `us`, `ms`, `s`,
        /// `m`, `h` or plain milliseconds. A limit that is not given is the server's default.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct LimitSettings {
            $(
                $(#[doc = $doc])+
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$Unit>,
            )+
        }

        /// Limits with every number decided, as the runtime enforces them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: $Type,)+
        }

        impl LimitSettings {
            /// Names of all limits, in the order of their definition.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Sets the limit `name` to what `text` says. Returns `None` if there is no such limit.
            pub fn set(&mut self, name: &str, text: &str) -> Option<Result<(), QuantityError>> {
                match name {
                    $(stringify!($name) => Some(text.parse().map(|value| {
                        self.$name = Some(value);
                    })),)+
                    _ => None,
                }
            }

            /// Returns these limits, completed by those of `other` where none is given.
            #[must_use]
            pub fn or(&self, other: &Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }

            /// Returns these limits, completed by those of `wanted` where none is given and the default is
            /// lower, as far as a function may ask for them.
            #[must_use]
            pub(crate) fn raised_to(&self, wanted: &Self, defaults: &Limits, most: &Limits) -> Self {
                Self { $($name: self.$name.or_else(|| {
                    let wanted = wanted.$name?;
                    let limit = Unit::<$Type>::resolve(wanted);
                    if !<$Unit as Unit<$Type>>::exceeds(limit, defaults.$field) {
                        return None;
                    }
                    if <$Unit as Unit<$Type>>::exceeds(limit, most.$field) {
                        return Unit::<$Type>::show(most.$field);
                    }
                    Some(wanted)
                }),)+ }
            }

            /// Describes each limit that is higher here than in `granted`, one sentence each.
            ///
            /// A limit that is left out is the server's default, whatever that will be: leaving it
            /// out is higher than any that was granted, and one that is given must not be above the
            /// default in `defaults` if none was granted.
            #[must_use]
            pub fn exceeding(&self, granted: &Self, defaults: &Self) -> Vec<String> {
                [$(higher(stringify!($name), self.$name, granted.$name, defaults.$name)),+]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        }

        impl Limits {
            /// The limits if the configuration sets none.
            pub const DEFAULT: Self = Self { $($field: $default,)+ };

            /// The most that a function may ask for where the configuration says nothing.
            pub const GENEROUS: Self = Self { $($field: $generous,)+ };

            /// Returns these limits with those that `settings` gives in their place.
            fn replaced_by(&self, settings: &LimitSettings) -> Result<Self, LimitsError> {
                $(
                    let $field = match settings.$name {
                        Some(setting) => Unit::<$Type>::resolve(setting),
                        None => self.$field,
                    };
                    $(
                        if settings.$name.is_some() && $field < $least {
                            return Err(too_small::<$Unit, $Type>(stringify!($name), $least));
                        }
                    )?
                    $(let $field = $field.min($most);)?
                )+
                Ok(Self { $($field,)+ })
            }

            /// Checks that no setting is higher than the limit in `most`.
            fn check_within(settings: &LimitSettings, most: &Self) -> Result<(), LimitsError> {
                $(if let Some(setting) = settings.$name {
                    let asked = Unit::<$Type>::resolve(setting);
                    if <$Unit as Unit<$Type>>::exceeds(asked, most.$field) {
                        return Err(LimitsError::TooMuch {
                            field: stringify!($name),
                            asked: setting.to_string().into(),
                            most: shown::<$Unit, $Type>(most.$field),
                        });
                    }
                })+
                Ok(())
            }

            /// Returns the most that functions may ask for on a server with these defaults and
            /// `settings` for the most. A limit that `settings` does not give is generous, and never
            /// lower than the default.
            ///
            /// # Errors
            ///
            /// A limit below its default, or one too small to run anything.
            pub fn most(&self, settings: &LimitSettings) -> Result<Self, LimitsError> {
                let most = Self::GENEROUS.replaced_by(settings)?;
                $(
                    let too_high = <$Unit as Unit<$Type>>::exceeds(self.$field, most.$field);
                    if too_high && settings.$name.is_some() {
                        return Err(LimitsError::DefaultTooHigh {
                            field: stringify!($name),
                            default: shown::<$Unit, $Type>(self.$field),
                            most: shown::<$Unit, $Type>(most.$field),
                        });
                    }
                    let $field = if too_high { self.$field } else { most.$field };
                )+
                Ok(Self { $($field,)+ })
            }

            /// Returns these limits as settings that resolve to them.
            #[must_use]
            pub fn settings(&self) -> LimitSettings {
                LimitSettings { $($name: Unit::<$Type>::show(self.$field),)+ }
            }
        }
    };
}

limits! {
    /// Linear memory of one instance. A 32-bit memory has at most 4 GiB.
    max_memory: ByteSize => memory_bytes_max: u64 = 16 << 20, generous 1 << 30,
        at_most Self::MEMORY_BYTES_END;
    /// Wall-clock time of one call. It is checked at the end of each slice of the meter, so a call may take a slice longer.
    max_time: HumanDuration => time_max: Duration = Duration::from_secs(5),
        generous Duration::from_secs(300),
        at_least Duration::from_millis(1);
    /// Fuel of one call: about one unit per instruction, and more for the work of the host.
    max_fuel: Count => fuel_max: u64 = 10_000_000, generous 1_000_000_000_000, at_least 1;
    /// Stack of one call. The engine has one figure for all functions; see
    /// [`LimitsError::StackPerFunction`].
    max_stack: ByteSize => stack_bytes_max: u64 = 512 << 10, generous 512 << 10;
    /// Most nested calls: functions of the module that have called each other and not
    /// returned, the entry included. Needs code that counts them. If there is none, only the bytes
    /// of the stack bound the depth.
    max_stack_depth: Count => stack_depth_max: Option<u32> = None, generous None,
        at_least Some(1), at_most Some(Self::STACK_DEPTH_END);
    /// Reply of one call.
    max_reply: ByteSize => reply_bytes_max: u64 = 16 << 20, generous 512 << 20;
    /// Keys and values that one call writes.
    max_writes: ByteSize => writes_bytes_max: u64 = 64 << 20, generous 1 << 30;
    /// Elements of all tables of one instance together.
    max_table_elements: Count => table_elements_max: u64 = 10_000,
        generous Self::TABLE_ELEMENTS_END,
        at_most Self::TABLE_ELEMENTS_END;
    /// Text that one call writes to the log.
    max_log: ByteSize => log_bytes_max: u64 = 64 << 10, generous 1 << 20;
}

/// Writes and compares a limit of type `T`.
trait Unit<T>: Copy + Display {
    fn resolve(self) -> T;
    fn show(limit: T) -> Option<Self>;
    fn exceeds(limit: T, most: T) -> bool;
}

impl Unit<u64> for ByteSize {
    fn resolve(self) -> u64 {
        self.0
    }

    fn show(limit: u64) -> Option<Self> {
        Some(Self(limit))
    }

    fn exceeds(limit: u64, most: u64) -> bool {
        limit > most
    }
}

impl Unit<u64> for Count {
    fn resolve(self) -> u64 {
        self.0
    }

    fn show(limit: u64) -> Option<Self> {
        Some(Self(limit))
    }

    fn exceeds(limit: u64, most: u64) -> bool {
        limit > most
    }
}

impl Unit<Duration> for HumanDuration {
    fn resolve(self) -> Duration {
        self.0
    }

    fn show(limit: Duration) -> Option<Self> {
        Some(Self(limit))
    }

    fn exceeds(limit: Duration, most: Duration) -> bool {
        limit > most
    }
}

/// A limit that can be absent, and exceeds no other then.
impl Unit<Option<u32>> for Count {
    fn resolve(self) -> Option<u32> {
        Some(u32::try_from(self.0).unwrap_or(u32::MAX))
    }

    fn show(limit: Option<u32>) -> Option<Self> {
        limit.map(|number| Self(number.into()))
    }

    fn exceeds(limit: Option<u32>, most: Option<u32>) -> bool {
        matches!((limit, most), (Some(limit), Some(most)) if limit > most)
    }
}

fn too_small<U: Unit<T>, T>(field: &'static str, least: T) -> LimitsError {
    LimitsError::TooSmall {
        field,
        least: shown::<U, T>(least),
    }
}

/// Returns a limit as people write it; nothing where there is none.
fn shown<U: Unit<T>, T>(limit: T) -> Box<str> {
    U::show(limit).map_or_else(Box::default, |limit| limit.to_string().into())
}

fn higher<T: PartialOrd + Display>(
    name: &str,
    asked: Option<T>,
    granted: Option<T>,
    default: Option<T>,
) -> Option<String> {
    match (asked, granted) {
        (Some(asked), None) => {
            let default = default.filter(|default| asked > *default)?;
            Some(format!(
                "{name} is {asked}, and none was granted, which is the default of {default}"
            ))
        }
        (Some(asked), Some(granted)) if asked > granted => {
            Some(format!("{name} is {asked}, and {granted} was granted"))
        }
        (None, Some(granted)) => Some(format!(
            "{name} is not given, which is the server's own, and {granted} was granted"
        )),
        _ => None,
    }
}

impl Limits {
    /// The largest memory that a module of 32 bits can have.
    pub(crate) const MEMORY_BYTES_END: u64 = 4 << 30;

    /// The most table elements that any function may have, and the most that the compiler accepts:
    /// the space for an instance's tables is reserved beforehand.
    pub const TABLE_ELEMENTS_END: u64 = TABLE_ELEMENTS_MAX as u64;

    /// The deepest nesting that can be counted; the bytes of the stack end long before.
    pub(crate) const STACK_DEPTH_END: u32 = u32::MAX - 1;

    /// Every limit as high as it can be enforced: for one who runs their own functions.
    #[must_use]
    pub fn unbounded() -> Self {
        Self {
            memory_bytes_max: Self::MEMORY_BYTES_END,
            time_max: Duration::MAX,
            fuel_max: u64::MAX,
            reply_bytes_max: u64::MAX,
            writes_bytes_max: u64::MAX,
            log_bytes_max: u64::MAX,
            ..Self::GENEROUS
        }
    }

    /// Returns the limits of a function that is loaded with `settings` on a server whose defaults
    /// these are, and where no function may ask for more than `most`.
    ///
    /// # Errors
    ///
    /// A setting above `most` or too small to run anything, or a smaller stack than the engine's.
    pub fn for_function(&self, settings: &LimitSettings, most: &Self) -> Result<Self, LimitsError> {
        if let Some(ByteSize(asked)) = settings.max_stack
            && asked < self.stack_bytes_max
        {
            return Err(LimitsError::StackPerFunction {
                asked: ByteSize(asked),
                engine: ByteSize(self.stack_bytes_max),
            });
        }
        Self::check_within(settings, most)?;
        let mut limits = self.replaced_by(settings)?;
        // No limit is more than any.
        limits.stack_depth_max = limits.stack_depth_max.or(most.stack_depth_max);
        Ok(limits)
    }

    /// Returns the defaults of a server that is configured with `settings` on top of these limits.
    ///
    /// # Errors
    ///
    /// A setting too small to run anything, or another stack than artifacts are compiled for.
    pub fn for_server(&self, settings: &LimitSettings) -> Result<Self, LimitsError> {
        if let Some(asked) = settings.max_stack
            && asked.0 != self.stack_bytes_max
        {
            return Err(LimitsError::StackOfEngine {
                asked,
                engine: ByteSize(self.stack_bytes_max),
            });
        }
        self.replaced_by(settings)
    }

    /// Returns the limits as JSON, in the form that [`LimitSettings`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.settings().to_json()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl LimitSettings {
    /// Reads the JSON of a `LIMITS` option.
    pub fn from_json(text: &[u8]) -> Result<Self, LimitsError> {
        strict_json::read(text).map_err(LimitsError::Json)
    }

    /// Returns the settings as JSON, without the limits that are not given.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers and texts can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Reason why limits are refused.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// The JSON is wrong.
    #[error("limits: {0}")]
    Json(JsonError),
    /// No function could run under this limit.
    #[error("limits: {field} must be at least {least}")]
    TooSmall {
        /// The limit.
        field: &'static str,
        /// The smallest value accepted.
        least: Box<str>,
    },
    /// A function asks for more than any function may have.
    #[error(
        "limits: {field} {asked} is more than any function may have here, which is {most}; ask for less, or let the operator raise it in [wasm.limits.max]"
    )]
    TooMuch {
        /// The limit.
        field: &'static str,
        /// The value that was asked for.
        asked: Box<str>,
        /// The most that is allowed.
        most: Box<str>,
    },
    /// The default of a limit is higher than the most that a function may ask for.
    #[error(
        "limits: {field} is {default} by default, and functions may have {most} at most; lower the default in [wasm.limits] or raise the most in [wasm.limits.max]"
    )]
    DefaultTooHigh {
        /// The limit.
        field: &'static str,
        /// Its default.
        default: Box<str>,
        /// The most that is allowed.
        most: Box<str>,
    },
    /// A function asks for less stack than other functions have.
    ///
    /// The engine checks the stack against one figure that is fixed when it starts, so a smaller
    /// one could be promised and not kept.
    #[error(
        "limits: max_stack cannot be {asked} for one function: the engine has one stack size, {engine}, for all; leave it out, or bound how deep calls nest with max_stack_depth"
    )]
    StackPerFunction {
        /// The stack that was asked for.
        asked: ByteSize,
        /// The stack of every call.
        engine: ByteSize,
    },
    /// A server that runs asks for larger tables than its engine has space for.
    #[error(
        "limits: max_table_elements cannot be raised to {asked} while the server runs: at its start it reserved space for {reserved}; set it in the configuration file and restart"
    )]
    TablesReserved {
        /// The most elements that were asked for.
        asked: u64,
        /// The most elements that the engine has space for.
        reserved: u64,
    },
    /// A server asks for another stack than artifacts are compiled for.
    #[error("limits: max_stack is fixed at {engine}, not {asked}; leave it out")]
    StackOfEngine {
        /// The stack that was asked for.
        asked: ByteSize,
        /// The stack of every call.
        engine: ByteSize,
    },
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LimitSettings, Limits, LimitsError};

    fn resolve(json: &str) -> Result<Limits, LimitsError> {
        let settings = LimitSettings::from_json(json.as_bytes())?;
        Limits::DEFAULT.for_function(&settings, &Limits::GENEROUS)
    }

    #[test]
    fn a_function_gets_what_it_asks_for_within_the_most() -> Result<(), LimitsError> {
        assert_eq!(resolve("{}")?, Limits::DEFAULT);
        let limits = resolve(
            r#"{"max_memory": "1MB", "max_time": "250ms", "max_fuel": 1000, "max_reply": 0,
                "max_writes": "0", "max_table_elements": 5, "max_log": "1KB", "max_stack_depth": 100}"#,
        )?;
        assert_eq!(
            limits,
            Limits {
                memory_bytes_max: 1 << 20,
                time_max: Duration::from_millis(250),
                fuel_max: 1000,
                stack_bytes_max: Limits::DEFAULT.stack_bytes_max,
                stack_depth_max: Some(100),
                reply_bytes_max: 0,
                writes_bytes_max: 0,
                table_elements_max: 5,
                log_bytes_max: 1024,
            }
        );
        let more = resolve(r#"{"max_fuel": 1000000000, "max_memory": "64MB", "max_time": "1m"}"#)?;
        assert_eq!(
            (more.fuel_max, more.memory_bytes_max, more.time_max),
            (1_000_000_000, 64 << 20, Duration::from_secs(60))
        );
        for (json, field, asked, most) in [
            (r#"{"max_memory": "2GB"}"#, "max_memory", "2GB", "1GB"),
            (r#"{"max_time": "6m"}"#, "max_time", "360s", "300s"),
            (
                r#"{"max_fuel": 18446744073709551615}"#,
                "max_fuel",
                "18446744073709551615",
                "1000000000000",
            ),
            (r#"{"max_stack": "1GB"}"#, "max_stack", "1GB", "512KB"),
            (r#"{"max_reply": "1GB"}"#, "max_reply", "1GB", "512MB"),
            (r#"{"max_writes": "2GB"}"#, "max_writes", "2GB", "1GB"),
            (
                r#"{"max_table_elements": 100001}"#,
                "max_table_elements",
                "100001",
                "100000",
            ),
            (r#"{"max_log": "1GB"}"#, "max_log", "1GB", "1MB"),
        ] {
            let error = resolve(json).expect_err(json).to_string();
            assert!(
                error.contains(&format!("{field} {asked} is more than"))
                    && error.contains(&format!("which is {most};")),
                "{json}: {error}"
            );
        }
        Ok(())
    }

    #[test]
    fn the_most_is_never_below_a_default() -> Result<(), LimitsError> {
        let read = |json: &str| LimitSettings::from_json(json.as_bytes());
        let large = Limits::DEFAULT.for_server(&read(r#"{"max_memory": "2GB"}"#)?)?;
        let most = large.most(&LimitSettings::default())?;
        assert_eq!(most.memory_bytes_max, 2 << 30);
        assert_eq!(most.fuel_max, Limits::GENEROUS.fuel_max);
        let strict = Limits::DEFAULT.most(&read(r#"{"max_time": "6s"}"#)?)?;
        let slow = Limits::DEFAULT.for_function(&read(r#"{"max_time": "7s"}"#)?, &strict);
        assert!(slow.is_err());
        let error = Limits::DEFAULT
            .most(&read(r#"{"max_time": "1s"}"#)?)
            .expect_err("below the default")
            .to_string();
        assert!(error.contains("max_time is 5s by default"), "{error}");
        Ok(())
    }

    #[test]
    fn a_server_may_ask_for_more() -> Result<(), LimitsError> {
        let settings = LimitSettings::from_json(
            br#"{"max_memory": "1TB", "max_time": "1h", "max_table_elements": 1000000000}"#,
        )?;
        let limits = Limits::DEFAULT.for_server(&settings)?;
        assert_eq!(limits.table_elements_max, Limits::TABLE_ELEMENTS_END);
        assert_eq!(limits.memory_bytes_max, 4 << 30);
        assert_eq!(limits.time_max, Duration::from_secs(3600));
        Ok(())
    }

    #[test]
    fn a_functions_depth_is_its_own_up_to_the_most() -> Result<(), LimitsError> {
        let read = |json: &str| LimitSettings::from_json(json.as_bytes());
        let server = Limits::DEFAULT.for_server(&read(r#"{"max_stack_depth": 50}"#)?)?;
        for (json, expected) in [
            ("{}", 50),
            (r#"{"max_stack_depth": 10}"#, 10),
            (r#"{"max_stack_depth": 80}"#, 80),
        ] {
            let limits = server.for_function(&read(json)?, &Limits::GENEROUS)?;
            assert_eq!(limits.stack_depth_max, Some(expected), "{json}");
        }
        // Leaving the limit out is not a way past the most.
        let most = Limits::DEFAULT.most(&read(r#"{"max_stack_depth": 60}"#)?)?;
        for (json, expected) in [("{}", 60), (r#"{"max_stack_depth": 10}"#, 10)] {
            let limits = Limits::DEFAULT.for_function(&read(json)?, &most)?;
            assert_eq!(limits.stack_depth_max, Some(expected), "{json}");
        }
        let deep = resolve(r#"{"max_stack_depth": 18446744073709551615}"#)?;
        assert_eq!(deep.stack_depth_max, Some(Limits::STACK_DEPTH_END));
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_said_at_load() {
        for (json, expected) in [
            (
                "[",
                "limits: not a JSON object: expected an object in braces",
            ),
            (
                r#"{"max_mem": 1}"#,
                "limits: unknown field \"max_mem\"; did you mean \"max_memory\"?",
            ),
            (
                r#"{"max_memory": "lots"}"#,
                "limits: field \"max_memory\": \"lots\" is no size; write 16MB, 512KB or a number of bytes",
            ),
            (
                r#"{"max_memory": -1}"#,
                "limits: field \"max_memory\": -1 is negative; a size starts at 0",
            ),
            (
                r#"{"max_memory": "99999999999GB"}"#,
                "limits: field \"max_memory\": 99999999999GB is too large for a size",
            ),
            (
                r#"{"max_time": 0}"#,
                "limits: max_time must be at least 1ms",
            ),
            (
                r#"{"max_time": "5 parsecs"}"#,
                "limits: field \"max_time\": \"5 parsecs\" is no time; write 5s, 250ms or a number of milliseconds",
            ),
            (r#"{"max_fuel": 0}"#, "limits: max_fuel must be at least 1"),
            (
                r#"{"max_fuel": 1.5}"#,
                "limits: field \"max_fuel\": \"1.5\" is no count; write a whole number such as 10000000",
            ),
            (
                r#"{"max_fuel": 18446744073709551616}"#,
                "limits: field \"max_fuel\": 18446744073709552000 is too large for a count",
            ),
            (
                r#"{"max_stack": "64KB"}"#,
                "limits: max_stack cannot be 64KB for one function: the engine has one stack size, 512KB, for all; leave it out, or bound how deep calls nest with max_stack_depth",
            ),
            (
                r#"{"max_stack_depth": 0}"#,
                "limits: max_stack_depth must be at least 1",
            ),
            (
                r#"{"max_log": 1, "max_log": 2}"#,
                "limits: field \"max_log\" is given twice",
            ),
        ] {
            let error = resolve(json).expect_err(json);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn every_limit_is_set_by_its_name() {
        let defaults = serde_json::to_value(Limits::DEFAULT.settings()).expect("it is data");
        for name in LimitSettings::NAMES {
            let mut settings = LimitSettings::default();
            assert!(matches!(settings.set(name, "7"), Some(Ok(()))), "{name}");
            let json = serde_json::to_value(&settings).expect("it is data");
            assert_eq!(json.as_object().map(serde_json::Map::len), Some(1));
            assert!(json.get(name).is_some(), "{name}");
            let optional = *name == "max_stack_depth";
            assert_eq!(defaults.get(name).is_none(), optional, "{name}");
            assert!(matches!(settings.set(name, "x"), Some(Err(_))), "{name}");
        }
        assert!(LimitSettings::default().set("max_mem", "7").is_none());
    }

    #[test]
    fn what_is_shown_reads_back() -> Result<(), LimitsError> {
        let shown = Limits::DEFAULT.to_json();
        assert_eq!(resolve(&shown)?, Limits::DEFAULT);
        Ok(())
    }
}
