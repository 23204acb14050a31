//! `ftrun`: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

/// Freed memory is reused at once; glibc returns it to the system between updates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // candle's own workers spin after every large addition and take the processor from ours, which
    // do all other work. It reads this once.
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var("CANDLE_BARRIER_POOL_SPIN_LIMIT", "1") };
    ftrun::cli::main()
}
