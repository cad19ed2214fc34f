//! `println!` and its like, for functions: what they print goes to the log.
//!
//! WebAssembly has no standard output, so the standard library's macros print nothing there, and say
//! nothing about it. `#[ferrite_function]` makes the function below it use these instead. Code
//! elsewhere imports them by name:
//!
//! ```
//! use ferrite_wasm_sdk::console::{dbg, println};
//! use ferrite_wasm_sdk::mock;
//!
//! let store = mock::Store::new();
//! println!("{} left", dbg!(1 + 2));
//! assert_eq!(store.log()[1].1, "3 left");
//! ```
//!
//! On the host they print as well, so that a failed test shows it.

use alloc::string::String;
use core::fmt;

use crate::level::Level;
#[doc(inline)]
pub use crate::{
    __ferrite_dbg as dbg, __ferrite_eprintln as eprint, __ferrite_eprintln as eprintln,
    __ferrite_println as print, __ferrite_println as println,
};

/// Logs a line at level info. `print!` does the same.
#[doc(hidden)]
#[macro_export]
macro_rules! __ferrite_println {
    () => {
        $crate::console::line($crate::ferrite::Level::Info, ::core::format_args!(""))
    };
    ($($text:tt)+) => {
        $crate::console::line($crate::ferrite::Level::Info, ::core::format_args!($($text)+))
    };
}

/// Logs a line as a warning. `eprint!` does the same.
#[doc(hidden)]
#[macro_export]
macro_rules! __ferrite_eprintln {
    () => {
        $crate::console::line($crate::ferrite::Level::Warn, ::core::format_args!(""))
    };
    ($($text:tt)+) => {
        $crate::console::line($crate::ferrite::Level::Warn, ::core::format_args!($($text)+))
    };
}

/// Logs values with their expressions and their place, at level debug, and returns them.
#[doc(hidden)]
#[macro_export]
macro_rules! __ferrite_dbg {
    () => {
        $crate::console::line(
            $crate::ferrite::Level::Debug,
            ::core::format_args!("[{}:{}]", ::core::file!(), ::core::line!()),
        )
    };
    ($value:expr $(,)?) => {
        // A match keeps temporaries in the expression alive, as the standard macro does.
        match $value {
            value => {
                $crate::console::line(
                    $crate::ferrite::Level::Debug,
                    ::core::format_args!(
                        "[{}:{}] {} = {:?}",
                        ::core::file!(),
                        ::core::line!(),
                        ::core::stringify!($value),
                        &value
                    ),
                );
                value
            }
        }
    };
    ($($value:expr),+ $(,)?) => {
        ($($crate::__ferrite_dbg!($value)),+,)
    };
}

/// Logs a line, without the line feed that its text may end with.
#[doc(hidden)]
pub fn line(level: Level, text: fmt::Arguments<'_>) {
    let text: String = alloc::fmt::format(text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    #[cfg(target_family = "wasm")]
    crate::host::log(level as i32, text.as_bytes());
    #[cfg(not(target_family = "wasm"))]
    crate::host::in_memory::print(level, text);
}
