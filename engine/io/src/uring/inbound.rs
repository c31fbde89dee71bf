//! Connections in: accepted, filled buffers fed to their assemblers in order, ended.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use phix_engine::intake::Intake;

use super::buffers::Filled;
use super::ring::Event;
use super::{Connection, LEAVING_MAX, Role, UringLink};
use crate::handed::Handed;
use crate::inbound::{End, Stream};
use crate::patience::Progress;
use crate::slab::{Key, Slab};
use crate::sockets;

/// Bytes that a next hop may send us in one connection, though by the protocol it sends none.
const DISCARD_MAX: usize = 1 << 20;

/// What a connection in brought and the inbox has not taken yet.
#[derive(Debug)]
pub(super) enum Pending {
    Bytes { key: Key, filled: Filled, used: usize },
    End(Key),
}

impl Pending {
    const fn key(&self) -> Key {
        match self {
            Self::Bytes { key, .. } | Self::End(key) => *key,
        }
    }
}

impl UringLink {
    pub(super) fn accepted(&mut self, event: Event, intake: &mut Intake<'_>) -> io::Result<()> {
        self.accepting = event.more;
        let listening = self.listener.is_some();
        if self.leaving_listener && !event.more {
            self.listener = None;
            self.leaving_listener = false;
        }
        match (event.result, event.accepted) {
            (Err(error), _) => {
                self.gate.failed(&error, self.now);
                Ok(())
            }
            (Ok(_), Some(fd)) if listening => self.admit(fd, intake),
            (Ok(_), _) => Ok(()),
        }
    }

    fn admit(&mut self, fd: OwnedFd, intake: &mut Intake<'_>) -> io::Result<()> {
        let Some(pass) = self.sources.admit(&fd, intake.counters) else { return Ok(()) };
        // Before anyone makes place for it.
        let Some(stream) = self.streams.open(pass, &self.voices.noise, self.now) else {
            intake.counters.plain_refused += 1;
            return Ok(());
        };
        if self.inbound == self.inbound_max {
            let (all, ours) =
                (progress(&self.connections), held_up(&self.connections, &self.pending));
            if let Some(key) = self.streams.patience.idlest(self.now, all, ours) {
                self.end(key, End::Overdue, intake)?;
            }
        }
        if !self.has_place() {
            intake.counters.refused += 1;
            return Ok(());
        }
        intake.counters.accepted += 1;
        self.seat(fd, stream)
    }

    /// Whether there is a place for one more connection in. Those out have places of their own.
    fn has_place(&self) -> bool {
        let places = self.inbound_max + LEAVING_MAX;
        self.inbound < self.inbound_max && self.inbound + self.leaving < places
    }

    /// Gives a connection its place, which there must be, and begins to read it.
    fn seat(&mut self, fd: OwnedFd, stream: Stream) -> io::Result<()> {
        let role = Role::In { stream: Box::new(stream) };
        let connection = Connection { receiving: true, ..Connection::new(fd, role) };
        let key = self.connections.insert(connection).expect("there is a place for it");
        self.inbound += 1;
        let connection = self.connections.get_mut(key).expect("inserted above");
        self.ring.receive(key, connection.fd.as_fd(), self.sources.rate().is_some())
    }

    pub(super) fn adopt_one(&mut self, handed: Handed, intake: &mut Intake<'_>) -> io::Result<()> {
        let Handed { socket, stream } = handed;
        // For the same reason as with a listener.
        rustix::io::ioctl_fionbio(&socket, false)?;
        let Some(pass) = self.sources.admit(&socket, intake.counters) else { return Ok(()) };
        if !self.has_place() {
            intake.counters.refused += 1;
            return Ok(());
        }
        match self.streams.adopt(pass, stream, &self.voices.noise, intake, self.now) {
            Ok(stream) => self.seat(socket, stream),
            Err(_) => Ok(()),
        }
    }

    /// Takes a connection in out, of which the kernel has no operation any more.
    pub(super) fn release_one(&mut self, key: Key, intake: &mut Intake<'_>) -> Option<Handed> {
        self.connections.get(key)?.stream()?;
        let Connection { fd: socket, role, .. } = self.connections.remove(key)?;
        let Role::In { mut stream } = role else { unreachable!("it has a stream") };
        self.inbound -= 1;
        let stream = self.streams.release(&mut stream, intake);
        Some(Handed { socket, stream })
    }

