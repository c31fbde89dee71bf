//! Connections out: connected, written to, watched for their end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use phix_engine::egress::PeerId;
use phix_engine::pool::{Margins, Pool};
use phix_engine::shard::Outgoing;

use super::lending::Lending;
use super::message::Message;
use super::ring::{Event, Op};
use super::{Connection, Role, UringLink};
use crate::sending::Sending;
use crate::slab::Key;
use crate::sockets;
use crate::voice::Voice;

impl UringLink {
    pub(super) fn connect(&mut self, peer: PeerId, address: SocketAddr) -> io::Result<()> {
        let may = self.voices.may_connect(address.ip());
        let Some(socket) = sockets::outbound(address, self.source).ok().filter(|_| may) else {
            self.peers.refused(peer, self.now);
            return Ok(());
        };
        let voice = Voice::Plain;
        let role = Role::Out {
            peer,
            address: address.ip(),
            voice,
            message: None,
            discarded: 0,
            lending: Lending::default(),
        };
        let connection =
            Connection { lent: Some(Op::Connect), ..Connection::new(socket.into(), role) };
        let Ok(key) = self.connections.insert(connection) else {
            self.peers.refused(peer, self.now);
            return Ok(());
        };
        self.peers.connecting(peer, key, self.now);
        let connection = self.connections.get_mut(key).expect("inserted above");
        self.ring.connect(key, connection.fd.as_fd(), Message::new(address))
    }

    pub(super) fn connected(&mut self, event: Event) -> io::Result<()> {
        let key = event.key;
        let Some((peer, closing)) = self.take_back(key, event.message) else { return Ok(()) };
        if closing {
            self.reap(key);
            return Ok(());
        }
        if event.result.is_err() {
            return self.lose(key);
        }
        let Some(Connection { fd, role: Role::Out { address, voice, .. }, receiving, .. }) =
            self.connections.get_mut(key)
        else {
            return Ok(());
        };
        let Ok(begun) = self.voices.begin(*address, fd) else { return self.lose(key) };
        *voice = begun;
        if voice.is_up() {
            self.peers.connected(peer, key, self.now);
        } else {
            self.peers.greeting(peer, key, self.now);
        }
        *receiving = true;
        self.ring.receive(key, fd.as_fd(), false)
    }

    pub(super) fn start_sending(
        &mut self,
        peer: PeerId,
        packets: Outgoing,
        front: usize,
        pool: &mut Pool,
    ) -> io::Result<()> {
        let unsent = Margins { front, tail: 0 };
        let Some(key) = self.peers.ready(peer) else {
            Sending::new(packets, unsent, pool).finish(&mut self.timers.completed);
            return Ok(());
        };
        let Some(Connection { role: Role::Out { voice, message: Some(message), .. }, .. }) =
            self.connections.get_mut(key)
        else {
            unreachable!("a peer that is ready is connected and has its message");
        };
        let Ok(margins) = voice.speak(&packets, front, pool) else {
            Sending::new(packets, unsent, pool).finish(&mut self.timers.completed);
            return self.lose(key);
        };
        message.sending = Some(Sending::new(packets, margins, pool));
        self.peers.moved(peer, key, true, self.now);
        self.go_on(key, pool)
    }

    pub(super) fn sent(&mut self, event: Event, pool: &Pool) -> io::Result<()> {
        let key = event.key;
        let Some((peer, closing)) = self.take_back(key, event.message) else { return Ok(()) };
        let again = [libc::EINTR, libc::EAGAIN];
        // Of a send without a copy, that it cannot be had: for want of memory that may be locked.
        let plainly = [libc::ENOMEM, libc::ENOBUFS, libc::EOPNOTSUPP];
        let passing = |e: &io::Error| {
            let code = e.raw_os_error();
            let lent = event.op == Op::Lend;
            code.is_some_and(|code| again.contains(&code) || lent && plainly.contains(&code))
        };
        let taken = match &event.result {
            Ok(count) => Some(*count),
            Err(error) if passing(error) => Some(0),
            Err(_) => None,
        };
        let message = self.message(key).expect("the message has just come back");
        let sending = message.sending.as_mut().expect("a send that ends has packets");
        let done = taken.is_some_and(|count| sending.advance(count));
        if taken.is_some() && !done && !closing {
            if taken != Some(0) {
                self.peers.moved(peer, key, true, self.now);
            }
            return self.go_on(key, pool);
        }
        if let Some(sending) = message.sending.take() {
            self.end_sending(key, sending);
        }
        if closing {
            self.reap(key);
        } else if done {
            self.peers.moved(peer, key, false, self.now);
        } else {
            return self.lose(key);
        }
        Ok(())
    }

    /// Closes a connection before its time.
    pub(super) fn give_up(&mut self, key: Key) -> io::Result<()> {
        if let Some(Connection { role: Role::Out { voice, .. }, .. }) = self.connections.get(key) {
            self.voices.lost(voice);
        }
        self.call_back(key);
        self.close(key)
    }

    /// Closes a connection out that has failed.
    pub(super) fn lose(&mut self, key: Key) -> io::Result<()> {
        if let Some(Connection { role: Role::Out { peer, .. }, .. }) = self.connections.get_mut(key)
        {
            let peer = *peer;
            self.peers.lost(peer, key, self.now);
        }
        self.give_up(key)
    }

    /// Lends the message to the kernel, aimed at what is still to be sent.
    fn go_on(&mut self, key: Key, pool: &Pool) -> io::Result<()> {
        let flight = self.takes_off(key);
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let Role::Out { message, .. } = &mut connection.role else { return Ok(()) };
        let Some(mut message) = message.take() else { return Ok(()) };
        message.aim(pool);
        connection.lent = Some(if flight.is_some() { Op::Lend } else { Op::Send });
        let to = connection.fd.as_fd();
        match flight {
            Some(flight) => self.ring.lend_packets(key, flight, to, message),
            None => self.ring.send(key, to, message),
        }
    }

    /// Puts a message back where it belongs after the kernel has used it. Says whose connection
    /// that is, and whether it is being closed.
    fn take_back(&mut self, key: Key, returned: Option<Box<Message>>) -> Option<(PeerId, bool)> {
        let connection = self.connections.get_mut(key)?;
        connection.lent = None;
        let Role::Out { peer, message, .. } = &mut connection.role else { return None };
        *message = returned;
        Some((*peer, connection.closing))
    }

    fn message(&mut self, key: Key) -> Option<&mut Box<Message>> {
        match &mut self.connections.get_mut(key)?.role {
            Role::Out { message, .. } => message.as_mut(),
            Role::In { .. } => None,
        }
    }
}
