//! `phix-node top`: a running node, as its metrics show it, on a terminal.

mod fetch;
mod reading;
mod summary;
mod view;

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::fetch::{Fetcher, Place};
use self::reading::Reading;
use self::summary::Summary;
use self::view::{Screen, draw, plain};
use crate::cli::say;
use crate::fault::Fault;
use crate::place;
use crate::reach::reachable;

/// Time between two readings: a node takes its values once a second at most.
const EVERY: Duration = Duration::from_millis(1_100);
/// How long a key or a reading waits for the other.
const LOOK: Duration = Duration::from_millis(50);
/// Readings that the picture of the rate goes back.
const HISTORY: usize = 600;

const TEACH: &str = "\
Shows each shard of a running node: packets in, out and dropped per second, how full its batches
are, where packets wait, its connections and its memory; how late packets leave; why packets were
dropped. \"late by\" is the time at which a packet was handed to the kernel minus the time at which
it was due. Needs the node's setting `metrics`. q quits.

Examples:
  phix-node top --dir /var/lib/phix
  phix-node top --url http://127.0.0.1:9178/metrics
  phix-node top --dir /var/lib/phix --once";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    let url = Arg::new("url").long("url").value_name("URL").conflicts_with_all(["dir", "config"]);
    let once = Arg::new("once").long("once").action(ArgAction::SetTrue);
    place::with_config(place::with_dir(command))
        .arg(url.help("Where the node shows its metrics, instead of its directory"))
        .arg(once.help("Print what happens within a second and end"))
        .about("Watch a running node")
        .after_help(TEACH)
}

/// Runs the command.
///
/// # Errors
/// If the node does not answer, or there is no terminal to draw on.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let place = asked(matches)?;
    let once = matches.get_flag("once");
    if !once && !io::stdout().is_terminal() {
        let words = "there is no terminal to draw on: add --once to print one table instead.";
        return Err(Fault::refused(words));
    }
    let fetcher = Fetcher::new(place.clone()).map_err(|error| {
        Fault::refused(format!("the network cannot be used ({error}): see what forbids it."))
    })?;
    let first = fetcher.fetch().map_err(|why| {
        Fault::refused(format!(
            "{place} cannot be read ({why}): see that the node runs and that its setting \
             `metrics` has this address."
        ))
    })?;
    if once {
        thread::sleep(EVERY);
        let second = fetcher.fetch().map_err(|why| {
            Fault::refused(format!("{place} cannot be read any more ({why}): start the node."))
        })?;
        say(plain(&Summary::of(Some(&first), &second)));
        return Ok(());
    }
    watch(fetcher, first)
}

/// The page that the arguments name.
fn asked(matches: &ArgMatches) -> Result<Place, Fault> {
    if let Some(url) = matches.get_one::<String>("url") {
        return Place::of(url).ok_or_else(|| {
            Fault::refused(format!(
                "--url {url} is no address of metrics: it looks like \
                 http://127.0.0.1:9178/metrics."
            ))
        });
    }
    let node = place::Place::configured(matches)?;
    let address = node.settings.metrics.get().ok_or_else(|| {
        Fault::refused(format!(
            "{} has `metrics` off: set it to 127.0.0.1:9178 and start the node anew, or give \
             --url.",
            node.config.display(),
        ))
    })?;
    let url = format!("http://{}/metrics", reachable(address));
    Ok(Place::of(&url).expect("an address and a port make a place"))
}

fn watch(fetcher: Fetcher, first: Reading) -> Result<(), Fault> {
    let broken = |error: io::Error| {
        Fault::refused(format!("the terminal cannot be used ({error}): add --once."))
    };
    let (sender, readings) = channel();
    // It ends with the first reading that nobody takes, or with the program.
    thread::spawn(move || {
        while sender.send(fetcher.fetch()).is_ok() {
            thread::sleep(EVERY);
        }
    });
    let mut terminal = ratatui::try_init().map_err(broken)?;
    let ended = show(&mut terminal, &readings, first);
    ratatui::try_restore().map_err(broken)?;
    ended.map_err(broken)
}

/// Draws what comes until a key says to end.
fn show(
    terminal: &mut DefaultTerminal,
    readings: &Receiver<Result<Reading, String>>,
    first: Reading,
) -> io::Result<()> {
    let summary = Summary::of(None, &first);
    let mut screen = Screen { summary, history: Vec::new(), trouble: None };
    let mut last = first;
    loop {
        terminal.draw(|frame| draw(&screen, frame))?;
        loop {
            if event::poll(LOOK)? {
                match event::read()? {
                    Event::Key(key) if ends(key) => return Ok(()),
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
            match readings.try_recv() {
                Ok(reading) => {
                    screen.take(&mut last, reading);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
        }
    }
}

impl Screen {
    /// Shows one reading more. One that is no newer than the last changes nothing.
    fn take(&mut self, last: &mut Reading, reading: Result<Reading, String>) {
        match reading {
            Ok(reading) => {
                self.trouble = None;
                if reading.at == last.at {
                    return;
                }
                self.summary = Summary::of(Some(last), &reading);
                self.history.push(self.summary.rate);
                let excess = self.history.len().saturating_sub(HISTORY);
                self.history.drain(..excess);
                *last = reading;
            }
            Err(why) => self.trouble = Some(format!("no new values ({why}); q quits")),
        }
    }
}

fn ends(key: KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let quit = matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
    key.kind == KeyEventKind::Press && (interrupt || quit)
}

#[cfg(test)]
mod tests {
    use super::summary::tests::reading;
    use super::*;

    #[test]
    fn trouble_comes_and_goes_and_old_values_count_once() {
        let mut last = reading(1_000, 10.0);
        let summary = Summary::of(None, &last);
        let mut screen = Screen { summary, history: Vec::new(), trouble: None };
        screen.take(&mut last, Ok(reading(3_000, 14.0)));
        screen.take(&mut last, Ok(reading(3_000, 14.0)));
        assert_eq!((&screen.history[..], screen.summary.rate), (&[1_000][..], 1_000));
        screen.take(&mut last, Err("connection refused".into()));
        assert!(screen.trouble.as_ref().unwrap().contains("connection refused"));
        screen.take(&mut last, Ok(reading(5_000, 18.0)));
        assert_eq!((screen.trouble, screen.history.len()), (None, 2));
    }

    #[test]
    fn keys_that_end_it() {
        let key = |code, modifiers| KeyEvent::new(code, modifiers);
        assert!(ends(key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(ends(key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!ends(key(KeyCode::Char('c'), KeyModifiers::NONE)));
    }
}
