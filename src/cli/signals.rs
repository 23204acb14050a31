//! Ctrl-C and its relatives. The first asks for a stop at the next good moment, the second ends the
//! process at once. SIGTERM and SIGUSR2 ask for a checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Exit;
use super::console::Console;
use crate::step::Stop;

const NONE: u8 = 0;
const INTERRUPT: u8 = 1;
const CHECKPOINT: u8 = 2;

/// Whether a stop was asked for, and how.
#[derive(Clone)]
pub struct Stopper(Arc<AtomicU8>);

impl Stopper {
    pub fn get(&self) -> Option<Stop> {
        match self.0.load(Ordering::Relaxed) {
            INTERRUPT => Some(Stop::Interrupt),
            CHECKPOINT => Some(Stop::Checkpoint),
            _ => None,
        }
    }
}

/// Listens from now on. Where signals cannot be listened to, none ever comes.
pub fn listen(console: &Console) -> Stopper {
    let stopper = Stopper(Arc::new(AtomicU8::new(NONE)));
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
        let (state, console) = (Arc::clone(&stopper.0), *console);
        if let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR2]) {
            std::thread::spawn(move || {
                for signal in signals.forever() {
                    let before = state.load(Ordering::Relaxed);
                    if signal != SIGINT {
                        if before == NONE {
                            state.store(CHECKPOINT, Ordering::Relaxed);
                            console.message("finishing this update, saving");
                        }
                    } else if before == INTERRUPT {
                        std::process::exit(Exit::Interrupted as i32);
                    } else {
                        state.store(INTERRUPT, Ordering::Relaxed);
                        console.message("\nfinishing this update, saving; press again to stop now");
                    }
                }
            });
        }
    }
    #[cfg(not(unix))]
    let _ = (console, INTERRUPT, CHECKPOINT);
    stopper
}
