//! The limits of a server, which can change while it serves calls.

use crate::policy::limits::{LimitSettings, Limits, LimitsError};

/// The limits of a server: the defaults of its functions, and the most that they may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// The limits of functions that give none.
    pub defaults: Limits,
    /// The most that a function may ask for.
    pub most: Limits,
}

impl ServerLimits {
    /// Returns the limits of a function that asks for `settings`.
    ///
    /// # Errors
    ///
    /// A setting that is too small, or more than a function may ask for.
    pub fn of(&self, settings: &LimitSettings) -> Result<Limits, LimitsError> {
        self.defaults.for_function(settings, &self.most)
    }

    /// Returns the settings of a function whose module needs limits: `given`, and those of `needed` that it does
    /// not give and that are above the defaults, as far as a function may ask for them.
    #[must_use]
    pub fn completed(&self, given: &LimitSettings, needed: &LimitSettings) -> LimitSettings {
        given.raised_to(needed, &self.defaults, &self.most)
    }

    /// Checks that an engine with space for tables of `elements_max` elements can keep these limits.
    pub(crate) fn check_tables(&self, elements_max: usize) -> Result<(), LimitsError> {
        let reserved = u64::try_from(elements_max).unwrap_or(u64::MAX);
        let asked = self.most.table_elements_max;
        if asked > reserved {
            return Err(LimitsError::TablesReserved { asked, reserved });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::ServerLimits;
    use crate::policy::limits::{LimitSettings, Limits};

    #[test]
    fn what_a_module_needs_raises_the_defaults_alone() {
        let settings = |json: &str| LimitSettings::from_json(json.as_bytes()).expect("limits");
        let limits = ServerLimits {
            defaults: Limits::DEFAULT,
            most: Limits {
                memory_bytes_max: 48 << 20,
                ..Limits::GENEROUS
            },
        };
        let needed = settings(
            r#"{"max_memory":"64MB","max_fuel":200000000,"max_time":"1s","max_stack_depth":9}"#,
        );
        for (given, expected) in [
            // Not above what any function may have, nor below the default.
            ("{}", r#"{"max_memory":"48MB","max_fuel":200000000}"#),
            (
                r#"{"max_memory":"20MB","max_fuel":5}"#,
                r#"{"max_memory":"20MB","max_fuel":5}"#,
            ),
        ] {
            let completed = limits.completed(&settings(given), &needed);
            assert_eq!(completed, settings(expected), "{given}");
            assert!(limits.of(&completed).is_ok());
        }
    }

    #[test]
    fn tables_need_the_space_that_the_engine_has() {
        let limits = ServerLimits {
            defaults: Limits::DEFAULT,
            most: Limits {
                table_elements_max: 20_000,
                ..Limits::GENEROUS
            },
        };
        assert!(limits.check_tables(20_000).is_ok());
        let error = limits.check_tables(19_999).expect_err("no space");
        assert_eq!(
            error.to_string(),
            "limits: max_table_elements cannot be raised to 20000 while the server runs: at its start it reserved space for 19999; set it in the configuration file and restart"
        );
        assert_eq!(
            limits.of(&LimitSettings::default()).ok(),
            Some(Limits::DEFAULT)
        );
    }
}
