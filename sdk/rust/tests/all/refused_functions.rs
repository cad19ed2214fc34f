//! The compiler's messages for functions that cannot be exported: they are part of the interface.

#[test]
fn mistakes_are_explained_where_they_stand() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
