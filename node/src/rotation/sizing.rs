//! How many packets the filter of a key is made for, where the settings leave it to the node.
//!
//! The node counts the packets that it has to remember and keeps, for each of the last rotations,
//! the highest rate that lasted for a [`WINDOW`]. The next filter has room for the highest of these
//! rates, with a margin, for as long as its key is served. So a filter that was too small is
//! followed by one that is large enough. Before a node has seen a rotation to its end it makes room
//! for [`ASSUMED_RATE`] at least.
//!
//! What was measured is in a file of the state directory, so that a node that starts again does not
//! assume again:
//!
//! ```text
//! phix-replay-rate-v1
//! <rotation> <packets per second>
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phix_client::files::words;

use super::plan::Schedule;

/// Packets per second that a new node makes room for: those of the fixed default, 50,000,000 in 25
/// hours.
const ASSUMED_RATE: f64 = 555.0;
/// Packets per second that there is always room for.
const LEAST_RATE: f64 = 50.0;
/// Packets that a filter is made for at least.
const LEAST: usize = 10_000;
/// What a filter has room for, as a multiple of what was measured.
const MARGIN: f64 = 1.5;
/// How long a rate must last to count; shorter where rotations are short.
const WINDOW: Duration = Duration::from_secs(600);
/// Windows that there are in a rotation, at least.
const WINDOWS: u32 = 12;
/// Rotations that are kept, the present one included.
const KEPT: u32 = 4;

const TITLE: &str = "phix-replay-rate-v1";
/// Bytes of the file at most, far more than it has.
const FILE_MAX: u64 = 4096;

/// The measured rates of the last rotations.
#[derive(Debug)]
pub(super) struct Rates {
    schedule: Schedule,
    /// The highest rate of each rotation.
    peaks: BTreeMap<u32, f64>,
    /// When the present window began, and how many packets had come by then.
    window: Option<(Duration, u64)>,
}

impl Rates {
    /// Those of a node that has seen nothing.
    pub(super) const fn new(schedule: Schedule) -> Self {
        Self { schedule, peaks: BTreeMap::new(), window: None }
    }

    /// Takes note that `count` packets have had to be remembered until `now`. Says whether a
    /// rotation has a new peak.
    pub(super) fn note(&mut self, now: Duration, count: u64) -> bool {
        let Some((began, before)) = self.window else {
            self.window = Some((now, count));
            return false;
        };
        let Some(elapsed) = now.checked_sub(began) else {
            // The clock was put back.
            self.window = Some((now, count));
            return false;
        };
        if elapsed < WINDOW.min(self.schedule.length / WINDOWS) {
            return false;
        }
        self.window = Some((now, count));
        let rate = count.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        let number = self.schedule.number(now);
        let first = number.saturating_sub(KEPT - 1);
        self.peaks.retain(|&rotation, _| (first..=number).contains(&rotation));
        let known = self.peaks.insert(number, rate);
        let peak = known.map_or(rate, |known| known.max(rate));
        self.peaks.insert(number, peak);
        known != Some(peak)
    }

    /// Packets that the filter of a key must have room for, if it is made at `now` and holds
    /// `already` packets.
    pub(super) fn capacity(&self, number: u32, now: Duration, already: usize) -> usize {
        let measured = self.peaks.values().copied().fold(0.0, f64::max);
        let whole = self.peaks.keys().any(|&rotation| rotation < self.schedule.number(now));
        let rate = measured.max(if whole { LEAST_RATE } else { ASSUMED_RATE });
        let served = self.schedule.length + 2 * self.schedule.overlap;
        let ends = self.schedule.length * number.saturating_add(1) + self.schedule.overlap;
        let left = ends.saturating_sub(now).min(served);
        let room = |time: Duration| (rate * MARGIN * time.as_secs_f64()).ceil() as usize;
        room(served).max(already.saturating_add(room(left))).max(LEAST)
    }

