//! `phix-client load`: the load tester as a command.

mod arguments;
mod noise;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use phix_io::StopSignal;
use rand::SeedableRng;
use serde_json::{Value, json};

use super::{Ended, Refusal, note, say};
use crate::files::words;
use crate::packet::os_seed;
use crate::progress::Progress;
use crate::tester::book::Book;
use crate::tester::drive::{self, Load, Outcome};
use crate::tester::live::Live;
use crate::tester::noise::Speech;
use crate::tester::prepare::{Prepared, Recipe, Target, prepare};
use crate::tester::receiving::Home;
use crate::tester::report::{self, Text};
use crate::tester::search::Search;
use crate::tester::{environment, memory};

pub(super) use arguments::Arguments;

/// How often the end of the program is looked for.
const WATCH: Duration = Duration::from_millis(200);

/// Characters of the progress bar.
const BAR: usize = 30;

/// Everything that stays the same from one trial to the next.
struct Bench<'a> {
    arguments: &'a Arguments,
    recipe: Recipe,
    speech: Option<Speech>,
    home: Home,
    stop: Arc<AtomicBool>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    arguments.check()?;
    arguments.cpu.map_or(Ok(()), drive::check_core)?;
    let (target, rotation) = arguments.target()?;
    let frame = arguments.frame(rotation);
    let speech = arguments.noise.speech(&target)?;
    let listener = listen(arguments.listen, &target)?;
    let recipe = Recipe {
        target,
        home: listener.local_addr()?,
        frame,
        version: arguments.sphinx_version,
        delay: arguments.hop_delay(),
        noise: speech.is_some(),
    };
    let stop = watch_signals()?;
    let home = Home::new(listener)?;
    let home = match &speech {
        Some(speech) => home.in_noise(speech.clone()),
        None => home,
    };
    let mut bench = Bench { arguments, recipe, speech, home, stop };
    if arguments.find_max { bench.find_max() } else { bench.once() }
}