    /// An event of a receive, on a connection in or out.
    pub(super) fn received(&mut self, event: Event) -> io::Result<()> {
        let Event { key, result, more, mut filled, .. } = event;
        let Some(connection) = self.connections.get_mut(key) else {
            unreachable!("a connection stays until its operations have ended");
        };
        connection.receiving = more;
        connection.fed |= filled.is_some();
        let fed = connection.fed;
        let starved = [libc::ENOBUFS, libc::EAGAIN, libc::EINTR];
        let stopped = self.at_rest && !connection.closing;
        let starved = |error: &io::Error| {
            let code = error.raw_os_error();
            code.is_some_and(|code| starved.contains(&code) || stopped && code == libc::ECANCELED)
        };
        let ended = match &result {
            Ok(count) => *count == 0,
            Err(error) => !starved(error),
        };
        let closing = connection.closing;
        let discard = match &mut connection.role {
            Role::In { .. } => None,
            Role::Out { peer, discarded, voice, .. } => {
                *discarded += result.as_ref().copied().unwrap_or(0);
                let mut useless = *discarded > DISCARD_MAX;
                if let Some(filled) = &mut filled
                    && !closing
                    && !voice.is_up()
                {
                    let bytes = self.ring.buffers_mut().bytes_mut(filled);
                    useless |= self.voices.hear(voice, bytes, &connection.fd).is_err();
                    if voice.is_up() {
                        self.peers.connected(*peer, key, self.now);
                    }
                }
                Some(useless)
            }
        };
        match filled {
            Some(filled) if closing || ended || discard.is_some() => {
                self.ring.buffers_mut().give_back(filled);
            }
            Some(filled) => self.pending.push_back(Pending::Bytes { key, filled, used: 0 }),
            None => {}
        }
        match discard {
            _ if closing => self.reap(key),
            Some(useless) if ended || useless => return self.lose(key),
            None if ended => self.pending.push_back(Pending::End(key)),
            _ if !more && fed => self.starved.push_back(key),
            _ if !more => self.hungry.push_back(key),
            _ => {}
        }
        Ok(())
    }

    /// Feeds waiting bytes to their assemblers, oldest first, as far as the inbox takes them.
    pub(super) fn feed(&mut self, intake: &mut Intake<'_>) -> io::Result<()> {
        while let Some(pending) = self.pending.pop_front() {
            match pending {
                Pending::End(key) => self.end(key, End::Theirs, intake)?,
                Pending::Bytes { key, mut filled, used } => {
                    let (more, waits) = self.push(key, &mut filled, used, intake)?;
                    let used = used + more;
                    if used < filled.len() || waits {
                        self.pending.push_front(Pending::Bytes { key, filled, used });
                        return Ok(());
                    }
                    self.ring.buffers_mut().give_back(filled);
                }
            }
        }
        Ok(())
    }

    /// Feeds one buffer; says how much of it is done with, and whether some of that waits for room
    /// all the same.
    fn push(
        &mut self,
        key: Key,
        filled: &mut Filled,
        from: usize,
        intake: &mut Intake<'_>,
    ) -> io::Result<(usize, bool)> {
        let bytes = &mut self.ring.buffers_mut().bytes_mut(filled)[from..];
        let all = bytes.len();
        let open = self.connections.get_mut(key).filter(|connection| !connection.closing);
        let Some(Connection { fd, role: Role::In { stream }, .. }) = open else {
            return Ok((all, false));
        };
        let mut used = self.streams.push(stream, bytes, intake, self.now);
        if stream.reply().is_some_and(|reply| !sockets::say(fd, &reply)) {
            used = Err(End::Theirs);
        }
        let waits = stream.waits();
        match used {
            Ok(used) => Ok((used, waits)),
            Err(end) => self.end(key, end, intake).map(|()| (all, false)),
        }
    }

    /// Ends a connection in. One that is being closed has ended before; those out are left alone.
    pub(super) fn end(&mut self, key: Key, end: End, intake: &mut Intake<'_>) -> io::Result<()> {
        let open = self.connections.get_mut(key).filter(|connection| !connection.closing);
        let Some(Connection { role: Role::In { stream }, .. }) = open else { return Ok(()) };
        self.streams.finish(stream, end, intake);
        self.close(key)
    }

    pub(super) fn end_overdue(&mut self, intake: &mut Intake<'_>) -> io::Result<()> {
        let (all, ours) = (progress(&self.connections), held_up(&self.connections, &self.pending));
        for key in self.streams.patience.overdue(self.now, all, ours) {
            self.end(key, End::Overdue, intake)?;
        }
        Ok(())
    }
}

/// The connections in that are open.
fn progress(connections: &Slab<Connection>) -> impl Iterator<Item = (Key, Progress)> {
    connections.entries().filter_map(|(key, connection)| match &connection.role {
        Role::In { stream } if !connection.closing => Some((key, stream.progress())),
        Role::In { .. } | Role::Out { .. } => None,
    })
}

/// Whether bytes of a connection wait for room in the inbox, or for a buffer.
fn held_up(connections: &Slab<Connection>, pending: &VecDeque<Pending>) -> impl Fn(Key) -> bool {
    |key| {
        let starved = connections.get(key).is_some_and(|connection| !connection.receiving);
        starved || pending.iter().any(|pending| pending.key() == key)
    }
}
