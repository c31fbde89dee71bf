//! The processes of a local network: made, started, waited for, stopped.

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use phix_client::mixnet::{Settings, topology};
use phix_io::LinkChoice;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime;

use super::members::{LAYERS, Member, Part, Ports, members};
use crate::announce::LISTS;
use crate::fault::Fault;

/// How long the network may take until all of it is in use.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process may take to end.
const ENDING: Duration = Duration::from_secs(15);
/// How often it is looked again.
const PAUSE: Duration = Duration::from_millis(50);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Mix nodes per layer.
    pub(crate) width: usize,
    /// The link of all nodes.
    pub(crate) link: LinkChoice,
    /// The crypto kernels of all nodes, by name.
    pub(crate) crypto: String,
    /// Where they listen.
    pub(crate) ports: Ports,
    /// How long an epoch lasts.
    pub(crate) epoch: String,
}

impl Plan {
    /// What the arguments of [`super::arguments::with_members`] say.
    pub(crate) fn given(matches: &ArgMatches) -> Self {
        let port = |name: &str| *matches.get_one::<u16>(name).expect("has a default");
        Self {
            width: usize::from(*matches.get_one::<u8>("width").expect("has a default")),
            link: *matches.get_one("link").expect("has a default"),
            crypto: matches
                .get_one::<crate::settings::Crypto>("crypto")
                .expect("has a default")
                .word()
                .to_owned(),
            ports: Ports { packets: port("port"), directory: port("directory-port") },
            epoch: matches.get_one::<String>("epoch").expect("has a default").clone(),
        }
    }
}

/// A member and its process.
#[derive(Debug)]
struct Running {
    member: Member,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// What it has said.
    fn said(&self) -> String {
        let mut text = String::new();
        let read = File::open(&self.log).and_then(|mut log| log.read_to_string(&mut text));
        read.map_or_else(|_| String::new(), |_| text)
    }

    /// How many nodes it has learned of from the directory, as it said last.
    fn knows_of(&self) -> Option<usize> {
        let said = self.said();
        let (_, last) = said.rsplit_once(LISTS)?;
        last.split(' ').next()?.parse().ok()
    }

    /// Why it has ended, if it has.
    fn ended(&mut self) -> Option<Fault> {
        let status = self.child.try_wait().ok().flatten()?;
        let said = self.said();
        let last = said.trim_end().lines().last().unwrap_or("no word");
        let last = last.trim_start_matches("phix-node: ");
        let what = format!("{} has ended: {last}", self.member.name);
        Some(if status.code() == Some(2) { Fault::refused(what) } else { Fault::broken(what) })
    }
}

/// A local network that runs; what is left of it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Processes {
    running: Vec<Running>,
    directory: String,
    place: PathBuf,
    _temporary: Option<TempDir>,
}

impl Processes {
    /// Makes and starts all members, and waits until the directory has them in use. They live in
    /// `keep`, which must not exist, or else in a directory that is removed in the end. Gives up
    /// when `given_up` says so.
    ///
    /// # Errors
    /// A sentence, if any of them does not start.
    pub(crate) fn start(
        plan: &Plan,
        keep: Option<&Path>,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Self, Fault> {
        let (place, temporary) = make_place(keep)?;
        let all = members(plan.width);
        let directory = format!("http://{}", all[0].front(plan.ports));
        let mut network = Starting { plan, place: &place, directory: &directory, running: vec![] };
        for member in all {
            network.add(member)?;
            network.wait_for_last(given_up)?;
        }
        network.wait_until_in_use(given_up)?;
        let running = std::mem::take(&mut network.running);
        drop(network);
        Ok(Self { running, directory, place, _temporary: temporary })
    }

    /// The base URL of the directory.
    pub(crate) fn directory(&self) -> &str {
        &self.directory
    }

    /// Its members and where they are, a line each.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{} (logs and keys of each below)\n", self.place.display());
        for Running { member, child, .. } in &self.running {
            let Member { name, ip, .. } = member;
            text += &format!("  {name:<12}{ip:<14}process {}\n", child.id());
        }
        text
    }

    /// Why one of them has ended by itself, if one has.
    pub(crate) fn failed(&mut self) -> Option<Fault> {
        self.running.iter_mut().find_map(Running::ended)
    }

    /// Ends all of them in good order, the directory last.
    pub(crate) fn stop(mut self) {
        end(&mut self.running);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        end(&mut self.running);
    }
}

/// Where the members are made.
fn make_place(keep: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), Fault> {
    let refused = |path: &Path, error: io::Error| {
        Fault::refused(format!(
            "{} cannot be made ({error}): name a directory that does not exist yet, in one that \
             does, with --keep.",
            path.display()
        ))
    };
    if let Some(keep) = keep {
        std::fs::create_dir(keep).map_err(|error| refused(keep, error))?;
        return Ok((keep.to_owned(), None));
    }
    let made = tempfile::Builder::new().prefix("phix-localnet-").tempdir();
    let made = made.map_err(|error| refused(&std::env::temp_dir(), error))?;
    Ok((made.path().to_owned(), Some(made)))
}

