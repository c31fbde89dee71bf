//! The side of the running node: starts the new program, hands it what it needs to make ready, and
//! then the rest. Until the last word is said, it can go on as if nothing had happened.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use phix_client::files::words;
use phix_io::{Handed, Server};

use super::TAKE_OVER;
use super::channel::Channel;
use super::control::Request;
use super::wire::{Message, VERSION};
use crate::replay_store::{Legacy, SharedFilter, Store, Written};

/// How long the new program may take to read what it is given last.
const TAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long a program that has said its last word may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// What a new program needs to make ready. Descriptors are duplicates.
pub(super) struct Basics {
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) metrics: Option<OwnedFd>,
    pub(super) legacy: Legacy,
}

/// A new program that makes ready. Ended when it is dropped.
pub(super) struct Attempt {
    pub(super) request: Request,
    child: Option<Child>,
    outcome: Receiver<Result<Channel, String>>,
}

/// A new program that is ready.
pub(super) struct Successor {
    channel: Channel,
    child: Child,
}

impl Attempt {
    /// Starts the new program.
    pub(super) fn start(
        request: Request,
        own: &Path,
        basics: Basics,
    ) -> Result<Self, (Request, String)> {
        match Self::spawn(request.binary.as_deref().unwrap_or(own), request.limit, basics) {
            Ok((child, outcome)) => Ok(Self { request, child: Some(child), outcome }),
            Err(why) => Err((request, why)),
        }
    }

    fn spawn(
        binary: &Path,
        limit: Duration,
        basics: Basics,
    ) -> Result<(Child, Receiver<Result<Channel, String>>), String> {
        let cannot = |error: io::Error| {
            format!("{} cannot be started ({})", binary.display(), words(&error))
        };
        let (own, other) = Channel::pair().map_err(cannot)?;
        let mut command = Command::new(binary);
        command.args(arguments(env::args_os().skip(1))).stdin(other);
        let child = command.spawn().map_err(cannot)?;
        // The other end is the child's alone from here on.
        drop(command);
        let (to, outcome) = mpsc::channel();
        let exchange = move || {
            // Nobody listens where the attempt was given up.
            let _ = to.send(make_ready(&own, &basics, limit).map(|()| own));
        };
        let thread = thread::Builder::new().name("phix-upgrade".into()).spawn(exchange);
        let mut attempt = (child, outcome);
        if let Err(error) = thread {
            end(&mut attempt.0);
            return Err(cannot(error));
        }
        Ok(attempt)
    }

    /// What came of it, once that is known. Of a program that has failed it is said how.
    pub(super) fn outcome(&mut self) -> Option<Result<Successor, String>> {
        let outcome = match self.outcome.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the handover has panicked".to_owned()),
            Ok(outcome) => outcome,
        };
        let mut child = self.child.take()?;
        Some(match outcome {
            Ok(channel) => Ok(Successor { channel, child }),
            Err(why) => {
                let status = end(&mut child);
                let code = status.and_then(|status| status.code());
                Err(code.map_or(why.clone(), |code| format!("{why} (exit code {code})")))
            }
        })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

impl Successor {
    /// Hands over the rest and the place of this node. When it fails, everything is as before.
    pub(super) fn install(mut self, server: &Server, store: &Store) -> Result<u32, String> {
        let mut connections = server.release();
        let mut journals = Vec::new();
        let handed = store.release().and_then(|released| {
            journals = released;
            give_rest(&self.channel, &mut connections, &journals)
        });
        match handed {
            // Its descriptors of what was given away close with this process, or before.
            Ok(()) => Ok(self.child.id()),
            Err(error) => {
                store.adopt(journals);
                let reopened = server.open(connections);
                end(&mut self.child);
                let why = format!("the new program failed while it took over ({})", words(&error));
                Err(match reopened {
                    Ok(()) => why,
                    Err(lost) => format!("{why}; {lost}"),
                })
            }
        }
    }
}

/// Hands over what is needed to make ready, and waits for the answer.
fn make_ready(channel: &Channel, basics: &Basics, limit: Duration) -> Result<(), String> {
    let end = Instant::now() + limit;
    if let Err(error) = give_basics(channel, basics)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(format!("the new program does not take what it is given ({})", words(&error)));
    }
    match channel.receive(end.saturating_duration_since(Instant::now())) {
        Ok(Some((Message::Ready, _))) => Ok(()),
        Ok(Some((Message::Refused(why), _))) => {
            Err(format!("the new program says: {}", why.trim_end_matches('.'),))
        }
        Ok(Some(_)) => Err("the new program does not speak as it should".to_owned()),
        Ok(None) => Err("the new program ended before it was ready".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(format!("the new program was not ready within {} s", limit.as_secs_f64()))
        }
        Err(error) => {
            Err(format!("the new program does not speak as it should ({})", words(&error)))
        }
    }
}

