//! The `amends` binary.
fn main() {}
