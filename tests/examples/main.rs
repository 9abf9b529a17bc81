//! The example participants of `examples/participants/`, as processes, driven as a coordinator
//! would drive them: whatever comes twice, late or the wrong way round has one effect or none.
//!
//! `tests/run` installs what they need below `target/`; `AMENDS_TEST_PYTHON` (an interpreter with
//! pika) and `AMENDS_TEST_NODE_MODULES` (a folder with pg) name it elsewhere.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may"
)]

mod documented;
mod node;
mod process;
mod python;
mod story;
