//! `phix-node run`: the node itself, from its first line to its report.

use std::mem::take;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use phix_client::topology::PublicKey;
use phix_engine::crypto::Kernels;
use phix_io::Server;

use crate::cli::say;
use crate::fault::Fault;
use crate::faults::Faults;
use crate::keys;
use crate::metrics::{self, Endpoint, Shown};
use crate::place::{self, Place};
use crate::replay_store::Store;
use crate::rotation::Keeper;
use crate::settings::Settings;
use crate::upgrade::{self, Rest, TAKE_OVER, Taking, Upgrades};
use crate::{check, machine, next_hops, noise, notify, report, rotation, server};

/// How often the main thread looks whether a shard has died.
const WATCH: Duration = Duration::from_millis(200);

const TEACH: &str = "\
Runs until SIGTERM or SIGINT. It then takes no more packets, sends what comes due within the time
that `drain` gives, and prints what was received, sent on and dropped, by reason. Under systemd use
Type=notify.

With `metrics` set to an address it shows there how it fares: /metrics for Prometheus and for
`phix-node top`, /livez and /readyz for those who watch over it. What goes wrong again and again is
said in one line a minute, with what to do about it.

On SIGUSR2, or by `phix-node upgrade`, it hands over to a new program without a gap.

Examples:
  phix-node run --dir /var/lib/phix
  phix-node run --dir /var/lib/phix --link epoll --status-interval 10s
  PHIX_DIR=/var/lib/phix PHIX_DRAIN=20s phix-node run";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    place::with_settings(place::with_config(place::with_dir(command)))
        .about("Run a node")
        .after_help(TEACH)
        .arg(Arg::new(TAKE_OVER).long(TAKE_OVER).action(ArgAction::SetTrue).hide(true))
}

/// Runs the command.
///
/// # Errors
/// If the node cannot start, or breaks while it runs.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    if !matches.get_flag(TAKE_OVER) {
        let node = Node::prepare(matches, None)?;
        say(&node.first_line);
        return node.live();
    }
    let mut taking = Taking::begin()?;
    let node = match Node::prepare(matches, Some(&mut taking)) {
        Ok(node) => node,
        Err(fault) => return Err(taking.refuse(fault)),
    };
    let process = taking.process;
    let Rest { journals, connections } = taking.take()?;
    node.store.adopt(journals);
    let count = connections.len();
    node.server.open(connections).map_err(|error| Fault::broken(format!("{error}.")))?;
    say(&node.first_line);
    say(format_args!("took over from process {process}, with {count} connections"));
    node.live()
}

/// A node that is ready, and the parts that it is made of.
struct Node {
    place: Place,
    first_line: String,
    server: Server,
    store: Arc<Store>,
    keeper: Option<Keeper>,
    stop: phix_io::StopSignal,
    upgrades: Upgrades,
    shown: Arc<Shown>,
    endpoint: Option<Endpoint>,
}

/// Why a node is not the node any more.
enum End {
    /// It was told to stop.
    Told,
    /// A shard broke.
    Broke(String),
    /// This process has taken its place.
    Replaced(u32),
}

impl Node {
    /// Reads and starts everything. One that takes over accepts nothing yet.
    fn prepare(matches: &ArgMatches, mut taking: Option<&mut Taking>) -> Result<Self, Fault> {
        let place = Place::given(matches)?;
        // First of all, so that no core dump can hold the keys.
        machine::prepare();
        let keys = keys::load(&place.keys_dir())?;
        let settings = &place.settings;
        match &taking {
            None => check::memory(settings).map(drop)?,
            Some(taking) => {
                taking.check_listeners(settings.listen)?;
                check::memory_beside(settings)?;
            }
        }
        let stop = phix_io::StopSignal::install().map_err(|error| {
            Fault::refused(format!("signals cannot be waited for ({error}): see what forbids it."))
        })?;
        let upgrades = Upgrades::prepare()?;
        let listener = settings.metrics.get().map(|address| {
            let inherited = taking.as_mut().and_then(|taking| taking.metrics_at(address));
            inherited.map_or_else(|| metrics::listen(address), Ok)
        });
        let listener = listener.transpose()?;
        let kernels = server::kernels(settings.crypto)?;
        let next_hops = next_hops::load(&place)?;
        let dir = place.state_dir();
        let store = match &mut taking {
            None => Store::open(dir.as_deref(), say)?,
            Some(taking) => Store::inherit(dir.as_deref(), take(&mut taking.legacy), say)?,
        };
        let store = Arc::new(store);
        let (served, keeper) = rotation::start(&place, &keys, &store)?;
        let sphinx = PublicKey(served.primary.secret.public());
        let noise = noise::policy(&place, &keys)?;
        let server = match taking {
            None => server::start(settings, served, next_hops, &store, noise)?,
            Some(taking) => {
                let listeners = Some(take(&mut taking.listeners));
                server::start_silent(settings, listeners, (served, noise), next_hops, &store)?
            }
        };
        let link = server.link().kind.name().to_owned();
        let (capacity, crypto) = (machine::capacity(settings), kernels.name.to_owned());
        let shown = Shown::new(server.observer(), capacity, link, crypto);
        let endpoint = listener.map(|listener| show(listener, &shown)).transpose()?;
        let first_line = first_line(settings, sphinx, &server, &kernels);
        Ok(Self { place, first_line, server, store, keeper, stop, upgrades, shown, endpoint })
    }

