//! Connections out: connected, written to, watched for their end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use phix_engine::egress::PeerId;
use phix_engine::pool::{Margins, Pool};
use phix_engine::shard::Outgoing;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};

use super::{EpollLink, OUTBOUND, watch};
use crate::sending::Sending;
use crate::slab::Key;
use crate::sockets;
use crate::voice::Voice;

/// Reads per turn of what a next hop sends, which is nothing if it keeps to the protocol. One that
/// sends faster than this loses its connection.
const DISCARDS: usize = 4;

#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) fd: OwnedFd,
    peer: PeerId,
    address: IpAddr,
    connected: bool,
    voice: Voice,
    sending: Option<Sending>,
}

impl EpollLink {
    pub(super) fn connect(&mut self, peer: PeerId, address: SocketAddr) {
        match self.try_connect(peer, address) {
            Ok(key) => self.peers.connecting(peer, key, self.now),
            Err(_) => self.peers.refused(peer, self.now),
        }
    }

    fn try_connect(&mut self, peer: PeerId, address: SocketAddr) -> io::Result<Key> {
        if !self.voices.may_connect(address.ip()) {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        let socket = sockets::outbound(address, self.source)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let outbound = Outbound {
            fd: socket.into(),
            peer,
            address: address.ip(),
            connected: false,
            voice: Voice::Plain,
            sending: None,
        };
        let full = |_| io::Error::from_raw_os_error(libc::EMFILE);
        let key = self.outbound.insert(outbound).map_err(full)?;
        let outbound = self.outbound.get_mut(key).expect("inserted above");
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = watch(&self.epoll, &outbound.fd, OUTBOUND, key, flags) {
            self.outbound.remove(key);
            return Err(error.into());
        }
        Ok(key)
    }

    pub(super) fn outbound_event(&mut self, key: Key, flags: EventFlags, pool: &Pool) {
        let Some(outbound) = self.outbound.get_mut(key) else { return };
        if !outbound.connected {
            if socket_error(&outbound.fd) != Ok(Ok(())) {
                return self.lose(key);
            }
            let Ok(voice) = self.voices.begin(outbound.address, &outbound.fd) else {
                return self.lose(key);
            };
            (outbound.connected, outbound.voice) = (true, voice);
            if outbound.voice.is_up() {
                self.peers.connected(outbound.peer, key, self.now);
            } else {
                self.peers.greeting(outbound.peer, key, self.now);
            }
        }
        if flags.contains(EventFlags::OUT) {
            self.write(key, pool);
        }
        let reading = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(reading) && !self.discard(key) {
            self.lose(key);
        }
    }

    pub(super) fn start_sending(
        &mut self,
        peer: PeerId,
        packets: Outgoing,
        front: usize,
        pool: &mut Pool,
    ) {
        let unsent = Margins { front, tail: 0 };
        let Some(key) = self.peers.ready(peer) else {
            return Sending::new(packets, unsent, pool).finish(&mut self.timers.completed);
        };
        let outbound = self.outbound.get_mut(key).expect("a peer that is ready is connected");
        let spoken = outbound.voice.speak(&packets, front, pool);
        outbound.sending = Some(Sending::new(packets, spoken.unwrap_or(unsent), pool));
        if spoken.is_err() {
            return self.lose(key);
        }
        self.peers.moved(peer, key, true, self.now);
        self.write(key, pool);
    }

    /// Hands over as much as the socket takes now.
    fn write(&mut self, key: Key, pool: &Pool) {
        let Some(outbound) = self.outbound.get_mut(key) else { return };
        let Some(sending) = &mut outbound.sending else { return };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let peer = outbound.peer;
        loop {
            let rest = sending.rest(pool);
            match sendmsg(&outbound.fd, &rest, &mut SendAncillaryBuffer::default(), flags) {
                Ok(count) => {
                    let done = sending.advance(count);
                    self.peers.moved(peer, key, !done, self.now);
                    if done {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.lose(key),
            }
        }
        if let Some(sending) = outbound.sending.take() {
            sending.finish(&mut self.timers.completed);
        }
    }

    /// Takes what belongs to a handshake and throws away whatever else a next hop sends. False if
    /// the connection is at its end.
    fn discard(&mut self, key: Key) -> bool {
        let Some(Outbound { fd, voice, peer, .. }) = self.outbound.get_mut(key) else {
            return true;
        };
        for _ in 0..DISCARDS {
            match recv(&*fd, &mut *self.buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return false,
                Ok((count, _)) if !voice.is_up() => {
                    if self.voices.hear(voice, &self.buffer[..count], fd).is_err() {
                        return false;
                    }
                    if voice.is_up() {
                        self.peers.connected(*peer, key, self.now);
                    }
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    fn lose(&mut self, key: Key) {
        if let Some(outbound) = self.outbound.get_mut(key) {
            let peer = outbound.peer;
            self.peers.lost(peer, key, self.now);
            self.give_up(key);
        }
    }

    /// Closes a connection before its time.
    pub(super) fn give_up(&mut self, key: Key) {
        if let Some(outbound) = self.outbound.get(key) {
            self.voices.lost(&outbound.voice);
        }
        self.close_outbound(key);
    }

    pub(super) fn close_outbound(&mut self, key: Key) {
        let outbound = self.outbound.remove(key);
        if let Some(sending) = outbound.and_then(|outbound| outbound.sending) {
            sending.finish(&mut self.timers.completed);
        }
    }
}
