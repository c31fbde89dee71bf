//! SIGTERM and SIGINT, and SIGUSR2.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Exit code of a process that was told twice: what shells report for SIGINT.
const IMPATIENT: i32 = 130;

/// Notices that the process is told to stop, by SIGTERM or SIGINT. A second signal, while the
/// caller winds up, ends the process at once.
#[derive(Debug)]
pub struct StopSignal {
    told: Arc<AtomicBool>,
    wake: Receiver<()>,
}

impl StopSignal {
    /// Catches the two signals from now on.
    ///
    /// # Errors
    /// If they cannot be caught.
    pub fn install() -> io::Result<Self> {
        let told = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&told))?;
            flag::register(signal, Arc::clone(&told))?;
        }
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (waker, wake) = mpsc::channel();
        thread::Builder::new().name("phix-signals".into()).spawn(move || {
            // The receiver may be gone already; the flag says it all the same.
            let _ = signals.forever().next().map(|_| waker.send(()));
        })?;
        Ok(Self { told, wake })
    }

    /// Waits for `limit` at most; says whether the process has been told to stop.
    pub fn wait(&self, limit: Duration) -> bool {
        self.told.load(Ordering::Relaxed)
            || self.wake.recv_timeout(limit).is_ok()
            || self.told.load(Ordering::Relaxed)
    }
}

/// Notices SIGUSR2, by which an operator asks a node to hand over to a new program.
#[derive(Debug)]
pub struct UpgradeSignal(Arc<AtomicBool>);

impl UpgradeSignal {
    /// Catches the signal from now on.
    ///
    /// # Errors
    /// If it cannot be caught.
    pub fn install() -> io::Result<Self> {
        let told = Arc::new(AtomicBool::new(false));
        flag::register(SIGUSR2, Arc::clone(&told))?;
        Ok(Self(told))
    }

    /// Whether it came since the last time.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
