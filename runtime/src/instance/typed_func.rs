//! A scalar entry as it is called: the usual signatures with static types, any other by value.

use ferrite_cache::{Signature, ValueType};
use wasmtime::{AsContextMut, Func, Store, TypedFunc, Val};

/// Types, as the macro below needs them.
macro_rules! ty {
    (i32) => {
        i32
    };
    (i64) => {
        i64
    };
    (f64) => {
        f64
    };
}

macro_rules! value_type {
    (i32) => {
        ValueType::I32
    };
    (i64) => {
        ValueType::I64
    };
    (f64) => {
        ValueType::F64
    };
}

macro_rules! unwrap {
    (i32, $value:expr) => {
        $value.i32()
    };
    (i64, $value:expr) => {
        $value.i64()
    };
    (f64, $value:expr) => {
        $value.f64()
    };
}

macro_rules! scalar_funcs {
    ($($variant:ident($($param:ident: $ty:tt),*) -> $result:tt;)*) => {
        /// A scalar entry as it is called.
        ///
        /// A call by value looks its function's type up and compares every argument with it, which
        /// takes longer than most such functions run.
        pub(crate) enum ScalarFunc {
            $(
                #[doc = stringify!(($($ty),*) -> $result)]
                $variant(TypedFunc<($(ty!($ty),)*), ty!($result)>),
            )*
            /// Any other signature.
            Any(Func),
        }

        impl ScalarFunc {
            /// The entry `func`, which has this signature.
            ///
            /// # Errors
            ///
            /// Fails if it has another.
            pub(crate) fn new<T: 'static>(
                func: Func,
                signature: &Signature,
                store: &Store<T>,
            ) -> wasmtime::Result<Self> {
                let Signature { params, results } = signature;
                $(
                    if *params == [$(value_type!($ty)),*] as [ValueType; _]
                        && *results == [value_type!($result)]
                    {
                        return Ok(Self::$variant(func.typed(store)?));
                    }
                )*
                Ok(Self::Any(func))
            }

            /// Calls the entry on this stack.
            ///
            /// # Errors
            ///
            /// Whatever ends the guest, and values of other types than its signature's.
            pub(crate) fn call(
                &self,
                store: impl AsContextMut,
                args: &[Val],
                results: &mut [Val],
            ) -> wasmtime::Result<()> {
                match (self, args, results) {
                    $(
                        (Self::$variant(func), [$($param),*], [result]) => {
                            let args = ($(unwrap!($ty, $param).ok_or_else(wrong)?,)*);
                            *result = func.call(store, args)?.into();
                            Ok(())
                        }
                    )*
                    (Self::Any(func), args, results) => func.call(store, args, results),
                    _ => Err(wrong()),
                }
            }

            /// Calls the entry on a stack of its own.
            ///
            /// # Errors
            ///
            /// Whatever ends the guest, and values of other types than its signature's.
            pub(crate) async fn call_async(
                &self,
                store: impl AsContextMut<Data: Send>,
                args: &[Val],
                results: &mut [Val],
            ) -> wasmtime::Result<()> {
                match (self, args, results) {
                    $(
                        (Self::$variant(func), [$($param),*], [result]) => {
                            let args = ($(unwrap!($ty, $param).ok_or_else(wrong)?,)*);
                            *result = func.call_async(store, args).await?.into();
                            Ok(())
                        }
                    )*
                    (Self::Any(func), args, results) => func.call_async(store, args, results).await,
                    _ => Err(wrong()),
                }
            }
        }
    };
}

scalar_funcs! {
    Int() -> i32;
    Long() -> i64;
    IntOfInt(a: i32) -> i32;
    LongOfLong(a: i64) -> i64;
    DoubleOfDouble(a: f64) -> f64;
    IntOfInts(a: i32, b: i32) -> i32;
    LongOfLongs(a: i64, b: i64) -> i64;
    DoubleOfDoubles(a: f64, b: f64) -> f64;
}

#[cold]
fn wrong() -> wasmtime::Error {
    wasmtime::Error::msg("the arguments are not those of the entry's signature")
}