    /// The text of the file.
    fn text(&self) -> String {
        let mut text = format!("{TITLE}\n");
        for (rotation, rate) in &self.peaks {
            writeln!(text, "{rotation} {rate:.3}").expect("writing to a string cannot fail");
        }
        text
    }

    /// What is in the file's text; nothing if it is none.
    fn read(schedule: Schedule, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        lines.next().filter(|line| *line == TITLE)?;
        let line = |line: &str| {
            let (rotation, rate) = line.split_once(' ')?;
            let rate = rate.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0)?;
            Some((rotation.parse().ok()?, rate))
        };
        let peaks = lines.map(line).collect::<Option<_>>()?;
        Some(Self { peaks, ..Self::new(schedule) })
    }
}

/// The rates on disk.
#[derive(Debug)]
pub(super) struct RateFile(Option<PathBuf>);

impl RateFile {
    /// The file in the directory for what must be known after a restart, where there is one.
    pub(super) fn of(state_dir: Option<&Path>) -> Self {
        Self(state_dir.map(|dir| dir.join("replay-rate")))
    }

    /// What was measured before; the second is a line for the operator if that cannot be used.
    pub(super) fn load(&self, schedule: Schedule) -> (Rates, Option<String>) {
        let nothing = || Rates::new(schedule);
        let Some(path) = &self.0 else { return (nothing(), None) };
        let text = match fs::metadata(path).map(|metadata| metadata.len()) {
            Ok(len) if len <= FILE_MAX => fs::read_to_string(path),
            Ok(_) => Ok(String::new()),
            Err(error) => Err(error),
        };
        let unusable = |why: &str| {
            let path = path.display();
            Some(format!("the rates in {path} cannot be used ({why}): they are measured anew."))
        };
        match text.map(|text| Rates::read(schedule, &text)) {
            Ok(Some(rates)) => (rates, None),
            Ok(None) => (nothing(), unusable("they are not in its format")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (nothing(), None),
            Err(error) => (nothing(), unusable(&words(&error))),
        }
    }

    /// Writes what was measured: the file is the old one or the new one, never a part.
    pub(super) fn save(&self, rates: &Rates) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let new = path.with_extension("new");
        fs::write(&new, rates.text())?;
        fs::rename(&new, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule =
        Schedule { length: Duration::from_secs(86_400), overlap: Duration::from_secs(3_600) };
    const FIRST: u32 = 20_779;
    /// How long a key is served: a day and two hours.
    const SERVED: f64 = 93_600.0;

    fn at(number: u32, seconds: u64) -> Duration {
        SCHEDULE.length * number + Duration::from_secs(seconds)
    }

    /// What a filter has room for, in packets per second.
    fn rate_of(rates: &Rates, number: u32, now: Duration) -> f64 {
        rates.capacity(number, now, 0) as f64 / SERVED / MARGIN
    }

    /// Half a rotation at one rate, looked at every ten seconds.
    fn half(rates: &mut Rates, from: Duration, count: &mut u64, rate: u64) {
        for step in 0..4_320 {
            rates.note(from + Duration::from_secs(10 * step), *count);
            *count += 10 * rate;
        }
    }

    #[test]
    fn a_new_node_assumes_and_then_knows() {
        let mut rates = Rates::new(SCHEDULE);
        let (mut count, now) = (0, at(FIRST, 0));
        assert!((rate_of(&rates, FIRST, now) - ASSUMED_RATE).abs() < 0.01);
        half(&mut rates, now, &mut count, 200);
        // Half a day says nothing yet about the other half.
        assert!((rate_of(&rates, FIRST, at(FIRST, 43_200)) - ASSUMED_RATE).abs() < 0.01);
        half(&mut rates, at(FIRST, 43_200), &mut count, 300);
        assert!((rate_of(&rates, FIRST + 1, at(FIRST + 1, 0)) - 300.0).abs() < 1.0);
    }

    #[test]
    fn a_filter_that_was_too_small_is_followed_by_one_that_is_not() {
        let mut rates = Rates::new(SCHEDULE);
        let mut count = 0;
        half(&mut rates, at(FIRST, 0), &mut count, 9_000);
        half(&mut rates, at(FIRST, 43_200), &mut count, 2_000);
        assert!((rate_of(&rates, FIRST + 1, at(FIRST, 82_000)) - 9_000.0).abs() < 20.0);
        // A quiet rotation does not make the next one forget it, four of them do.
        for rotation in 1..=4 {
            let known = rate_of(&rates, FIRST + rotation, at(FIRST + rotation, 0));
            assert!((known - 9_000.0).abs() < 20.0, "{rotation}: {known}");
            half(&mut rates, at(FIRST + rotation, 0), &mut count, 10);
            half(&mut rates, at(FIRST + rotation, 43_200), &mut count, 10);
        }
        assert!((rate_of(&rates, FIRST + 5, at(FIRST + 5, 0)) - LEAST_RATE).abs() < 0.01);
    }

    #[test]
    fn a_burst_counts_by_its_mean_over_ten_minutes() {
        let mut rates = Rates::new(SCHEDULE);
        rates.note(at(FIRST, 0), 0);
        assert!(!rates.note(at(FIRST, 1), 100_000), "a second is no rate");
        assert!(rates.note(at(FIRST, 600), 1_200_000));
        assert!((rate_of(&rates, FIRST, at(FIRST, 600)) - 2_000.0).abs() < 0.01);
        assert!(!rates.note(at(FIRST, 1_200), 1_200_000), "no new peak");
    }

    #[test]
    fn a_filter_that_is_made_again_has_room_for_what_it_holds_and_what_comes() {
        let mut rates = Rates::new(SCHEDULE);
        rates.note(at(FIRST, 0), 0);
        rates.note(at(FIRST, 600), 600_000);
        let now = at(FIRST, 43_200);
        let empty = rates.capacity(FIRST, now, 0);
        assert_eq!(rates.capacity(FIRST, now, 1_000), empty, "there is room anyway");
        let left = 43_200.0 + 3_600.0;
        let full = rates.capacity(FIRST, now, empty);
        assert_eq!(full, empty + (1_000.0 * MARGIN * left) as usize);
    }

    #[test]
    fn rates_outlive_the_process_and_nonsense_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = RateFile::of(Some(dir.path()));
        let (mut rates, said) = file.load(SCHEDULE);
        assert_eq!(said, None);
        rates.note(at(FIRST, 0), 0);
        rates.note(at(FIRST, 600), 4_200_000);
        file.save(&rates).unwrap();
        let (again, said) = file.load(SCHEDULE);
        assert_eq!(said, None);
        let next = at(FIRST + 1, 0);
        assert_eq!(again.capacity(FIRST + 1, next, 0), rates.capacity(FIRST + 1, next, 0));
        assert!((rate_of(&again, FIRST + 1, next) - 7_000.0).abs() < 0.01);
        // The count of a new process begins anew, and is no rate below zero.
        let mut again = again;
        again.note(at(FIRST, 700), 0);
        assert!(!again.note(at(FIRST, 1_300), 60));
        for text in ["", "phix-replay-rate-v2\n", "phix-replay-rate-v1\n7 x\n"] {
            fs::write(dir.path().join("replay-rate"), text).unwrap();
            let (rates, said) = file.load(SCHEDULE);
            assert!(said.unwrap().contains("measured anew") && rates.peaks.is_empty(), "{text:?}");
        }
        assert!(RateFile::of(None).save(&rates).is_ok());
    }

    #[test]
    fn a_clock_that_is_put_back_begins_a_new_window() {
        let mut rates = Rates::new(SCHEDULE);
        rates.note(at(FIRST, 5_000), 0);
        assert!(!rates.note(at(FIRST, 100), 1_000_000));
        assert!(rates.note(at(FIRST, 700), 1_000_600));
        assert!((rates.peaks[&FIRST] - 1.0).abs() < 1e-9);
    }
}
