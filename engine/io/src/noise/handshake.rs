//! Handshakes: two ends prove their static keys to each other and agree on the keys of records.

use std::fmt;

use arrayvec::ArrayVec;
use phix_engine::secret::NodeSecret;
use sha2::{Digest, Sha256};
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState};
use zeroize::{Zeroize, Zeroizing};

use super::cipher::{Opener, Sealer};
use super::record::{HEADER_LEN, Kind, Pattern, RecordHeader};

/// Bytes of the longest handshake message that is taken. Messages of either pattern have 48 to 96;
/// what is beyond that would be a payload, which handshakes have none of.
const MESSAGE_MAX: usize = 128;

/// What the pre-shared key is made of, before the responder's public key.
const PSK_PREFIX: &[u8] = b"NYMTECH_NOISE_dQw4w9WgXcQ";

/// A node's static X25519 key for Noise.
#[derive(Clone, Debug)]
pub struct NoiseKey {
    secret: NodeSecret,
    public: [u8; 32],
}

impl NoiseKey {
    /// The key whose private part is `secret`.
    pub fn new(secret: NodeSecret) -> Self {
        let public = secret.public();
        Self { secret, public }
    }

    /// What the network knows of it.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

/// The pre-shared key of all connections to one responder. It is no secret: the public key is in
/// the directory.
fn psk(responder: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(PSK_PREFIX).chain_update(responder).finalize().into()
}

/// A handshake message as a record, to be sent.
pub type Message = ArrayVec<u8, { HEADER_LEN + MESSAGE_MAX }>;

/// Why a handshake came to nothing. The connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreetingError {
    /// What came is not a record of a handshake of this version and pattern.
    Record,
    /// The message is not one that the other end of this handshake would send: a wrong key or
    /// pre-shared key, or something else altogether.
    Message,
    /// The initiator proved a key, and it is not that of the node at its address.
    Stranger,
}

/// What both ends have after a handshake.
#[derive(Debug)]
pub struct Session {
    /// For what this end sends.
    pub sealer: Sealer,
    /// For what it receives.
    pub opener: Opener,
}

/// What came of some bytes of a handshake.
#[derive(Debug)]
pub enum Heard {
    /// More must come.
    Part,
    /// This must be sent, and then more must come.
    Reply(Message),
    /// It is done, once this was sent.
    Done(Option<Message>, Box<Session>),
}

/// One end of a handshake under way.
pub struct Greeting {
    state: HandshakeState,
    pattern: Pattern,
    initiator: bool,
    /// Whom it must be with, if that matters. An initiator knows from the start; its library sees
    /// to it.
    expected: Option<[u8; 32]>,
    /// What has come of the present record.
    record: Message,
}

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greeting").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl Greeting {
    /// Begins a handshake with the responder whose key is given; the message is to be sent.
    ///
    /// # Errors
    /// If the key is one that no handshake is possible with.
    pub fn initiate(
        key: &NoiseKey,
        pattern: Pattern,
        responder: &[u8; 32],
    ) -> Result<(Self, Message), GreetingError> {
        let psk = psk(responder);
        let builder = builder(key, pattern, &psk);
        let state = builder.remote_public_key(responder).and_then(Builder::build_initiator);
        let state = state.expect("builder of a known pattern with all of its keys");
        let mut greeting =
            Self { state, pattern, initiator: true, expected: None, record: Message::new() };
        let message = greeting.write()?;
        Ok((greeting, message))
    }

    /// Awaits a handshake from the node whose key is `initiator`, or from anyone.
    pub fn respond(key: &NoiseKey, pattern: Pattern, initiator: Option<[u8; 32]>) -> Self {
        let psk = psk(key.public());
        let state = builder(key, pattern, &psk).build_responder();
        let state = state.expect("builder of a known pattern with all of its keys");
        Self { state, pattern, initiator: false, expected: initiator, record: Message::new() }
    }

    /// Takes bytes of the stream, as many as belong to the present message; `bytes` is what is
    /// left.
    ///
    /// # Errors
    /// If the handshake cannot go on.
    pub fn hear(&mut self, bytes: &mut &[u8]) -> Result<Heard, GreetingError> {
        if !self.gather(bytes, HEADER_LEN) {
            return Ok(Heard::Part);
        }
        let head = self.record.first_chunk().expect("gathered above");
        let header = RecordHeader::parse(head).ok_or(GreetingError::Record)?;
        let len = usize::from(header.len);
        let right = header.kind == Kind::Handshake && header.pattern == self.pattern;
        if !right || len > MESSAGE_MAX {
            return Err(GreetingError::Record);
        }
        if !self.gather(bytes, HEADER_LEN + len) {
            return Ok(Heard::Part);
        }
        let mut payload = [0; MESSAGE_MAX];
        let read = self.state.read_message(&self.record[HEADER_LEN..], &mut payload);
        read.map_err(|_| GreetingError::Message)?;
        self.record.clear();
        self.go_on()
    }

    /// After a message was read.
    fn go_on(&mut self) -> Result<Heard, GreetingError> {
        let reply = if self.state.is_handshake_finished() { None } else { Some(self.write()?) };
        if !self.state.is_handshake_finished() {
            return Ok(reply.map_or(Heard::Part, Heard::Reply));
        }
        let remote = self.state.get_remote_static();
        if self.expected.is_some_and(|expected| remote != Some(&expected[..])) {
            return Err(GreetingError::Stranger);
        }
        Ok(Heard::Done(reply, Box::new(self.session())))
    }

    fn write(&mut self) -> Result<Message, GreetingError> {
        let mut body = [0; MESSAGE_MAX];
        let len = self.state.write_message(&[], &mut body).map_err(|_| GreetingError::Message)?;
        let header = RecordHeader { pattern: self.pattern, kind: Kind::Handshake, len: len as u16 };
        Ok(header.bytes().into_iter().chain(body[..len].iter().copied()).collect())
    }

    /// Moves bytes over until the record has `len`. False if that takes more than there are.
    fn gather(&mut self, bytes: &mut &[u8], len: usize) -> bool {
        let missing = len.saturating_sub(self.record.len());
        let (now, rest) = bytes.split_at(missing.min(bytes.len()));
        self.record.extend(now.iter().copied());
        *bytes = rest;
        self.record.len() >= len
    }

    fn session(&mut self) -> Session {
        let mut split = self.state.dangerously_get_raw_split();
        let keys = Zeroizing::new([split.0, split.1]);
        split.0.zeroize();
        split.1.zeroize();
        let [theirs, ours] = if self.initiator { [1, 0] } else { [0, 1] };
        Session {
            sealer: Sealer::new(self.pattern, &keys[ours]),
            opener: Opener::new(self.pattern, &keys[theirs]),
        }
    }
}

fn builder<'a>(key: &'a NoiseKey, pattern: Pattern, psk: &'a [u8; 32]) -> Builder<'a> {
    let params: NoiseParams = pattern.protocol().parse().expect("a protocol that snow knows");
    Builder::new(params)
        .local_private_key(key.secret.as_bytes())
        .and_then(|builder| builder.psk(pattern.psk_position(), psk))
        .expect("each key is given once")
}
