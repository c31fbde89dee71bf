//! What goes on, on standard error: one line, written over itself where a person watches.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is written anew where a person watches.
const TICK: Duration = Duration::from_millis(250);

/// How often a new line is written elsewhere.
const LINE: Duration = Duration::from_secs(5);

/// The line.
#[derive(Debug)]
pub struct Progress {
    shown: Option<Instant>,
    watched: bool,
    /// Time between two lines; none are written without it.
    every: Option<Duration>,
}

impl Progress {
    /// A line that a terminal shows; a file gets one now and then.
    pub fn new() -> Self {
        let watched = io::stderr().is_terminal();
        Self { shown: None, watched, every: Some(if watched { TICK } else { LINE }) }
    }

    /// A line that a terminal shows and nothing else.
    pub fn for_terminals() -> Self {
        let watched = io::stderr().is_terminal();
        Self { shown: None, watched, every: watched.then_some(TICK) }
    }

    /// Shows the text, if it is time to.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        let Some(every) = self.every else { return };
        if self.shown.is_none_or(|shown| shown.elapsed() >= every) {
            self.shown = Some(Instant::now());
            let (before, after) = if self.watched { ("\r\x1b[K", "") } else { ("", "\n") };
            // Where nobody listens there is nobody to tell.
            let _ = write!(io::stderr(), "{before}{}{after}", text());
        }
    }

    /// Removes the line from a terminal.
    pub fn end(&mut self) {
        if self.shown.take().is_some() && self.watched {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
