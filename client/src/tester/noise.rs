//! How the tester speaks Noise with the node under test: as the initiator towards it, and as the
//! responder for what comes back.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use phix_io::noise::{
    Greeting, GreetingError, HEADER_LEN, Heard, Message, NoiseKey, Pattern, Session, TAG_LEN,
};

/// Bytes that a record takes beyond the frame in it.
pub const ENVELOPE: usize = HEADER_LEN + TAG_LEN;

/// Bytes of a handshake that one read takes at most; messages are shorter.
const READ: usize = 256;

/// The keys of both ends.
#[derive(Clone, Debug)]
pub struct Speech {
    /// The tester's own key.
    pub key: Arc<NoiseKey>,
    /// The public key of the node, which it proves in both directions.
    pub node: [u8; 32],
    /// The protocol that both speak.
    pub pattern: Pattern,
}

impl Speech {
    /// The other end of a connection that the node makes.
    pub(super) fn answer(&self) -> Box<Greeting> {
        Box::new(Greeting::respond(&self.key, self.pattern, Some(self.node)))
    }
}

/// Why a handshake with the node came to nothing.
#[derive(Debug)]
pub enum NoiseFault {
    /// The node's key is one that nobody has.
    Key,
    /// It closed the connection, or the connection broke.
    Closed(Option<io::Error>),
    /// What it answered is not what the owner of the key would say.
    Answer,
    /// It did not answer in time.
    Silent,
}

impl fmt::Display for NoiseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("its Noise key is none that a handshake is possible with"),
            Self::Closed(None) => f.write_str("it closed the connection"),
            Self::Closed(Some(error)) => {
                write!(f, "the connection broke ({})", crate::files::words(error))
            }
            Self::Answer => f.write_str("it answered as the owner of another key would"),
            Self::Silent => f.write_str("it did not answer"),
        }
    }
}

impl From<GreetingError> for NoiseFault {
    fn from(error: GreetingError) -> Self {
        match error {
            GreetingError::Record | GreetingError::Message | GreetingError::Stranger => {
                Self::Answer
            }
        }
    }
}

/// The initiator's side of a handshake on a connection that does not block.
#[derive(Debug)]
pub(super) struct Call(Box<Greeting>);

impl Call {
    /// Begins a handshake on `stream`.
    pub(super) fn begin(speech: &Speech, mut stream: &TcpStream) -> Result<Self, NoiseFault> {
        let begun = Greeting::initiate(&speech.key, speech.pattern, &speech.node);
        let (greeting, message) = begun.map_err(|_| NoiseFault::Key)?;
        send(&mut stream, &message)?;
        Ok(Self(Box::new(greeting)))
    }

    /// Takes what has come; the session, if that was all.
    pub(super) fn go_on(
        &mut self,
        mut stream: &TcpStream,
    ) -> Result<Option<Box<Session>>, NoiseFault> {
        let mut buffer = [0; READ];
        loop {
            let len = match stream.read(&mut buffer) {
                Ok(0) => return Err(NoiseFault::Closed(None)),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(NoiseFault::Closed(Some(error))),
            };
            match self.0.hear(&mut &buffer[..len])? {
                Heard::Part => {}
                Heard::Reply(message) => send(&mut stream, &message)?,
                Heard::Done(message, session) => {
                    message.map_or(Ok(()), |message| send(&mut stream, &message))?;
                    return Ok(Some(session));
                }
            }
        }
    }
}

/// A connection that has sent next to nothing takes a message at once.
fn send(stream: &mut &TcpStream, message: &Message) -> Result<(), NoiseFault> {
    stream.write_all(message).map_err(|error| NoiseFault::Closed(Some(error)))
}
