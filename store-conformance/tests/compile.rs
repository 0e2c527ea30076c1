//! What a suite refuses when it is compiled.

#[test]
fn a_misspelt_group_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile/misspelt_group.rs");
}
