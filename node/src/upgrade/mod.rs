//! A new program takes the place of a running one, and nobody who sends packets notices.
//!
//! ```text
//! running node                           new program (standard input is their socket)
//!   starts the program ----------------->
//!   listeners, replay memory, lock ----->  reads its settings and keys, maps the memory, starts
//!                                          its shards, which accept nothing yet
//!                    <------------------   ready (or why not)
//!   accepts and reads nothing more,
//!   opens what it has, saves its marks
//!   journals, connections -------------->  keeps them, and reads nothing yet
//!                    <------------------   has all of it
//!   "go" ------------------------------->  listens, reads on where the other stopped
//!   sends what it holds, and ends
//! ```
//!
//! Invariant: at any time one of the two takes packets in, so that the filter, its journals and the
//! keys have one owner, and a packet passes once. Until it says "go", the running node has given
//! nothing away that it cannot use again: whatever goes wrong before, it goes on.
//!
//! Connections are handed over, not served to their end: stock nodes keep theirs for days, and a
//! process that served them so long would need every change of keys that the new one makes. A
//! stream rests between any two bytes; what it has brought of its present packet goes along, in
//! Noise the key of the next record as well. Bytes that nobody has read yet wait in the kernel.

mod channel;
mod control;
mod giving;
mod taking;
mod wire;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use phix_engine::limits::{DELAY_MAX, EGRESS_PATIENCE};
use phix_io::Server;

use self::control::{READY_LIMIT, Request, Requests};
use self::giving::{Attempt, Basics};
use crate::cli::say;
use crate::fault::Fault;
use crate::place::{self, Place};
use crate::replay_store::Store;
use crate::settings::{Span, Value};

pub use self::taking::{Rest, Taking};

/// The flag of `run` by which a new program learns that it takes over.
pub const TAKE_OVER: &str = "take-over";

/// How long a node that has handed over sends what it holds: the longest delay, then the longest
/// wait for a next hop, and a little for the last send.
pub const SEND_LIMIT: Duration =
    Duration::from_nanos(DELAY_MAX.as_nanos() + EGRESS_PATIENCE.as_nanos() + 1_000_000_000);

const TEACH: &str = "\
The running node starts the new program with its own arguments, hands it its sockets, its
connections and what it remembers of packets, and ends once it has sent what it holds. No packet is
lost, none passes twice, and a service manager is told of the new process. If the new program does
not start, refuses its configuration or is not ready in time, the running node goes on as if nothing
had happened, and says why. SIGUSR2 asks for the same, with the program that the node was started
from.

What cannot change this way: listen, shards, state-dir. A node that is the first process of a
container cannot be replaced, for the container ends with it.

Examples:
  phix-node upgrade --dir /var/lib/phix
  phix-node upgrade --dir /var/lib/phix --binary /usr/local/bin/phix-node-next
  ExecReload=/usr/bin/phix-node upgrade --dir /var/lib/phix      (in a systemd unit)";

/// The time that a new program may get, in words and as a type.
type Limit = Span<1, 600>;

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    let limit =
        |text: &str| Limit::read(text).ok_or_else(|| format!("must be {}", Limit::allowed()));
    place::with_config(place::with_dir(command))
        .about("Have a new program take the place of a running node, without a gap")
        .after_help(TEACH)
        .arg(
            Arg::new("binary")
                .long("binary")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::ExecutablePath)
                .help("The new program [default: the path that the running node was started from]"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("TIME")
                .value_parser(limit)
                .help("How long it may take to be ready [default: 30s]"),
        )
}

/// Runs the command.
///
/// # Errors
/// If there is no such node, or it goes on by itself.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let place = Place::configured(matches)?;
    let dir = place.state_dir().ok_or_else(|| {
        Fault::refused(
            "a node without a state-dir has no place to be asked: send it SIGUSR2, or set \
             state-dir.",
        )
    })?;
    let binary = matches.get_one::<PathBuf>("binary").map(|path| absolute(path)).transpose()?;
    let limit = matches.get_one::<Limit>("limit").map_or(READY_LIMIT, |limit| limit.get());
    let process = control::ask(&dir, binary.as_deref(), limit)?;
    say(format_args!("process {process} is the node now"));
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    path.canonicalize().map_err(|error| {
        Fault::refused(format!(
            "there is no program {} ({}): give --binary the path of one.",
            path.display(),
            phix_client::files::words(&error),
        ))
    })
}

/// What a running node has to do with upgrades.
pub struct Upgrades {
    requests: Requests,
    own: PathBuf,
    /// One that waits until it can begin.
    waiting: Option<Request>,
    attempt: Option<Attempt>,
}

impl Upgrades {
    /// Takes note of the program that this process runs, and of SIGUSR2 from now on.
    ///
    /// # Errors
    /// If the system does not allow that.
    pub fn prepare() -> Result<Self, Fault> {
        let refused = |error: io::Error| {
            Fault::refused(format!("signals cannot be waited for ({error}): see what forbids it."))
        };
        let requests = Requests::install().map_err(refused)?;
        let own = giving::own_path().map_err(refused)?;
        Ok(Self { requests, own, waiting: None, attempt: None })
    }

    /// Takes requests in the state directory, for a node that is the node.
    ///
    /// # Errors
    /// If there can be no socket.
    pub fn open(&mut self, dir: Option<&Path>) -> io::Result<()> {
        dir.map_or(Ok(()), |dir| self.requests.open(dir))
    }

    /// Whether a new program makes ready, so that nothing that it was told may change.
    pub const fn under_way(&self) -> bool {
        self.attempt.is_some()
    }

    /// Does what is to be done; the process that has taken this one's place, if one has. `may`
    /// says whether an upgrade can begin now.
    pub fn look(
        &mut self,
        may: bool,
        server: &Server,
        store: &Store,
        metrics: Option<&dyn Fn() -> io::Result<OwnedFd>>,
    ) -> Option<u32> {
        if let Some(request) = self.requests.next() {
            if self.waiting.is_some() || self.attempt.is_some() {
                request.refuse("another upgrade is under way");
            } else {
                self.waiting = Some(request);
            }
        }
        if may && let Some(request) = self.waiting.take() {
            self.begin(request, server, store, metrics);
        }
        let outcome = self.attempt.as_mut()?.outcome()?;
        let attempt = self.attempt.take()?;
        let installed = outcome.and_then(|successor| successor.install(server, store));
        attempt.request.answer(installed.clone());
        match installed {
            Ok(process) => Some(process),
            Err(why) => {
                failed(&why);
                None
            }
        }
    }

    fn begin(
        &mut self,
        request: Request,
        server: &Server,
        store: &Store,
        metrics: Option<&dyn Fn() -> io::Result<OwnedFd>>,
    ) {
        let basics = || {
            let listeners = server.listeners().map(|fd| fd.try_clone_to_owned());
            Ok(Basics {
                listeners: listeners.collect::<io::Result<_>>()?,
                metrics: metrics.map(|fd| fd()).transpose()?,
                legacy: store.legacy()?,
            })
        };
        let basics = basics().map_err(|error: io::Error| {
            format!("there are no descriptors for it ({error}): raise the limit of open files")
        });
        let begun = match basics {
            Ok(basics) => Attempt::start(request, &self.own, basics),
            Err(why) => Err((request, why)),
        };
        match begun {
            Ok(attempt) => self.attempt = Some(attempt),
            Err((request, why)) => {
                failed(&why);
                request.answer(Err(why));
            }
        }
    }
}

fn failed(why: &str) {
    say(format_args!("the upgrade has failed and this node goes on as before: {why}."));
}
