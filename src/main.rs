//! `ftrun`: arguments in, exit code out. Everything else is in the library.

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

/// One allocator for everything: activations have other sizes in each update, and what one update
/// frees the next takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// `mi_option_purge_delay` of `mimalloc.h`.
const PURGE_DELAY: c_int = 15;

fn main() -> ExitCode {
    // Freed memory is kept: returning it to the system between updates and taking it again costs a
    // page fault for every 4 KiB of activations, a tenth of an update.
    // SAFETY: an option of the linked allocator is set to a value that its documentation names.
    unsafe { mi_option_set(PURGE_DELAY, -1) };
    // candle's own workers spin after every large addition and take the processor from ours, which
    // do all other work. It reads this once.
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var("CANDLE_BARRIER_POOL_SPIN_LIMIT", "1") };
    ftrun::cli::main()
}
