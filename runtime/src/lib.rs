//! The lean runtime: loads artifacts and calls functions, without a compiler.
