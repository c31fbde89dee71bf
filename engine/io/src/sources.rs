//! Where connections in come from, and how many each source may have.
//!
//! One register serves all shards of a server, for the system spreads the connections of one peer
//! over them. It is locked once when a connection comes and once when it goes, never for a packet.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phix_engine::counters::Counters;
use socket2::SockRef;

/// Bits of an IPv6 address that a host chooses as it likes.
const HOST_BITS: u32 = 64;

/// Who counts as one: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl Source {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> HOST_BITS << HOST_BITS).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// How many connections each source has. Sources without any are not in it.
#[derive(Debug)]
struct Register {
    limit: usize,
    /// Packets that each source may bring per second, if there is a limit.
    rate: Option<u32>,
    /// Written with the lock held, and read by the connections of the source without it.
    held: Mutex<HashMap<Source, Arc<AtomicUsize>>>,
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, HashMap<Source, Arc<AtomicUsize>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources of all connections in of one server. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Sources(Arc<Register>);

/// A place among the connections of a source, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    register: Arc<Register>,
    address: IpAddr,
    /// Connections of the source, this one included.
    fellows: Arc<AtomicUsize>,
}

impl Sources {
    /// Lets each source have `limit` connections at a time, and bring `rate` packets a second where
    /// there is a limit to that.
    pub(crate) fn new(limit: usize, rate: Option<u32>) -> Self {
        Self(Arc::new(Register { limit, rate, held: Mutex::default() }))
    }

    /// Packets that each source may bring per second, if there is a limit.
    pub(crate) fn rate(&self) -> Option<u32> {
        self.0.rate
    }

    /// A place for `connection`, if its source has not as many as it may. Counts it if not.
    pub(crate) fn admit(&self, connection: &impl AsFd, counters: &mut Counters) -> Option<Pass> {
        let peer = SockRef::from(connection).peer_addr();
        let Some(peer) = peer.ok().and_then(|peer| peer.as_socket()) else {
            // It was reset before its turn came, and there is nothing to be read from it.
            counters.accepted += 1;
            return None;
        };
        let pass = self.place(peer.ip());
        counters.refused_source += u64::from(pass.is_none());
        pass
    }

    fn place(&self, address: IpAddr) -> Option<Pass> {
        let Self(register) = self;
        let source = Source::of(address);
        let mut held = register.lock();
        let fellows = held.get(&source).cloned().unwrap_or_default();
        let count = fellows.load(Ordering::Relaxed);
        if count >= register.limit {
            return None;
        }
        fellows.store(count + 1, Ordering::Relaxed);
        held.insert(source, Arc::clone(&fellows));
        Some(Pass { register: Arc::clone(register), address, fellows })
    }
}

impl Pass {
    /// The address of the other side.
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// Packets that the source may bring per second, if there is a limit.
    pub(crate) fn rate(&self) -> Option<u32> {
        self.register.rate
    }

    /// Connections that share the source's rate.
    pub(crate) fn fellows(&self) -> usize {
        self.fellows.load(Ordering::Relaxed)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let source = Source::of(self.address);
        let mut held = self.register.lock();
        let left = self.fellows.load(Ordering::Relaxed) - 1;
        self.fellows.store(left, Ordering::Relaxed);
        if left == 0 {
            held.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_its_share_and_gets_it_back() {
        let sources = Sources::new(2, None);
        let shard = sources.clone();
        let one = sources.place(ip("192.0.2.1")).unwrap();
        let two = shard.place(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!((one.fellows(), two.fellows()), (2, 2));
        assert!(sources.place(ip("192.0.2.1")).is_none());
        assert!(sources.place(ip("192.0.2.2")).is_some(), "its neighbour");
        drop(one);
        assert_eq!(two.fellows(), 1);
        let again = sources.place(ip("192.0.2.1"));
        assert!(again.is_some() && shard.place(ip("192.0.2.1")).is_none());
    }

    #[test]
    fn a_network_of_64_bits_is_one_source_and_nobody_is_remembered() {
        let sources = Sources::new(1, None);
        let pass = sources.place(ip("2001:db8::1")).unwrap();
        assert!(sources.place(ip("2001:db8::ffff:2")).is_none());
        assert!(sources.place(ip("2001:db8:0:1::1")).is_some());
        drop(pass);
        assert!(sources.0.lock().is_empty());
    }

    #[test]
    fn a_connection_says_where_it_comes_from() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let mut counters = Counters::default();
        let pass = Sources::new(1, None).admit(&connection, &mut counters).unwrap();
        assert_eq!(pass.address(), ip("127.0.0.1"));
        assert!(Sources::new(0, None).admit(&connection, &mut counters).is_none());
        assert_eq!((counters.accepted, counters.refused_source), (0, 1));
        assert!(Sources::new(1, None).admit(&listener, &mut counters).is_none(), "no other side");
        assert_eq!((counters.accepted, counters.refused_source), (1, 1));
    }
}
