//! What goes on while a load runs: a line per second, written by a thread of its own.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::drive::Second;
use super::measure::ms;

/// Lines that may wait to be written; beyond that they are dropped.
const WAITING: usize = 16;

/// The view. It ends when it is dropped.
#[derive(Debug)]
pub struct Live {
    seconds: Option<SyncSender<Second>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// A view on standard error: one line that is written over on a terminal, plain lines
    /// elsewhere.
    ///
    /// # Errors
    /// If no thread can be made.
    pub fn start() -> io::Result<Self> {
        let (seconds, told) = sync_channel(WAITING);
        let terminal = io::stderr().is_terminal();
        let thread = thread::Builder::new().name("phix-live".into());
        let thread = thread.spawn(move || show(&told, terminal))?;
        Ok(Self { seconds: Some(seconds), thread: Some(thread) })
    }

    /// Tells of a second, and never waits for the writing.
    pub fn tell(&self, second: &Second) {
        if let Some(seconds) = &self.seconds {
            // A line that finds no room is left out; the report has all of them.
            let _ = seconds.try_send(*second);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.seconds = None;
        if let Some(thread) = self.thread.take() {
            // The view is for the eye; the run does not depend on it.
            let _ = thread.join();
        }
    }
}

fn show(told: &Receiver<Second>, terminal: bool) {
    let (before, after) = if terminal { ("\r\x1b[K", "") } else { ("", "\n") };
    let mut last = Second::default();
    for second in told {
        // Where nobody listens there is nobody to tell.
        let _ = write!(io::stderr(), "{before}{}{after}", line(&last, &second));
        last = second;
    }
    if terminal {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn line(last: &Second, now: &Second) -> String {
    let length = now.at - last.at;
    let rate = |count: u64, before: u64| count.saturating_sub(before) as f64 / length;
    format!(
        "{:4.0} s  offered {:.0}/s  sent {:.0}/s  back {:.0}/s  overdue {}  delay error p50 {:.2} \
         p99 {:.2} ms",
        now.at,
        rate(now.planned, last.planned),
        rate(now.sent, last.sent),
        rate(now.intact, last.intact),
        now.overdue,
        ms(now.p50),
        ms(now.p99),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_of_one_second() {
        let last = Second { at: 1.0, planned: 100, sent: 90, intact: 80, ..Second::default() };
        let (p50, p99) = (150_000, 2_000_000);
        let now = Second { at: 2.0, planned: 300, sent: 290, intact: 270, overdue: 3, p50, p99 };
        assert_eq!(
            line(&last, &now),
            "   2 s  offered 200/s  sent 200/s  back 190/s  overdue 3  delay error p50 0.15 p99 \
             2.00 ms"
        );
    }

    #[test]
    fn the_view_never_holds_up_the_run() {
        let live = Live::start().unwrap();
        (1..1_000).for_each(|i| live.tell(&Second { at: f64::from(i), ..Second::default() }));
    }
}
