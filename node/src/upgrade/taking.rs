//! The side of the new node: takes what the running one hands over, says that it is ready, and is
//! the node once it is told so.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use phix_client::files::words;
use phix_io::Handed;

use super::channel::Channel;
use super::wire::{Message, VERSION};
use crate::fault::Fault;
use crate::replay_store::{Legacy, SharedFilter, Written};
use crate::settings::{Role, Settings};

/// How long the running node may take over one message, of which it has all at hand.
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);

/// What the running node has handed over before this one is ready.
pub struct Taking {
    channel: Channel,
    /// The process of the running node.
    pub process: u32,
    /// One listener per shard of the running node.
    pub listeners: Vec<OwnedFd>,
    /// That of the metrics.
    pub metrics: Option<TcpListener>,
    /// The replay memory.
    pub legacy: Legacy,
}

/// What it hands over last.
#[derive(Debug, Default)]
pub struct Rest {
    /// The journals, which are this node's now.
    pub journals: Vec<Written>,
    /// The connections in.
    pub connections: Vec<Handed>,
}

impl Taking {
    /// Takes what comes through standard input.
    ///
    /// # Errors
    /// If that is not a node which hands over to this version of the program.
    pub fn begin() -> Result<Self, Fault> {
        let channel = standard_input().and_then(Channel::over).map_err(|error| broken(&error))?;
        let (Message::Hello { version: VERSION, process }, _) = next(&channel)? else {
            let why = "the running node hands over in another way than this program takes: stop \
                       it and start this one.";
            return Err(refuse(&channel, Fault::refused(why)));
        };
        let (listeners, metrics, legacy) = (Vec::new(), None, Legacy::default());
        let mut taking = Self { channel, process, listeners, metrics, legacy };
        loop {
            match next(&taking.channel)? {
                (Message::Listener, Some(fd)) => taking.listeners.push(fd),
                (Message::Metrics, Some(fd)) => taking.metrics = Some(fd.into()),
                (Message::Lock, Some(fd)) => taking.legacy.lock = Some(fd),
                (Message::Filter { number, key }, Some(memory)) => {
                    taking.legacy.filters.push(SharedFilter { number, key, memory });
                }
                (Message::Prepare, None) => return Ok(taking),
                (other, _) => return Err(unexpected(&other)),
            }
        }
    }

    /// Tells the running node that this one cannot take its place, and why.
    pub fn refuse(&self, fault: Fault) -> Fault {
        refuse(&self.channel, fault)
    }

    /// The listener of the metrics, if they are to be shown where the running node shows them.
    pub fn metrics_at(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let here = self.metrics.as_ref()?.local_addr().ok()?;
        if fits(address, here) { self.metrics.take() } else { None }
    }

    /// Whether a node with these settings can take the running one's place.
    ///
    /// # Errors
    /// If it cannot, whatever else is right.
    pub fn check(&self, settings: &Settings) -> Result<(), Fault> {
        let roles = settings.roles;
        if roles.is_gateway() || roles.has(Role::Directory) || settings.entry.get().is_some() {
            return Err(Fault::refused(
                "only a node whose one role is mix can be replaced while it runs: stop the node \
                 and start it again.",
            ));
        }
        let local = |fd: &OwnedFd| TcpListener::from(fd.try_clone().ok()?).local_addr().ok();
        let there = self.listeners.first().and_then(local);
        if there.is_some_and(|there| fits(settings.listen, there)) {
            return Ok(());
        }
        Err(Fault::refused(
            "the running node has another listen address, which an upgrade cannot change: set \
             `listen` as it was, or stop the node and start it again.",
        ))
    }

    /// Says that this node is ready, and waits for the rest. When it returns, this is the node.
    ///
    /// # Errors
    /// If the running node does not go, and stays the node.
    pub fn take(self) -> Result<Rest, Fault> {
        self.channel.send(&Message::Ready).map_err(|error| broken(&error))?;
        let mut rest = Rest::default();
        loop {
            match next(&self.channel)? {
                (Message::Journal { number, len, sequence }, Some(file)) => {
                    let file = File::from(file);
                    rest.journals.push(Written { number, file, len, sequence });
                }
                (Message::Connection(stream), Some(socket)) => {
                    rest.connections.push(Handed { socket, stream });
                }
                (Message::All, None) => {
                    self.channel.send(&Message::Took).map_err(|error| broken(&error))?;
                }
                (Message::Go, None) => return Ok(rest),
                (other, _) => return Err(unexpected(&other)),
            }
        }
    }
}

/// Whether a node that is set to `wanted` can listen at `there`: the port 0 is any.
fn fits(wanted: SocketAddr, there: SocketAddr) -> bool {
    wanted.ip() == there.ip() && (wanted.port() == 0 || wanted.port() == there.port())
}

/// What standard input leads to; it leads nowhere afterwards, so that the other side notices the
/// end of this process.
fn standard_input() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

fn next(channel: &Channel) -> Result<(Message, Option<OwnedFd>), Fault> {
    channel.receive(MESSAGE_LIMIT).map_err(|error| broken(&error))?.ok_or_else(|| {
        Fault::broken("the node that was to be replaced has ended, or goes on by itself.")
    })
}

fn refuse(channel: &Channel, fault: Fault) -> Fault {
    // A node that has ended in the meantime need not be told.
    let _ = channel.send(&Message::Refused(fault.to_string()));
    fault
}

fn broken(error: &io::Error) -> Fault {
    Fault::broken(format!(
        "nothing can be taken over from a running node ({}): raise the limit of open files if that \
         is in the way; --take-over is for `phix-node upgrade` alone.",
        words(error),
    ))
}

fn unexpected(message: &Message) -> Fault {
    let name = format!("{message:?}");
    let name = name.split([' ', '(']).next().unwrap_or_default().to_owned();
    Fault::broken(format!("the running node says {name} out of turn: stop it and start this one."))
}
