//! `ftrun`: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

/// Freed memory is reused at once; glibc returns it to the system between updates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ftrun::cli::main()
}
