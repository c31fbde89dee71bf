//! `phix-node run`: the node itself, from its first line to its report.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use phix_client::topology::PublicKey;
use phix_engine::crypto::Kernels;
use phix_io::Server;

use crate::announce::{self, Announcer};
use crate::cli::say;
use crate::entry::arrivals;
use crate::entry::counts::EntryFaults;
use crate::fault::Fault;
use crate::faults::Faults;
use crate::keys;
use crate::metrics::{self, Endpoint, Shown};
use crate::place::{self, Place};
use crate::replay_store::Store;
use crate::roles::Post;
use crate::rotation::Keeper;
use crate::settings::Settings;
use crate::{check, directory, machine, next_hops, noise, notify, report, rotation, server};

/// How often the main thread looks whether a shard has died.
const WATCH: Duration = Duration::from_millis(200);

const TEACH: &str = "\
Runs until SIGTERM or SIGINT. It then takes no more packets, sends what comes due within the time
that `drain` gives, and prints what was received, sent on and dropped, by reason. Under systemd use
Type=notify.

With `metrics` set to an address it shows there how it fares: /metrics for Prometheus and for
`phix-node top`, /livez and /readyz for those who watch over it. What goes wrong again and again is
said in one line a minute, with what to do about it.

Examples:
  phix-node run --dir /var/lib/phix
  phix-node run --dir /var/lib/phix --link epoll --status-interval 10s
  PHIX_DIR=/var/lib/phix PHIX_DRAIN=20s phix-node run";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    place::with_settings(place::with_config(place::with_dir(command)))
        .about("Run a node")
        .after_help(TEACH)
}

/// Runs the command.
///
/// # Errors
/// If the node cannot start, or breaks while it runs.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let place = Place::given(matches)?;
    // First of all, so that no core dump can hold the keys.
    machine::prepare();
    let settings = &place.settings;
    if settings.roles.is_directory_alone() {
        return directory::start::run(&place);
    }
    let keys = keys::load(&place.keys_dir())?;
    check::memory(&place)?;
    let stop = phix_io::StopSignal::install().map_err(|error| {
        Fault::refused(format!("signals cannot be waited for ({error}): see what forbids it."))
    })?;
    let listener = settings.metrics.get().map(metrics::listen).transpose()?;
    let kernels = server::kernels(settings.crypto)?;
    let next_hops = next_hops::load(&place)?;
    let store = Arc::new(Store::open(place.state_dir().as_deref(), say)?);
    let (served, mut keeper) = rotation::start(&place, &keys, &store)?;
    let sphinx = PublicKey(served.primary.secret.public());
    let noise = noise::policy(&place, &keys)?;
    let (doorstep, arrivals) = arrivals::arrivals();
    let server = server::start(settings, served, next_hops, &store, noise, &doorstep)?;
    let link = server.link().kind.name().to_owned();
    let shown =
        Shown::new(server.observer(), machine::capacity(settings), link, kernels.name.to_owned());
    let endpoint = listener.map(|listener| show(listener, &shown)).transpose()?;
    say(first_line(settings, sphinx, &server, &kernels));
    if let Some(endpoint) = &endpoint {
        say(format_args!("metrics on http://{}/metrics", endpoint.address()));
        metrics::warning(endpoint.address()).into_iter().for_each(say);
    }
    let post = Post::take_up(&place, &keys, &server, arrivals)?;
    if post.offered().is_gateway() {
        shown.with_entry(post.counts());
    }
    notify::tell("READY=1");
    let interval = settings.status_interval.get().map(|span| span.get());
    let announcer = announce::run::start(&place, &keys, server.address(), &post)?;
    let mut duties = Duties { keeper: keeper.as_mut(), announcer, place: &place, post };
    let failed = watch(&server, &stop, &mut duties, interval);
    let Duties { announcer, post, .. } = duties;
    drop(announcer);
    notify::tell("STOPPING=1");
    shown.leave();
    post.leave();
    let stopped = server.stop();
    say(report::account(&stopped.counters, stopped.abandoned as u64, stopped.took));
    let unsaved = store.close();
    if unsaved > 0 {
        say(format_args!("{unsaved} packets could not be saved and would pass again."));
    }
    failed.or(stopped.failed).map_or(Ok(()), |what| {
        Err(Fault::broken(format!(
            "a shard broke ({what}): the node has stopped, start it again and report this."
        )))
    })
}

/// Starts to show metrics.
fn show(listener: TcpListener, shown: &Arc<Shown>) -> Result<Endpoint, Fault> {
    Endpoint::start(listener, Arc::clone(shown)).map_err(|error| {
        Fault::refused(format!(
            "metrics cannot be served ({error}): see that the system allows this user more \
             threads and open files, or set --metrics to off."
        ))
    })
}

fn first_line(
    settings: &Settings,
    sphinx: PublicKey,
    server: &Server,
    kernels: &Kernels,
) -> String {
    let announced = settings.announce.get();
    let announced = announced.map_or_else(String::new, |address| format!(" (announced {address})"));
    let shards = machine::shards(settings);
    format!(
        "phix-node {}: mixing on {}{announced}; {shards} {}; {}; crypto {}; sphinx key {sphinx}",
        env!("CARGO_PKG_VERSION"),
        server.address(),
        if shards == 1 { "shard" } else { "shards" },
        server.link().reason,
        kernels.name,
    )
}

/// What a running node sees to besides its packets.
struct Duties<'a> {
    /// Changes the keys, if they change.
    keeper: Option<&'a mut Keeper>,
    /// Deals with a directory, if there is one.
    announcer: Option<Announcer>,
    place: &'a Place,
    /// Fills the roles.
    post: Post<'a>,
}

/// Waits until the node is told to stop, or breaks, and has the keys changed when it is time; says
/// why it broke.
fn watch(
    server: &Server,
    stop: &phix_io::StopSignal,
    duties: &mut Duties<'_>,
    interval: Option<Duration>,
) -> Option<String> {
    let (mut faults, mut entry_faults) = (Faults::default(), EntryFaults::default());
    let mut told = announce::run::Told::default();
    let mut next = interval.map(|interval| Instant::now() + interval);
    loop {
        if stop.wait(WATCH) {
            return None;
        }
        if let Some(what) = server.failed() {
            return Some(what);
        }
        if let Some(keeper) = &mut duties.keeper {
            keeper.tick(rotation::now(), server);
        }
        let now = Instant::now();
        if let Some(news) = duties.announcer.as_ref().and_then(Announcer::news) {
            told.take(&news, duties.place, server);
            if news.node.is_some() {
                duties.post.assign(news.role, now);
            }
        }
        duties.post.tick(now);
        faults.look(&server.counters(), now).into_iter().for_each(say);
        entry_faults.look(duties.post.counts(), now).into_iter().for_each(say);
        if let (Some(time), Some(interval)) = (next, interval)
            && now >= time
        {
            say(report::line(&server.counters()));
            next = Some(now + interval);
        }
    }
}
