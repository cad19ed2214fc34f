//! The number of arguments that a command takes, as `COMMAND` shows it.

/// Returns true if a command of this arity takes a request of so many words, the name included.
///
/// A negative arity is a minimum.
#[must_use]
pub const fn takes(arity: i32, words: usize) -> bool {
    let wanted = arity.unsigned_abs() as usize;
    if arity < 0 {
        words >= wanted
    } else {
        words == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::takes;

    #[test]
    fn a_negative_arity_is_a_minimum() {
        assert!(takes(2, 2) && !takes(2, 1) && !takes(2, 3));
        assert!(takes(-2, 2) && !takes(-2, 1) && takes(-2, 3));
    }
}
