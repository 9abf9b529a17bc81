//! The `amends` binary.

use std::process::ExitCode;

/// Sagas are many small pieces of JSON that come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    amends::cli::main()
}
