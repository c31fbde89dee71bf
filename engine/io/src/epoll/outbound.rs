//! Connections out: connected, written to, watched for their end.

use std::io;
use std::net::SocketAddr;
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

/// Reads per turn of what a next hop sends, which is nothing if it keeps to the protocol. One that
/// sends faster than this loses its connection.
const DISCARDS: usize = 4;

#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) fd: OwnedFd,
    peer: PeerId,
    connected: bool,
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
        let socket = sockets::outbound(address, self.source)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let outbound = Outbound { fd: socket.into(), peer, connected: false, sending: None };
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
            match socket_error(&outbound.fd) {
                Ok(Ok(())) => {
                    outbound.connected = true;
                    let peer = outbound.peer;
                    self.peers.connected(peer, key, self.now);
                }
                Ok(Err(_)) | Err(_) => return self.lose(key),
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
        let sending = Sending::new(packets, Margins { front, tail: 0 }, pool);
        let Some(key) = self.peers.ready(peer) else {
            return sending.finish(&mut self.timers.completed);
        };
        self.peers.moved(peer, key, true, self.now);
        self.outbound.get_mut(key).expect("a peer that is ready is connected").sending =
            Some(sending);
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

    /// Throws away what a next hop sends. False if the connection is at its end.
    fn discard(&mut self, key: Key) -> bool {
        let Some(outbound) = self.outbound.get_mut(key) else { return true };
        for _ in 0..DISCARDS {
            match recv(&outbound.fd, &mut *self.buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return false,
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
            self.close_outbound(key);
        }
    }

    pub(super) fn close_outbound(&mut self, key: Key) {
        let outbound = self.outbound.remove(key);
        if let Some(sending) = outbound.and_then(|outbound| outbound.sending) {
            sending.finish(&mut self.timers.completed);
        }
    }
}
