//! How much a function may use: read from JSON or the configuration, capped by the server's own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::quantity::{ByteSize, Count, HumanDuration};
use crate::policy::strict_json::{self, JsonError};

/// Limits as they are written: `LIMITS '{"max_memory": "4MB", "max_time": "250ms"}'`.
///
/// Sizes take `KB`, `MB`, `GB` (powers of 1024) or plain bytes, times `us`, `ms`, `s`, `m`, `h` or
/// plain milliseconds. What is not given is the server's own limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Linear memory of one instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<ByteSize>,
    /// Wall-clock time of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_time: Option<HumanDuration>,
    /// Fuel of one call; about one unit an instruction, and more for what the host does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fuel: Option<Count>,
    /// Stack of one call. It is the same for all functions; see [`LimitsError::StackPerFunction`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stack: Option<ByteSize>,
    /// How deep calls may nest: functions of the module that call others of it and run at once, the
    /// entry included. Needs code that counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stack_depth: Option<Count>,
    /// The reply of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_reply: Option<ByteSize>,
    /// Keys and values that one call writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_writes: Option<ByteSize>,
    /// Elements of all tables of one instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_table_elements: Option<Count>,
    /// What one call writes to the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_log: Option<ByteSize>,
}

/// Limits with every number decided; what the runtime enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, in bytes.
    pub memory_bytes_max: u64,
    /// Wall-clock time of one call.
    pub time_max: Duration,
    /// Fuel of one call.
    pub fuel_max: u64,
    /// Stack of one call, in bytes; the engine has one figure for all functions.
    pub stack_bytes_max: u64,
    /// Functions of the module that call others of it and may run at once, the entry included;
    /// none where only the stack's bytes bound them.
    pub stack_depth_max: Option<u32>,
    /// The reply of one call, in bytes.
    pub reply_bytes_max: u64,
    /// Keys and values that one call writes, in bytes.
    pub writes_bytes_max: u64,
    /// Elements of all tables of one instance.
    pub table_elements_max: u64,
    /// What one call writes to the log, in bytes.
    pub log_bytes_max: u64,
}

impl Limits {
    /// What holds where the configuration says nothing.
    pub const DEFAULT: Self = Self {
        memory_bytes_max: 16 << 20,
        time_max: Duration::from_secs(5),
        fuel_max: 10_000_000,
        stack_bytes_max: 512 << 10,
        stack_depth_max: None,
        reply_bytes_max: 16 << 20,
        writes_bytes_max: 64 << 20,
        table_elements_max: 10_000,
        log_bytes_max: 64 << 10,
    };

    /// The most table elements that any function may have, and the most that the compiler takes: an
    /// instance's tables are set aside beforehand.
    pub const TABLE_ELEMENTS_END: u64 = 100_000;

    /// The deepest that calls can be counted; the stack's bytes end long before.
    pub(crate) const STACK_DEPTH_END: u32 = u32::MAX - 1;

    /// A 32-bit memory has no more than this, in bytes.
    const MEMORY_BYTES_END: u64 = 4 << 30;

    /// Calls are ended by a clock that ticks once a millisecond.
    const TIME_MIN: Duration = Duration::from_millis(1);

    /// The limits of a function that is loaded with `settings`, where these are the server's.
    ///
    /// A larger figure than the server's is lowered to it.
    pub fn for_function(&self, settings: &LimitSettings) -> Result<Self, LimitsError> {
        if let Some(ByteSize(asked)) = settings.max_stack
            && asked < self.stack_bytes_max
        {
            return Err(LimitsError::StackPerFunction {
                asked: ByteSize(asked),
                engine: ByteSize(self.stack_bytes_max),
            });
        }
        let asked = self.replaced_by(settings)?;
        Ok(Self {
            memory_bytes_max: asked.memory_bytes_max.min(self.memory_bytes_max),
            time_max: asked.time_max.min(self.time_max),
            fuel_max: asked.fuel_max.min(self.fuel_max),
            stack_bytes_max: self.stack_bytes_max,
            stack_depth_max: lower(asked.stack_depth_max, self.stack_depth_max),
            reply_bytes_max: asked.reply_bytes_max.min(self.reply_bytes_max),
            writes_bytes_max: asked.writes_bytes_max.min(self.writes_bytes_max),
            table_elements_max: asked.table_elements_max.min(self.table_elements_max),
            log_bytes_max: asked.log_bytes_max.min(self.log_bytes_max),
        })
    }

    /// The server's own limits: these, with those in `settings` put in their place.
    ///
    /// `max_stack` is not for a server to choose either: artifacts are compiled for one figure.
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

