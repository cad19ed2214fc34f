//! Numbers as the server itself writes them.

use ferrite_protocol::keyspace::StoreError;

/// A decimal integer of 64 bits in the form that the server itself writes.
pub(crate) fn integer(bytes: &[u8]) -> Result<i64, StoreError> {
    let text = std::str::from_utf8(bytes).map_err(|_| StoreError::NotAnInteger)?;
    let number: i64 = text.parse().map_err(|_| StoreError::NotAnInteger)?;
    // No plus, no leading zeros, no minus zero.
    if text.len() == number.to_string().len() {
        Ok(number)
    } else {
        Err(StoreError::NotAnInteger)
    }
}

#[cfg(test)]
mod tests {
    use ferrite_protocol::keyspace::StoreError;

    use super::integer;

    #[test]
    fn integers_have_one_form() {
        for (text, number) in [("0", 0), ("-7", -7), ("9223372036854775807", i64::MAX)] {
            assert_eq!(integer(text.as_bytes()), Ok(number));
        }
        for text in [
            "",
            "+1",
            "01",
            "-0",
            " 1",
            "1.0",
            "9223372036854775808",
            "\u{ff}",
        ] {
            assert_eq!(
                integer(text.as_bytes()),
                Err(StoreError::NotAnInteger),
                "{text}"
            );
        }
    }
}
