//! SIGTERM and SIGINT.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Exit code of a process that was told twice: what shells report for SIGINT.
const IMPATIENT: i32 = 130;

/// Word of the first SIGTERM or SIGINT. A second one, while the program winds up, ends it at once.
#[derive(Debug)]
pub struct StopSignal {
    told: Receiver<&'static str>,
}

impl StopSignal {
    /// Catches the signals from now on. To be called once in a process.
    ///
    /// # Errors
    /// If they cannot be caught, or there is no thread to be had that waits for them.
    pub fn install() -> io::Result<Self> {
        let once = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&once))?;
            flag::register(signal, Arc::clone(&once))?;
        }
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (tell, told) = channel();
        thread::Builder::new().name("phix-signals".to_owned()).spawn(move || {
            let first = signals.forever().next();
            // Nobody may be waiting any more.
            let _ = tell.send(if first == Some(SIGTERM) { "SIGTERM" } else { "SIGINT" });
        })?;
        Ok(Self { told })
    }

    /// Waits for `time` at most; says whether the program has been told to stop, by then or before.
    pub fn wait(&self, time: Duration) -> bool {
        !matches!(self.told.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

/// Waits until the process is told to stop by SIGTERM or SIGINT, and says by which.
///
/// # Errors
/// If the signals cannot be caught.
pub fn wait_for_stop() -> io::Result<&'static str> {
    StopSignal::install()?.told.recv().map_err(io::Error::other)
}
