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
