//! Who is spoken to in which way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::handshake::{Greeting, GreetingError, Message, NoiseKey};
use super::record::{Pattern, VERSION};

/// The Noise keys of other nodes, by the address that they connect from and listen on. The port
/// does not count, as in the stock software, so that all nodes at one address have one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoisePeers(HashMap<IpAddr, [u8; 32]>);

impl NoisePeers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of the node at `address`.
    pub fn key(&self, address: IpAddr) -> Option<&[u8; 32]> {
        self.0.get(&address.to_canonical())
    }
}

impl FromIterator<(IpAddr, [u8; 32])> for NoisePeers {
    fn from_iter<I: IntoIterator<Item = (IpAddr, [u8; 32])>>(peers: I) -> Self {
        Self(peers.into_iter().map(|(address, key)| (address.to_canonical(), key)).collect())
    }
}

/// What becomes of connections with those whose Noise key is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// They carry frames as they are.
    #[default]
    Allowed,
    /// They are not made, and closed at once where others make them.
    Refused,
}

/// How a node speaks with others. The default is plainly, with everybody.
#[derive(Clone, Debug, Default)]
pub struct Noise {
    /// The node's own key; without one nobody is spoken to in Noise.
    pub key: Option<Arc<NoiseKey>>,
    /// The protocol that it speaks, and accepts.
    pub pattern: Pattern,
    /// The others' keys.
    pub peers: Arc<NoisePeers>,
    /// What becomes of the rest.
    pub plain: Plain,
}

/// How a connection begins.
#[derive(Debug)]
pub(crate) enum Begin<T> {
    /// With frames.
    Plain,
    /// With a handshake.
    Noise(T),
    /// Not at all.
    Refused,
}

/// How a connection in is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It must begin with a handshake.
    Greeting(Box<Greeting>),
    /// Its first byte tells.
    Either(Box<Either>),
}

/// A connection in that may begin in either way. Nodes learn of each other at different times: one
/// that does not know this node yet sends frames, and one that this node does not know yet greets.
#[derive(Debug)]
pub(crate) struct Either {
    own: Arc<NoiseKey>,
    pattern: Pattern,
    /// The key of the node at the other end, if it is known.
    initiator: Option<[u8; 32]>,
}

impl Either {
    /// The answer to a connection whose first byte is `first`; nothing if it carries frames. These
    /// begin with their version, 7 or 8, and handshakes with that of records, which is 1.
    pub(crate) fn told_by(&self, first: u8) -> Option<Box<Greeting>> {
        let greets = first == VERSION;
        greets.then(|| Box::new(Greeting::respond(&self.own, self.pattern, self.initiator)))
    }
}

impl Noise {
    /// Whether connections to and from `address` carry anything.
    pub(crate) fn speaks_with(&self, address: IpAddr) -> bool {
        self.plain == Plain::Allowed || (self.key.is_some() && self.peers.key(address).is_some())
    }

    /// How a connection from `address` begins.
    pub(crate) fn accepted(&self, address: IpAddr) -> Begin<Answer> {
        match (&self.key, self.peers.key(address), self.plain) {
            (Some(own), key, Plain::Allowed) => {
                let (own, initiator) = (Arc::clone(own), key.copied());
                let either = Either { own, pattern: self.pattern, initiator };
                Begin::Noise(Answer::Either(Box::new(either)))
            }
            (Some(own), Some(key), Plain::Refused) => {
                let greeting = Greeting::respond(own, self.pattern, Some(*key));
                Begin::Noise(Answer::Greeting(Box::new(greeting)))
            }
            _ => self.otherwise(),
        }
    }

    /// How a connection to `address` begins.
    ///
    /// # Errors
    /// If the key of the node there is one that no handshake is possible with.
    pub(crate) fn connected(
        &self,
        address: IpAddr,
    ) -> Result<Begin<(Box<Greeting>, Message)>, GreetingError> {
        match (&self.key, self.peers.key(address)) {
            (Some(own), Some(key)) => {
                let (greeting, message) = Greeting::initiate(own, self.pattern, key)?;
                Ok(Begin::Noise((Box::new(greeting), message)))
            }
            _ => Ok(self.otherwise()),
        }
    }

    const fn otherwise<T>(&self) -> Begin<T> {
        match self.plain {
            Plain::Allowed => Begin::Plain,
            Plain::Refused => Begin::Refused,
        }
    }
}
