//! `phix-node run`: the node itself, from its first line to its report.

use std::mem::take;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use phix_client::topology::PublicKey;
use phix_engine::crypto::Kernels;
use phix_io::Server;

use crate::announce::{self, Announcer};
use crate::cli::say;
use crate::entry::arrivals::{self, Arrivals};
use crate::entry::counts::EntryFaults;
use crate::fault::Fault;
use crate::faults::Faults;
use crate::keys::{self, NodeKeys};
use crate::metrics::{self, Endpoint, Shown};
use crate::place::{self, Place};
use crate::replay_store::Store;
use crate::roles::Post;
use crate::rotation::Keeper;
use crate::settings::Settings;
use crate::upgrade::{self, Rest, TAKE_OVER, Taking, Upgrades};
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
        let place = Place::given(matches)?;
        if place.settings.roles.is_directory_alone() {
            machine::prepare();
            return directory::start::run(&place);
        }
        let node = Node::prepare(place, None)?;
        say(&node.first_line);
        return node.live();
    }
    let mut taking = Taking::begin()?;
    let node = match Place::given(matches).and_then(|p| Node::prepare(p, Some(&mut taking))) {
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
    keys: NodeKeys,
    first_line: String,
    server: Server,
    arrivals: Arrivals,
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
    fn prepare(place: Place, mut taking: Option<&mut Taking>) -> Result<Self, Fault> {
        // First of all, so that no core dump can hold the keys.
        machine::prepare();
        let keys = keys::load(&place.keys_dir())?;
        let settings = &place.settings;
        match &taking {
            None => check::memory(&place).map(drop)?,
            Some(taking) => {
                taking.check(settings)?;
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
        let (doorstep, arrivals) = arrivals::arrivals();
        let sinks = |_: usize| doorstep.clone().with(store.sink());
        let config = server::config(settings, next_hops, noise)?;
        let server = match taking {
            None => server::start(settings, config, served, sinks)?,
            Some(taking) => {
                let listeners = take(&mut taking.listeners);
                server::start_silent(settings, config, Some(listeners), served, sinks)?
            }
        };
        let link = server.link().kind.name().to_owned();
        let (capacity, crypto) = (machine::capacity(settings), kernels.name.to_owned());
        let shown = Shown::new(server.observer(), capacity, link, crypto);
        let endpoint = listener.map(|listener| show(listener, &shown)).transpose()?;
        let first_line = first_line(settings, sphinx, &server, &kernels);
        Ok(Self {
            place,
            keys,
            first_line,
            server,
            arrivals,
            store,
            keeper,
            stop,
            upgrades,
            shown,
            endpoint,
        })
    }

    /// Is the node, until it is told to stop, breaks or is replaced.
    fn live(mut self) -> Result<(), Fault> {
        if let Some(endpoint) = &self.endpoint {
            say(format_args!("metrics on http://{}/metrics", endpoint.address()));
            metrics::warning(endpoint.address()).into_iter().for_each(say);
        }
        let (keeper, upgrades) = (&mut self.keeper, &mut self.upgrades);
        let (place, keys, server, shown) = (&self.place, &self.keys, &self.server, &self.shown);
        let post = Post::take_up(place, keys, server, self.arrivals.clone())?;
        if post.offered().is_gateway() {
            shown.with_entry(post.counts());
        }
        if let Some(services) = post.services() {
            let counts = post.exit_counts();
            shown.with_exit(&counts.requester, services.router.map(|_| &counts.router));
        }
        if let Err(error) = upgrades.open(place.state_dir().as_deref()) {
            say(format_args!(
                "`phix-node upgrade` will not reach this node ({error}); SIGUSR2 will"
            ));
        }
        notify::tell("READY=1");
        let announcer = announce::run::start(place, keys, server.address(), &post)?;
        let mut duties = Duties {
            keeper: keeper.as_mut(),
            upgrades,
            store: &self.store,
            endpoint: self.endpoint.as_ref(),
            announcer,
            place,
            post,
        };
        let end = duties.watch(server, &self.stop);
        let Duties { announcer, post, .. } = duties;
        drop(announcer);
        match end {
            End::Replaced(process) => {
                notify::tell(&format!("MAINPID={process}"));
                post.leave();
                self.leave_to(process)
            }
            End::Broke(_) | End::Told => {
                notify::tell("STOPPING=1");
                shown.leave();
                post.leave();
                let failed = if let End::Broke(what) = end { Some(what) } else { None };
                self.leave(failed)
            }
        }
    }

    /// Sends what comes due within the time to drain, and ends.
    fn leave(self, failed: Option<String>) -> Result<(), Fault> {
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

/// What a running node sees to besides its packets.
struct Duties<'a> {
    /// Changes the keys, if they change.
    keeper: Option<&'a mut Keeper>,
    /// Hands over to a new program, if one is to take this one's place.
    upgrades: &'a mut Upgrades,
    store: &'a Store,
    endpoint: Option<&'a Endpoint>,
    /// Deals with a directory, if there is one.
    announcer: Option<Announcer>,
    place: &'a Place,
    /// Fills the roles.
    post: Post<'a>,
}

impl Duties<'_> {
    /// Waits for the end, and has the keys changed when it is time.
    fn watch(&mut self, server: &Server, stop: &phix_io::StopSignal) -> End {
        let interval = self.place.settings.status_interval.get().map(|span| span.get());
        let metrics = self.endpoint.map(|endpoint| move || endpoint.listener());
        let metrics = metrics.as_ref().map(|listener| listener as &dyn Fn() -> _);
        let (mut faults, mut entry_faults) = (Faults::default(), EntryFaults::default());
        let mut told = announce::run::Told::default();
        let mut next = interval.map(|interval| Instant::now() + interval);
        loop {
            if stop.wait(WATCH) {
                return End::Told;
            }
            if let Some(what) = server.failed() {
                return End::Broke(what);
            }
            // Keys change in one process only, and not while another reads what there is.
            let idle = self.keeper.as_ref().is_none_or(|keeper| keeper.is_idle());
            if let Some(process) = self.upgrades.look(idle, server, self.store, metrics) {
                return End::Replaced(process);
            }
            if let Some(keeper) = &mut self.keeper
                && !self.upgrades.under_way()
            {
                keeper.tick(rotation::now(), server);
            }
            let now = Instant::now();
            if let Some(news) = self.announcer.as_ref().and_then(Announcer::news) {
                told.take(&news, self.place, server);
                if news.node.is_some() {
                    self.post.assign(news.role, now);
                }
            }
            self.post.tick(now);
            faults.look(&server.counters(), now).into_iter().for_each(say);
            entry_faults.look(self.post.counts(), now).into_iter().for_each(say);
            if let (Some(time), Some(interval)) = (next, interval)
                && now >= time
            {
                say(report::line(&server.counters()));
                next = Some(now + interval);
            }
        }
    }
}
