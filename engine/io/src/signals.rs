//! SIGTERM and SIGINT.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Exit code of a process that was told twice: what shells report for SIGINT.
const IMPATIENT: i32 = 130;

/// Waits until the process is told to stop by SIGTERM or SIGINT, and says by which. A second
/// signal, while the caller winds up, ends the process at once.
///
/// # Errors
/// If the signals cannot be caught.
pub fn wait_for_stop() -> io::Result<&'static str> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&told))?;
        flag::register(signal, Arc::clone(&told))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let first = signals.forever().next();
    Ok(if first == Some(SIGTERM) { "SIGTERM" } else { "SIGINT" })
}
