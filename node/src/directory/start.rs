//! From settings to a running directory.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use phix_client::files::words;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::desk::{Desk, Rules};
use super::draw::Sizes;
use super::epochs::Epochs;
use super::probe::Means;
use super::store::Store;
use super::{Directory, Listeners, executor, live};
use crate::cli::say;
use crate::fault::Fault;
use crate::place::Place;
use crate::rotation::now;
use crate::settings::Settings;
use crate::{notify, server};

/// How often to look whether the process is to stop.
const WATCH: Duration = Duration::from_millis(500);
/// The fact of the epoch with which a directory without rotations began.
const FIRST_EPOCH: &str = "first-epoch";

/// Runs a directory and nothing else, until the process is told to stop.
///
/// # Errors
/// As [`start`].
pub fn run(place: &Place) -> Result<(), Fault> {
    let stop = phix_io::StopSignal::install().map_err(|error| {
        Fault::refused(format!("signals cannot be waited for ({error}): see what forbids it."))
    })?;
    let directory = start(place)?;
    say(first_line(&directory));
    notify::tell("READY=1");
    while !stop.wait(WATCH) {}
    notify::tell("STOPPING=1");
    Ok(())
}

/// What a directory says of itself at start.
pub fn first_line(directory: &Directory) -> String {
    format!(
        "phix-node {}: directory on http://{}; probes come back to {}; epoch {} of {} s",
        env!("CARGO_PKG_VERSION"),
        directory.address(),
        directory.probes(),
        directory.desk().snapshot().epoch(),
        directory.desk().rules().epochs.length().as_secs_f32(),
    )
}

/// Starts the directory that the settings of `place` describe.
///
/// # Errors
/// If it cannot listen, or its file cannot be used, or the settings do not fit together.
pub fn start(place: &Place) -> Result<Directory, Fault> {
    let settings = &place.settings;
    let dir = place.state_dir().ok_or_else(|| {
        Fault::refused(
            "a directory must remember its nodes: set --state-dir to a directory for its file.",
        )
    })?;
    let listener = listen(settings.directory_listen, "directory-listen")?;
    let collector = listen(probes(settings)?, "directory-probes")?;
    let (address, probes) = (local(&listener)?, local(&collector)?);
    let desk = Arc::new(desk(settings, &dir, probes)?);
    let means = Means {
        kernels: server::kernels(settings.crypto)?,
        rng: StdRng::from_seed(server::random()?),
        source: probes.ip(),
    };
    let broken = |error: std::io::Error| {
        Fault::refused(format!(
            "the directory cannot start ({}): see that the system allows this user more threads \
             and open files.",
            words(&error)
        ))
    };
    let runtime = executor().map_err(broken)?;
    let inside = runtime.enter();
    let listeners = Listeners {
        requests: TcpListener::from_std(listener).map_err(broken)?,
        probes: TcpListener::from_std(collector).map_err(broken)?,
    };
    drop(inside);
    let (stop, stopped) = oneshot::channel::<()>();
    let living = Arc::clone(&desk);
    let thread = Builder::new().name("phix-directory".into()).spawn(move || {
        runtime.spawn(live(living, listeners, means, say));
        // Stopped, or dropped without a word: either is the end.
        let _ = runtime.block_on(stopped);
    });
    let thread = Some(thread.map_err(broken)?);
    Ok(Directory { address, probes, desk, stop: Some(stop), thread })
}

fn desk(settings: &Settings, dir: &Path, probes: SocketAddr) -> Result<Desk, Fault> {
    let store = Store::open(dir)?;
    let length = settings.directory_epoch.get();
    let validity = settings.directory_rotation.get().map(|count| count.size() as u32);
    let at = Epochs::new(length, Some(1), 0).at(now());
    let first = store.fact(FIRST_EPOCH, at).map_err(|error| {
        Fault::refused(format!(
            "{} cannot be written ({error}): see that there is room on the disk.",
            store.path().display()
        ))
    })?;
    let rules = Rules {
        epochs: Epochs::new(length, validity, first),
        sizes: Sizes {
            entries: settings.directory_entries.size(),
            exits: settings.directory_exits.size(),
            mixnodes: settings.directory_mixnodes.size(),
            standby: settings.directory_standby.size(),
        },
        check_source: settings.directory_check_source,
        probes,
    };
    Desk::open(rules, store, StdRng::from_seed(server::random()?), now())
}

/// Where probes are to come back to.
fn probes(settings: &Settings) -> Result<SocketAddr, Fault> {
    if let Some(address) = settings.directory_probes.get() {
        if address.ip().is_unspecified() {
            return Err(Fault::refused(
                "directory-probes must be an address that nodes can send to, not one that stands \
                 for all: set --directory-probes to the address of this machine.",
            ));
        }
        return Ok(address);
    }
    let ip = settings.directory_listen.ip();
    if ip.is_unspecified() {
        return Err(Fault::refused(
            "where directory-listen stands for all addresses, nodes must be told one that they \
             can send probes back to: set --directory-probes to the address of this machine and a \
             port.",
        ));
    }
    Ok(SocketAddr::new(ip, 0))
}

fn listen(address: SocketAddr, setting: &str) -> Result<StdListener, Fault> {
    let listener = StdListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        let why = words(&error);
        Fault::refused(format!(
            "the directory cannot listen on {address} ({why}): stop the program that listens \
             there, or set --{setting} to another address."
        ))
    })
}

fn local(listener: &StdListener) -> Result<SocketAddr, Fault> {
    listener.local_addr().map_err(|error| {
        Fault::refused(format!("a socket has no address ({}): try again.", words(&error)))
    })
}