    /// Is the node, until it is told to stop, breaks or is replaced.
    fn live(mut self) -> Result<(), Fault> {
        if let Some(endpoint) = &self.endpoint {
            say(format_args!("metrics on http://{}/metrics", endpoint.address()));
            metrics::warning(endpoint.address()).into_iter().for_each(say);
        }
        if let Err(error) = self.upgrades.open(self.place.state_dir().as_deref()) {
            say(format_args!(
                "`phix-node upgrade` will not reach this node ({error}); SIGUSR2 will"
            ));
        }
        notify::tell("READY=1");
        let end = self.watch();
        let failed = match end {
            End::Replaced(process) => {
                notify::tell(&format!("MAINPID={process}"));
                return self.leave_to(process);
            }
            End::Broke(what) => Some(what),
            End::Told => None,
        };
        notify::tell("STOPPING=1");
        self.shown.leave();
        let stopped = self.server.stop();
        say(report::account(&stopped.counters, stopped.abandoned as u64, stopped.took));
        let unsaved = self.store.close();
        if unsaved > 0 {
            say(format_args!("{unsaved} packets could not be saved and would pass again."));
        }
        ended(failed.or(stopped.failed))
    }

    /// Sends what it holds, while another process is the node.
    fn leave_to(self, process: u32) -> Result<(), Fault> {
        let held = self.server.held().total();
        say(format_args!("process {process} is the node now; sending {held} packets held here"));
        drop(self.endpoint);
        let stopped = self.server.stop_within(upgrade::SEND_LIMIT);
        say(report::account(&stopped.counters, stopped.abandoned as u64, stopped.took));
        ended(stopped.failed)
    }

    /// Waits for the end, and has the keys changed when it is time.
    fn watch(&mut self) -> End {
        let Self { server, stop, keeper, upgrades, store, endpoint, .. } = self;
        let interval = self.place.settings.status_interval.get().map(|span| span.get());
        let metrics = endpoint.as_ref().map(|endpoint| move || endpoint.listener());
        let metrics = metrics.as_ref().map(|listener| listener as &dyn Fn() -> _);
        let mut faults = Faults::default();
        let mut next = interval.map(|interval| Instant::now() + interval);
        loop {
            if stop.wait(WATCH) {
                return End::Told;
            }
            if let Some(what) = server.failed() {
                return End::Broke(what);
            }
            // Keys change in one process only, and not while another reads what there is.
            let idle = keeper.as_ref().is_none_or(Keeper::is_idle);
            if let Some(process) = upgrades.look(idle, server, store, metrics) {
                return End::Replaced(process);
            }
            if let Some(keeper) = keeper
                && !upgrades.under_way()
            {
                keeper.tick(rotation::now(), server);
            }
            let now = Instant::now();
            faults.look(&server.counters(), now).into_iter().for_each(say);
            if let (Some(time), Some(interval)) = (next, interval)
                && now >= time
            {
                say(report::line(&server.counters()));
                next = Some(now + interval);
            }
        }
    }
}

fn ended(failed: Option<String>) -> Result<(), Fault> {
    failed.map_or(Ok(()), |what| {
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
        "phix-node {}: mixing on {}{announced}; {shards} {}; {}; send-zc {}; crypto {}; sphinx key \
         {sphinx}",
        env!("CARGO_PKG_VERSION"),
        server.address(),
        if shards == 1 { "shard" } else { "shards" },
        server.link().reason,
        server.zero_copy(),
        kernels.name,
    )
}