/// A network of which not all members run yet. They end when it is dropped.
struct Starting<'a> {
    plan: &'a Plan,
    place: &'a Path,
    directory: &'a str,
    running: Vec<Running>,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        end(&mut self.running);
    }
}

impl Starting<'_> {
    /// Makes a member and starts it.
    fn add(&mut self, member: Member) -> Result<(), Fault> {
        let dir = self.place.join(&member.name);
        let log = self.place.join(format!("{}.log", member.name));
        let mut settings = member.settings(self.plan.ports, self.directory);
        let link = self.plan.link.to_string();
        settings.extend(["--link".into(), link, "--crypto".into(), self.plan.crypto.clone()]);
        if member.part == Part::Directory {
            settings.extend(["--directory-epoch".into(), self.plan.epoch.clone()]);
        }
        let made = phix(&dir, "init")?.args(settings).output();
        let made = made.map_err(|error| no_process(&error))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            let said = said.trim().trim_start_matches("phix-node: ");
            return Err(Fault::refused(format!("{} cannot be made: {said}", member.name)));
        }
        let out = File::create(&log).and_then(|out| Ok((out.try_clone()?, out)));
        let (out, errors) = out.map_err(|error| no_process(&error))?;
        let child = phix(&dir, "run")?.stdin(Stdio::null()).stdout(out).stderr(errors).spawn();
        let child = child.map_err(|error| no_process(&error))?;
        self.running.push(Running { member, child, log });
        Ok(())
    }

    /// Waits until the member that was started last listens.
    fn wait_for_last(&mut self, given_up: &dyn Fn() -> bool) -> Result<(), Fault> {
        let front = self.running.last().expect("one was added").member.front(self.plan.ports);
        self.wait(given_up, |_| {
            TcpStream::connect_timeout(&front, PAUSE)
                .is_ok()
                .then_some(())
                .ok_or_else(|| format!("{front} does not listen"))
        })
    }

    /// Waits until the directory has all members in use, and they know of each other.
    fn wait_until_in_use(&mut self, given_up: &dyn Fn() -> bool) -> Result<(), Fault> {
        let executor = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let executor = executor.map_err(|error| no_process(&error))?;
        let settings =
            Settings { directory: Some(self.directory.to_owned()), ..Settings::default() };
        let mixes = LAYERS * self.plan.width;
        self.wait(given_up, |network| {
            let topology = executor.block_on(topology(&settings)).map_err(|e| e.to_string())?;
            // What clients are told: all mix nodes, and the gateways that let clients in.
            let gateways = topology.entry_gateways().count();
            let all = topology.form().node_details.len();
            if gateways == 0 || all < mixes + gateways {
                let mixing = all - gateways;
                return Err(format!(
                    "{mixing} mix nodes of {mixes} and {gateways} gateways are in use"
                ));
            }
            // Nodes that know of each other at different times do not agree on Noise until then.
            let nodes = network.running.len() - 1;
            network.running[1..].iter().try_for_each(|node| match node.knows_of() {
                Some(known) if known == nodes => Ok(()),
                known => Err(format!("{} knows of {} nodes", node.member.name, known.unwrap_or(0))),
            })
        })
    }

    /// Tries until something works, no one ends meanwhile, and the time is over.
    fn wait<T>(
        &mut self,
        given_up: &dyn Fn() -> bool,
        mut attempt: impl FnMut(&Self) -> Result<T, String>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tried = attempt(self);
            // Whoever stops this by Ctrl-C stops the others, too.
            let given_up = given_up();
            if let (false, Some(fault)) =
                (given_up, self.running.iter_mut().find_map(Running::ended))
            {
                return Err(fault);
            }
            let why = match tried {
                Ok(done) => return Ok(done),
                Err(why) => why,
            };
            if given_up {
                return Err(Fault::refused(format!("stopped before the network was up ({why}).")));
            }
            if Instant::now() > deadline {
                return Err(Fault::broken(format!(
                    "the network was not up after {} s ({why}); its logs are in {}.",
                    PATIENCE.as_secs(),
                    self.place.display(),
                )));
            }
            sleep(PAUSE);
        }
    }
}

/// This program, with a command for the node in `dir`, and with no settings but those given.
fn phix(dir: &Path, command: &str) -> Result<Command, Fault> {
    let program = std::env::current_exe().map_err(|error| no_process(&error))?;
    let mut phix = Command::new(program);
    phix.env_clear().arg(command).arg("--dir").arg(dir);
    Ok(phix)
}

fn no_process(error: &io::Error) -> Fault {
    Fault::refused(format!(
        "a process cannot be started ({error}): see that the system allows this user more \
         processes and open files, and that there is room on the disk."
    ))
}

/// Asks all to end, gateways first, and makes those that do not.
fn end(running: &mut Vec<Running>) {
    while let Some(mut last) = running.pop() {
        let pid = Pid::from_child(&last.child);
        // One that has ended already cannot be told, and need not.
        let _ = kill_process(pid, Signal::TERM);
        let deadline = Instant::now() + ENDING;
        while matches!(last.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = last.child.kill();
                let _ = last.child.wait();
                break;
            }
            sleep(PAUSE / 10);
        }
    }
}
