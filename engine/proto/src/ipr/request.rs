//! What clients ask.

use time::OffsetDateTime;

use super::codec::{Reader, Writer};
use super::{IprError, Version};

/// The router's number among the kinds of providers.
const ROUTER: u8 = 1;

const DATA: u64 = 0;
const CONTROL: u64 = 1;

const CONNECT: u64 = 0;
const DISCONNECT: u64 = 1;
const PING: u64 = 2;
const HEALTH: u64 = 3;

/// A message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// In which version. The answer has to be in the same.
    pub version: Version,
    /// What it is about.
    pub body: RequestBody<'a>,
}

/// What a message from a client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody<'a> {
    /// IP packets to send: a bundle, see [`packets`](super::packets).
    Data(&'a [u8]),
    /// Something that is answered.
    Control(Control),
}

/// Something that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// The client's number for it, which the answer repeats.
    pub id: u64,
    /// When it was sent by the client's clock. Nothing depends on it.
    pub sent: OffsetDateTime,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Addresses, to send and receive packets with.
    Connect {
        /// How long packets for the client may wait for others to share a message with.
        buffer_timeout_ms: Option<u64>,
    },
    /// To give the addresses back.
    Disconnect,
    /// Whether the router is there.
    Ping,
    /// Which router it is, and whether it reaches the internet.
    Health,
}

impl<'a> Request<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is none, of a version that is not spoken here, or for another provider.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IprError> {
        let mut reader = Reader(bytes);
        let version = Version::of(reader.byte()?)?;
        let provider = reader.number()?;
        if provider != u64::from(ROUTER) {
            return Err(IprError::Provider(provider.try_into().unwrap_or(u8::MAX)));
        }
        let body = match reader.number()? {
            DATA => RequestBody::Data(reader.bytes()?),
            CONTROL => RequestBody::Control(Control::read(&mut reader)?),
            other => return Err(IprError::Kind(other)),
        };
        reader.end()?;
        Ok(Self { version, body })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(self.version as u8);
        writer.byte(ROUTER);
        match &self.body {
            RequestBody::Data(bundle) => {
                writer.number(DATA);
                writer.bytes(bundle);
            }
            RequestBody::Control(control) => {
                writer.number(CONTROL);
                control.write(&mut writer);
            }
        }
        writer.0
    }
}

impl Control {
    fn read(reader: &mut Reader<'_>) -> Result<Self, IprError> {
        let kind = reader.number()?;
        let id = reader.number()?;
        let ask = match kind {
            CONNECT => {
                let given = reader.some()?;
                Ask::Connect { buffer_timeout_ms: given.then(|| reader.number()).transpose()? }
            }
            DISCONNECT => Ask::Disconnect,
            PING => Ask::Ping,
            HEALTH => Ask::Health,
            other => return Err(IprError::Kind(other)),
        };
        Ok(Self { id, sent: reader.time()?, ask })
    }

    fn write(&self, writer: &mut Writer) {
        writer.number(match self.ask {
            Ask::Connect { .. } => CONNECT,
            Ask::Disconnect => DISCONNECT,
            Ask::Ping => PING,
            Ask::Health => HEALTH,
        });
        writer.number(self.id);
        if let Ask::Connect { buffer_timeout_ms } = self.ask {
            writer.truth(buffer_timeout_ms.is_some());
            buffer_timeout_ms.into_iter().for_each(|millis| writer.number(millis));
        }
        writer.time(self.sent);
    }
}