impl Bench<'_> {
    /// One run at the rate that was asked for.
    fn once(&mut self) -> Result<Ended, Refusal> {
        let (arguments, rate) = (self.arguments, self.arguments.rate);
        let objective = arguments.objective();
        let outcome = self.trial(rate)?;
        say(format_args!(
            "offered {} packets at {rate} per second ({})\n",
            outcome.counts.prepared, arguments.arrivals
        ));
        say(Text(&outcome));
        if let Some(path) = &arguments.json {
            let mut whole = self.head();
            whole["rate"] = rate.into();
            whole["result"] = report::json(&outcome, &objective);
            write(path, &pretty(&whole))?;
        }
        if let Some(path) = &arguments.csv {
            write(path, &report::csv(&outcome))?;
        }
        if let Some(base) = &arguments.hgrm {
            report::write_histograms(base, &outcome)
                .map_err(|(path, error)| unwritable(&path, &error))?;
        }
        warn(&outcome);
        Ok(judge(&objective.missed(&outcome), outcome.stopped))
    }

    /// The search for the highest rate that meets the objective.
    fn find_max(&mut self) -> Result<Ended, Refusal> {
        let arguments = self.arguments;
        let mut search = Search::new(arguments.rate, arguments.max_rate, arguments.tolerance);
        let mut trials = Vec::new();
        while let Some(rate) = search.next() {
            let Some(passed) = self.attempt(rate, &mut trials)? else {
                return Ok(judge(&[], true));
            };
            search.record(rate, passed);
        }
        if let Some(path) = &arguments.json {
            let mut whole = self.head();
            whole["max_rate"] = search.passed().into();
            whole["lowest_rate_that_failed"] = search.failed().into();
            whole["trials"] = trials.into();
            write(path, &pretty(&whole))?;
        }
        let Some(rate) = search.passed() else {
            note("no rate met the objective");
            return Ok(Ended::Failed);
        };
        let beyond = if search.failed().is_some() { "" } else { ", and was not tried beyond" };
        say(format_args!("highest rate that met the objective: {rate:.0} packets/s{beyond}"));
        Ok(Ended::Done)
    }

    /// Whether a trial at `rate` meets the objective, the first time or one of the next ones: a
    /// stumble of the machine is not the node's. Nothing if the search was told to stop.
    fn attempt(&mut self, rate: f64, trials: &mut Vec<Value>) -> Result<Option<bool>, Refusal> {
        let objective = self.arguments.objective();
        for _ in 0..self.arguments.attempts {
            let outcome = self.trial(rate)?;
            if outcome.stopped {
                return Ok(None);
            }
            let missed = objective.missed(&outcome);
            let passed = missed.is_empty();
            let verdict = if passed { "passed".to_owned() } else { missed.join("; ") };
            let late = report::tester_was_the_limit(&outcome);
            let late = if late { " (the tester was late)" } else { "" };
            say(format_args!("{rate:>9.0}/s  {verdict}{late}"));
            trials.push(json!({ "rate": rate, "result": report::json(&outcome, &objective) }));
            if passed {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// Builds packets for a run at `rate` and runs it.
    fn trial(&mut self, rate: f64) -> Result<Outcome, Refusal> {
        let count = self.arguments.packets_at(rate)?;
        let prepared = build(&self.recipe, count)?;
        let Prepared { mut frames, stride, rows, first_hops } = prepared;
        let mut rng = ChaCha20Rng::from_seed(*os_seed());
        let offsets = self.arguments.arrivals.offsets(&mut rng, rate, count);
        let book = Book::new(rows, &offsets);
        drop(offsets);
        let (frames, first_hops, speech) = (&mut frames[..], &first_hops[..], self.speech.as_ref());
        let load = Load { frames, stride, book, first_hops, speech };
        let live = Live::start()?;
        let watch = |second: &drive::Second| live.tell(second);
        Ok(drive::run(load, self.arguments.manner(), &mut self.home, &self.stop, watch)?)
    }

    /// What every file says first.
    fn head(&self) -> Value {
        let target = match &self.recipe.target {
            Target::Node { address, .. } => format!("node {address}"),
            Target::Path(_) => "path".into(),
            Target::Echo(address) => format!("echo {address}"),
        };
        let mut load = self.arguments.describe();
        load["target"] = target.into();
        json!({ "environment": environment::dump(), "load": load })
    }
}

/// Builds the packets where there is memory for them, and shows how far it is.
fn build(recipe: &Recipe, count: usize) -> Result<Prepared, Refusal> {
    let needed = memory_needed(count, recipe.stride())?;
    let shown = Mutex::new((0_usize, Progress::for_terminals()));
    let began = Instant::now();
    let prepared = prepare(recipe, count, |more| {
        let (built, line) = &mut *shown.lock().unwrap_or_else(PoisonError::into_inner);
        *built += more;
        line.show(|| bar(*built, count, needed, began.elapsed()));
    });
    shown.into_inner().unwrap_or_else(PoisonError::into_inner).1.end();
    Ok(prepared?)
}

fn memory_needed(count: usize, stride: usize) -> Result<u64, Refusal> {
    let needed = memory::needed(count, stride);
    memory::check(count, needed, memory::available()).map_err(Refusal)?;
    Ok(needed)
}

fn bar(built: usize, count: usize, needed: u64, elapsed: Duration) -> String {
    let done = BAR * built / count.max(1);
    let left = elapsed.as_secs_f64() * (count - built) as f64 / built.max(1) as f64;
    format!(
        "building packets [{}{}] {built} of {count}, {}, {left:.0} s left",
        "#".repeat(done),
        ".".repeat(BAR - done),
        memory::readable(needed),
    )
}

/// A listener where packets come back.
fn listen(wanted: Option<SocketAddr>, target: &Target) -> Result<TcpListener, Refusal> {
    let address = match (wanted, target) {
        (Some(address), _) if address.ip().is_unspecified() => {
            return Err(Refusal(format!(
                "nodes cannot send packets to {}; name the address of this machine that they reach",
                address.ip()
            )));
        }
        (Some(address), _) => address,
        (None, Target::Node { address, .. } | Target::Echo(address)) => seen_from(*address)?,
        (None, Target::Path(topology)) => {
            let hop = topology.form().rewarded_set.layer1.iter().next();
            let hop = hop.and_then(|id| topology.node(*id));
            seen_from(hop.expect("a topology has a first layer").mix_host)?
        }
    };
    TcpListener::bind(address).map_err(|error| {
        Refusal(format!(
            "packets cannot come back to {address}: {}; name another address by --listen",
            words(&error)
        ))
    })
}

/// This machine's address on the way to `peer`, with any port. Nothing is sent to find it.
fn seen_from(peer: SocketAddr) -> Result<SocketAddr, Refusal> {
    let any: IpAddr =
        if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let local = || -> io::Result<SocketAddr> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(peer)?;
        socket.local_addr()
    };
    let local = local().map_err(|error| {
        Refusal(format!(
            "there is no way from here to {peer}: {}; name the address that packets come back to \
             by --listen",
            words(&error)
        ))
    })?;
    Ok(SocketAddr::new(local.ip(), 0))
}

/// Sets the flag when the program is told to end.
fn watch_signals() -> Result<Arc<AtomicBool>, Refusal> {
    let signal = StopSignal::install()?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    thread::Builder::new().name("phix-stop".into()).spawn(move || {
        while !signal.wait(WATCH) {}
        flag.store(true, Ordering::Relaxed);
    })?;
    Ok(stop)
}

/// What people should know before they believe the figures.
fn warn(outcome: &Outcome) {
    if report::tester_was_the_limit(outcome) {
        note(
            "phix-client: the tester itself was late (see own lateness), so these figures are its \
             limit and not the node's; give it a core of its own by --cpu, or a lower rate",
        );
    }
    for failure in &outcome.failures {
        note(format_args!("phix-client: a connection ended early: {failure}"));
    }
    if outcome.malformed > 0 {
        let count = outcome.malformed;
        note(format_args!("phix-client: {count} connections brought something other than frames"));
    }
}

fn judge(missed: &[String], stopped: bool) -> Ended {
    if stopped {
        note("phix-client: stopped before the end");
        return Ended::Failed;
    }
    missed.iter().for_each(|what| note(format_args!("objective missed: {what}")));
    if missed.is_empty() { Ended::Done } else { Ended::Failed }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn write(path: &Path, text: &str) -> Result<(), Refusal> {
    std::fs::write(path, text).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Refusal {
    let (path, why) = (path.display(), words(error));
    Refusal(format!("{path} cannot be written: {why}; name a file in a directory that exists"))
}