fn give_basics(channel: &Channel, basics: &Basics) -> io::Result<()> {
    channel.send(&Message::Hello { version: VERSION, process: std::process::id() })?;
    for listener in &basics.listeners {
        channel.send_with(&Message::Listener, listener.as_fd())?;
    }
    if let Some(metrics) = &basics.metrics {
        channel.send_with(&Message::Metrics, metrics.as_fd())?;
    }
    if let Some(lock) = &basics.legacy.lock {
        channel.send_with(&Message::Lock, lock.as_fd())?;
    }
    for SharedFilter { number, key, memory } in &basics.legacy.filters {
        let filter = Message::Filter { number: *number, key: *key };
        channel.send_with(&filter, memory.as_fd())?;
    }
    channel.send(&Message::Prepare)
}

/// Hands over the rest, and says "go" only once the new program has all of it: a message that was
/// sent may also be one that nobody will read, or whose descriptor finds no place.
fn give_rest(
    channel: &Channel,
    connections: &mut [Handed],
    journals: &[Written],
) -> io::Result<()> {
    for Written { number, file, len, sequence } in journals {
        let journal = Message::Journal { number: *number, len: *len, sequence: *sequence };
        channel.send_with(&journal, file.as_fd())?;
    }
    for Handed { socket, stream } in connections {
        let empty = phix_io::Unfinished { frame: Vec::new(), noise: None };
        let connection = Message::Connection(std::mem::replace(stream, empty));
        let sent = channel.send_with(&connection, socket.as_fd());
        if let Message::Connection(own) = connection {
            *stream = own;
        }
        sent?;
    }
    channel.send(&Message::All)?;
    match channel.receive(TAKE_LIMIT) {
        Ok(Some((Message::Took, _))) => channel.send(&Message::Go),
        Ok(Some(_)) => Err(io::Error::other("it does not speak as it should")),
        Ok(None) => Err(io::Error::other("it ended")),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::other("it takes too long"))
        }
        Err(error) => Err(error),
    }
}

/// The arguments of this process, with the one that tells the new program where it comes from.
fn arguments(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let flag = format!("--{TAKE_OVER}");
    let others = own.filter(|argument| *argument != *flag);
    others.chain([OsString::from(&flag)]).collect()
}

/// Ends a program, if it has not ended by itself; how it ended in that case.
fn end(child: &mut Child) -> Option<ExitStatus> {
    let limit = Instant::now() + END_LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < limit => thread::sleep(Duration::from_millis(5)),
            _ => break,
        }
    }
    // It may end just now, or refuse to; nothing depends on it.
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// The program that this process runs, also after another has taken its name.
pub(super) fn own_path() -> io::Result<PathBuf> {
    env::current_exe()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_program_is_told_once_where_it_comes_from() {
        let given = ["run", "--dir", "d"].map(OsString::from);
        let first = arguments(given.into_iter());
        assert_eq!(first, ["run", "--dir", "d", "--take-over"]);
        assert_eq!(arguments(first.clone().into_iter()), first);
    }
}
