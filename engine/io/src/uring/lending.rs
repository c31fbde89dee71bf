//! Sends without a copy (SEND_ZC): the kernel reads the packets where they lie, until the other
//! side has acknowledged them, and says by a second event when it is done with them.
//!
//! Where the kernel has to copy after all, as over loopback, this costs more than a plain send, and
//! it tells so with the second event. So a connection begins with one trial, and goes on as the
//! kernel said.
//!
//! Invariant: the slots of a send come back when the last of its second events has been seen, also
//! when the connection is gone.

use std::io;

use phix_engine::pool::Pool;

use super::ring::Event;
use super::{Role, UringLink};
use crate::plan::ZeroCopy;
use crate::sending::Sending;
use crate::slab::Key;
use crate::sockets::reset_on_close;

/// Sends of one link that can wait for their second event; those beyond are plain.
pub(super) const FLIGHTS: usize = 4096;
/// Bytes from which a send without a copy is worth its second event.
const WORTH: usize = 3 * 1024;

/// What is known of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trial {
    /// Nothing.
    #[default]
    Open,
    /// A send is under way that will tell.
    UnderWay,
    /// The kernel does not copy.
    Pays,
    /// The kernel copies, or has no means for it.
    Copies,
}

/// What one connection has to do with sends without a copy.
#[derive(Debug, Default)]
pub(super) struct Lending {
    trial: Trial,
    /// The flight of the present send, if any of it went without a copy.
    flight: Option<Key>,
    /// Second events that are to come.
    awaited: usize,
}

impl Lending {
    pub(super) const fn flight(&self) -> Option<Key> {
        self.flight
    }

    /// The kernel has refused: what is sent on this connection is sent plainly.
    pub(super) const fn refused(&mut self) {
        self.trial = Trial::Copies;
    }
}

/// A send whose packets the kernel may still read.
#[derive(Debug)]
pub(super) struct Flight {
    connection: Key,
    awaited: usize,
    /// Once nothing more of it is to be sent.
    sending: Option<Sending>,
}

impl UringLink {
    /// The flight for what is to be sent next on a connection, if that goes without a copy.
    pub(super) fn takes_off(&mut self, key: Key) -> Option<Key> {
        let Role::Out { message, lending, .. } = &mut self.connections.get_mut(key)?.role else {
            return None;
        };
        let left = message.as_ref()?.sending.as_ref().map_or(0, Sending::left);
        let wanted = match (self.zero_copy, lending.trial) {
            (ZeroCopy::Off, _) | (_, Trial::Copies) | (ZeroCopy::Auto, Trial::UnderWay) => false,
            (ZeroCopy::Auto, Trial::Open | Trial::Pays) | (ZeroCopy::On, _) => left >= WORTH,
        };
        if !wanted {
            return None;
        }
        if lending.flight.is_none() {
            let flight = Flight { connection: key, awaited: 0, sending: None };
            lending.flight = self.flights.insert(flight).ok();
        }
        if lending.trial == Trial::Open && lending.flight.is_some() {
            lending.trial = Trial::UnderWay;
        }
        lending.flight
    }

    /// An event of a send without a copy.
    pub(super) fn lent(&mut self, event: Event, pool: &Pool) -> io::Result<()> {
        if event.second {
            self.landed(event.key, event.copied);
            return Ok(());
        }
        let flight = self.flights.get_mut(event.key).expect("a flight lasts until its last event");
        let key = flight.connection;
        flight.awaited += usize::from(event.more);
        self.lent_sends += u64::from(event.more);
        let message = self.ring.returned(key);
        if let Some(connection) = self.connections.get_mut(key)
            && let Role::Out { lending, .. } = &mut connection.role
        {
            lending.awaited += usize::from(event.more);
            if event.result.is_err() && !event.more {
                lending.refused();
            }
        }
        self.sent(Event { key, message, ..event }, pool)
    }

    /// The kernel is done with what one operation sent.
    fn landed(&mut self, key: Key, copied: bool) {
        self.copied_sends += u64::from(copied);
        let flight = self.flights.get_mut(key).expect("a flight lasts until its last event");
        flight.awaited -= 1;
        if let Some(connection) = self.connections.get_mut(flight.connection)
            && let Role::Out { lending, .. } = &mut connection.role
        {
            lending.awaited -= 1;
            if lending.trial == Trial::UnderWay && self.zero_copy == ZeroCopy::Auto {
                lending.trial = if copied { Trial::Copies } else { Trial::Pays };
            }
        }
        if flight.awaited == 0
            && let Some(sending) = flight.sending.take()
        {
            self.flights.remove(key);
            sending.finish(&mut self.timers.completed);
        }
    }

    /// Ends a send. Its packets come back now, or when the kernel is done with them.
    pub(super) fn end_sending(&mut self, connection: Key, sending: Sending) {
        let flight = match self.connections.get_mut(connection).map(|one| &mut one.role) {
            Some(Role::Out { lending, .. }) => lending.flight.take(),
            _ => None,
        };
        let Some(key) = flight else { return sending.finish(&mut self.timers.completed) };
        let flight = self.flights.get_mut(key).expect("a flight lasts until its last event");
        if flight.awaited > 0 {
            flight.sending = Some(sending);
            return;
        }
        self.flights.remove(key);
        sending.finish(&mut self.timers.completed);
    }

    /// A connection that ends before its time takes nothing along: what the other side has not
    /// acknowledged is thrown away, and its packets come back at once.
    pub(super) fn call_back(&mut self, key: Key) {
        if let Some(connection) = self.connections.get(key)
            && let Role::Out { lending, .. } = &connection.role
            && lending.awaited > 0
        {
            reset_on_close(&connection.fd);
        }
    }

    /// As [`UringLink::call_back`], for all connections.
    pub(super) fn call_all_back(&mut self) {
        self.connections.keys().into_iter().for_each(|key| self.call_back(key));
    }
}
