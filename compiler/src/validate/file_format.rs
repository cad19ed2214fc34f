//! Recognises files of other formats that are mistaken for a module.

/// Version fields of a binary module and of a component.
const MODULE_VERSION: [u8; 4] = [1, 0, 0, 0];
const COMPONENT_VERSION: [u8; 4] = [0x0d, 0, 1, 0];

/// Describes input that does not begin like a binary module, with a remedy; `None` if it does.
pub(super) fn describe_other(source: &[u8]) -> Option<&'static str> {
    if let Some(rest) = source.strip_prefix(super::MAGIC) {
        return if rest.starts_with(&MODULE_VERSION) || MODULE_VERSION.starts_with(rest) {
            None
        } else if rest.starts_with(&COMPONENT_VERSION) {
            Some("it is a component, which has to be flattened to a module first")
        } else {
            Some("it has the magic number of one, but another version than 1")
        };
    }
    Some(if source.is_empty() {
        "it is empty"
    } else if source.starts_with(b"\x7fELF") {
        "it is an ELF file, perhaps an artifact that is compiled already; give the `.wasm` it was \
         made from"
    } else if source.starts_with(&[0x1f, 0x8b]) {
        "it is compressed with gzip; unpack it first"
    } else if source.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        "it is compressed with zstd; unpack it first"
    } else if source.starts_with(b"PK\x03\x04") {
        "it is a zip archive; unpack it first"
    } else if source.starts_with(b"!<arch>") {
        "it is an archive of object files; link it into a `.wasm` first"
    } else if source.trim_ascii_start().starts_with(b"(") {
        "it begins like the text format, but is not UTF-8"
    } else {
        "it starts neither with `\\0asm` nor, in the text format, with `(`"
    })
}

#[cfg(test)]
mod tests {
    use super::describe_other;

    #[test]
    fn a_prefix_of_a_module_is_not_foreign() {
        for length in 4..=8 {
            assert_eq!(describe_other(&b"\0asm\x01\0\0\0"[..length]), None);
        }
        for length in 0..4 {
            assert!(describe_other(&b"\0asm"[..length]).is_some());
        }
    }
}
