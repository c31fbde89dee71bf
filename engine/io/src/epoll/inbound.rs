//! Connections in: accepted, read in turns, closed.

use std::os::fd::OwnedFd;

use phix_engine::intake::Intake;
use rustix::event::epoll;
use rustix::event::epoll::{EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv};

use super::{EpollLink, INBOUND, LISTENER, watch};
use crate::handed::Handed;
use crate::inbound::{End, Stream};
use crate::patience::Progress;
use crate::slab::{Key, Slab};
use crate::sockets;

/// Connections accepted per turn at most, so that a flood of them leaves time for packets.
const ACCEPTS: usize = 64;

#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) fd: OwnedFd,
    stream: Stream,
    in_round: bool,
    /// The other side has sent its last byte; reading goes on until the end is reached.
    hung_up: bool,
}

impl Inbound {
    const fn new(fd: OwnedFd, stream: Stream) -> Self {
        Self { fd, stream, in_round: false, hung_up: false }
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.stream.is_at_rest()
    }

    pub(super) const fn is_greeting(&self) -> bool {
        self.stream.is_greeting()
    }
}

impl EpollLink {
    pub(super) fn accept(&mut self, intake: &mut Intake<'_>) {
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else { return };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match accept_with(listener, flags) {
                Ok(fd) => self.admit(fd, intake),
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    if self.gate.failed(&error.into(), self.now) {
                        let data = EventData::new_u64(Key::NONE.pack(LISTENER));
                        // Cannot fail for a descriptor that is watched already.
                        let _ = epoll::modify(&self.epoll, listener, data, EventFlags::empty());
                        return;
                    }
                }
            }
        }
    }

    fn admit(&mut self, fd: OwnedFd, intake: &mut Intake<'_>) {
        let Some(pass) = self.sources.admit(&fd, intake.counters) else { return };
        // Before anyone makes place for it.
        let Some(stream) = self.streams.open(pass, &self.voices.noise, self.now) else {
            intake.counters.plain_refused += 1;
            return;
        };
        if self.inbound.is_full() {
            let (all, ours) = (progress(&self.inbound), in_round(&self.inbound));
            if let Some(key) = self.streams.patience.idlest(self.now, all, ours) {
                self.close_one(key, End::Overdue, intake);
            }
        }
        match self.seat(Inbound::new(fd, stream)) {
            Ok(()) => intake.counters.accepted += 1,
            Err(_) => intake.counters.refused += 1,
        }
    }

    /// Gives a connection its place, or gives it back.
    fn seat(&mut self, inbound: Inbound) -> Result<(), Option<Box<Inbound>>> {
        let key = self.inbound.insert(inbound).map_err(|inbound| Some(Box::new(inbound)))?;
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        let inbound = self.inbound.get_mut(key).expect("inserted above");
        if watch(&self.epoll, &inbound.fd, INBOUND, key, flags).is_err() {
            return Err(self.inbound.remove(key).map(Box::new));
        }
        Ok(())
    }

    pub(super) fn adopt_one(&mut self, handed: Handed, intake: &mut Intake<'_>) {
        let Handed { socket, stream } = handed;
        let Some(pass) = self.sources.admit(&socket, intake.counters) else { return };
        let Ok(stream) = self.streams.adopt(pass, stream, &self.voices.noise, intake, self.now)
        else {
            return;
        };
        if let Err(unseated) = self.seat(Inbound::new(socket, stream)) {
            intake.counters.refused += 1;
            if let Some(mut unseated) = unseated {
                self.streams.finish(&mut unseated.stream, End::Stopping, intake);
            }
        }
    }

    /// Takes a connection out, and no notice of it any more.
    pub(super) fn release_one(&mut self, key: Key, intake: &mut Intake<'_>) -> Option<Handed> {
        let Inbound { fd: socket, mut stream, .. } = self.inbound.remove(key)?;
        // Cannot fail for a descriptor that is watched.
        let _ = epoll::delete(&self.epoll, &socket);
        let stream = self.streams.release(&mut stream, intake);
        Some(Handed { socket, stream })
    }

    pub(super) fn readable(&mut self, key: Key, flags: EventFlags) {
        let Some(inbound) = self.inbound.get_mut(key) else { return };
        inbound.hung_up |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if !inbound.in_round {
            inbound.in_round = true;
            self.round.push_back(key);
        }
    }

    /// One read for each connection of the round, as long as the inbox has room.
    pub(super) fn read_round(&mut self, intake: &mut Intake<'_>) {
        for _ in 0..self.round.len() {
            // One packet may end with the first byte that is read.
            if intake.inbox.room() < 2 {
                return;
            }
            let Some(key) = self.round.pop_front() else { return };
            match self.read(key, intake) {
                Ok(true) => self.round.push_back(key),
                Ok(false) => {}
                Err(end) => self.close_one(key, end, intake),
            }
        }
    }

    /// Reads once; says whether there may be more.
    fn read(&mut self, key: Key, intake: &mut Intake<'_>) -> Result<bool, End> {
        let Some(Inbound { fd, stream, in_round, hung_up }) = self.inbound.get_mut(key) else {
            return Ok(false);
        };
        // It stays in the round for all that is said about it, and gets no turn.
        if let Some(until) = stream.rests(self.now).filter(|_| !self.at_rest) {
            self.resting.add(key, until);
            return Ok(false);
        }
        if stream.waits() {
            self.streams.push(stream, &mut [], intake, self.now)?;
        }
        if self.at_rest && !stream.waits() {
            *in_round = false;
            return Ok(false);
        }
        let limit = stream.readable(intake.inbox.room()).min(self.buffer.len());
        if stream.waits() || limit == 0 {
            return Ok(true);
        }
        let buffer = &mut self.buffer[..limit];
        let count = match recv(&*fd, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(End::Theirs),
            Ok((count, _)) => count,
            Err(Errno::INTR) => return Ok(true),
            Err(Errno::AGAIN) => {
                *in_round = false;
                return Ok(false);
            }
            Err(_) => return Err(End::Theirs),
        };
        let used = self.streams.push(stream, &mut buffer[..count], intake, self.now)?;
        debug_assert_eq!(used, count, "no read takes in more than the inbox has room for");
        if stream.reply().is_some_and(|reply| !sockets::say(fd, &reply)) {
            return Err(End::Theirs);
        }
        // A short read emptied the socket; the next byte brings an event. The end of the stream
        // brings none if it was announced with the bytes.
        *in_round = count == limit || *hung_up || stream.waits();
        Ok(*in_round)
    }

    pub(super) fn close_one(&mut self, key: Key, end: End, intake: &mut Intake<'_>) {
        if let Some(mut inbound) = self.inbound.remove(key) {
            self.streams.finish(&mut inbound.stream, end, intake);
        }
    }

    pub(super) fn close_overdue(&mut self, intake: &mut Intake<'_>) {
        let (all, ours) = (progress(&self.inbound), in_round(&self.inbound));
        for key in self.streams.patience.overdue(self.now, all, ours) {
            self.close_one(key, End::Overdue, intake);
        }
    }
}

fn progress(inbound: &Slab<Inbound>) -> impl Iterator<Item = (Key, Progress)> {
    inbound.entries().map(|(key, inbound)| (key, inbound.stream.progress()))
}

/// Whether a connection waits for its turn to be read.
fn in_round(inbound: &Slab<Inbound>) -> impl Fn(Key) -> bool {
    |key| inbound.get(key).is_some_and(|inbound| inbound.in_round)
}
