//! The `amends` command, and the composition root: it puts the layers together and runs them.

pub mod demo;