    fn replaced_by(&self, settings: &LimitSettings) -> Result<Self, LimitsError> {
        let LimitSettings {
            max_memory,
            max_time,
            max_fuel,
            max_stack: _, // Decided by the callers.
            max_stack_depth,
            max_reply,
            max_writes,
            max_table_elements,
            max_log,
        } = settings;
        if *max_stack_depth == Some(Count(0)) {
            return Err(LimitsError::TooSmall {
                field: "max_stack_depth",
                least: "1".into(),
            });
        }
        if let Some(HumanDuration(asked)) = max_time
            && *asked < Self::TIME_MIN
        {
            return Err(LimitsError::TooSmall {
                field: "max_time",
                least: HumanDuration(Self::TIME_MIN).to_string().into(),
            });
        }
        if *max_fuel == Some(Count(0)) {
            return Err(LimitsError::TooSmall {
                field: "max_fuel",
                least: "1".into(),
            });
        }
        let size = |asked: &Option<ByteSize>, own| asked.map_or(own, |ByteSize(bytes)| bytes);
        let count = |asked: &Option<Count>, own| asked.map_or(own, |Count(number)| number);
        Ok(Self {
            memory_bytes_max: size(max_memory, self.memory_bytes_max).min(Self::MEMORY_BYTES_END),
            time_max: max_time.map_or(self.time_max, |HumanDuration(time)| time),
            fuel_max: count(max_fuel, self.fuel_max),
            stack_bytes_max: self.stack_bytes_max,
            stack_depth_max: match max_stack_depth {
                Some(Count(number)) => Some(
                    u32::try_from(*number)
                        .unwrap_or(u32::MAX)
                        .min(Self::STACK_DEPTH_END),
                ),
                None => self.stack_depth_max,
            },
            reply_bytes_max: size(max_reply, self.reply_bytes_max),
            writes_bytes_max: size(max_writes, self.writes_bytes_max),
            table_elements_max: count(max_table_elements, self.table_elements_max)
                .min(Self::TABLE_ELEMENTS_END),
            log_bytes_max: size(max_log, self.log_bytes_max),
        })
    }

    /// The limits as JSON, in the form that [`LimitSettings`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self {
            memory_bytes_max,
            time_max,
            fuel_max,
            stack_bytes_max,
            stack_depth_max,
            reply_bytes_max,
            writes_bytes_max,
            table_elements_max,
            log_bytes_max,
        } = *self;
        LimitSettings {
            max_memory: Some(ByteSize(memory_bytes_max)),
            max_time: Some(HumanDuration(time_max)),
            max_fuel: Some(Count(fuel_max)),
            max_stack: Some(ByteSize(stack_bytes_max)),
            max_stack_depth: stack_depth_max.map(|depth| Count(depth.into())),
            max_reply: Some(ByteSize(reply_bytes_max)),
            max_writes: Some(ByteSize(writes_bytes_max)),
            max_table_elements: Some(Count(table_elements_max)),
            max_log: Some(ByteSize(log_bytes_max)),
        }
        .to_json()
    }
}

/// The lower of two limits, where there are two.
fn lower(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
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

    /// The same as JSON, without the fields that were not given.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers and texts can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why limits are refused.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// The text is not what it must be.
    #[error("limits: {0}")]
    Json(JsonError),
    /// A function cannot do anything under this limit.
    #[error("limits: {field} must be at least {least}")]
    TooSmall {
        /// Which limit.
        field: &'static str,
        /// The smallest figure taken.
        least: Box<str>,
    },
    /// Less stack than other functions have.
    ///
    /// The engine checks the stack against one figure that is fixed when it starts, so a smaller
    /// one could be promised and not kept.
    #[error(
        "limits: max_stack cannot be {asked} for one function: the engine has one stack size, {engine}, for all; leave it out, or bound how deep calls nest with max_stack_depth"
    )]
    StackPerFunction {
        /// What was asked for.
        asked: ByteSize,
        /// What every call has.
        engine: ByteSize,
    },
    /// Another stack than artifacts are compiled for.
    #[error("limits: max_stack is fixed at {engine}, not {asked}; leave it out")]
    StackOfEngine {
        /// What was asked for.
        asked: ByteSize,
        /// What every call has.
        engine: ByteSize,
    },
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LimitSettings, Limits, LimitsError};

    fn resolve(json: &str) -> Result<Limits, LimitsError> {
        Limits::DEFAULT.for_function(&LimitSettings::from_json(json.as_bytes())?)
    }

    #[test]
    fn a_function_may_ask_for_less_and_never_gets_more() -> Result<(), LimitsError> {
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
        let greedy = resolve(
            r#"{"max_memory": "1TB", "max_time": "1h", "max_fuel": 18446744073709551615, "max_stack": "1GB",
                "max_reply": "1GB", "max_writes": "1GB", "max_table_elements": 10000000, "max_log": "1GB"}"#,
        )?;
        assert_eq!(greedy, Limits::DEFAULT);
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
    fn the_servers_depth_is_every_functions() -> Result<(), LimitsError> {
        let read = |json: &str| LimitSettings::from_json(json.as_bytes());
        let server = Limits::DEFAULT.for_server(&read(r#"{"max_stack_depth": 50}"#)?)?;
        for (json, expected) in [
            ("{}", 50),
            (r#"{"max_stack_depth": 10}"#, 10),
            (r#"{"max_stack_depth": 18446744073709551615}"#, 50),
        ] {
            let limits = server.for_function(&read(json)?)?;
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
    fn what_is_shown_reads_back() -> Result<(), LimitsError> {
        let shown = Limits::DEFAULT.to_json();
        assert_eq!(resolve(&shown)?, Limits::DEFAULT);
        Ok(())
    }
}
