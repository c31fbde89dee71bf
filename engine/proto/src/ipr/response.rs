//! What the router answers, and what it says by itself.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::codec::{Reader, Writer};
use super::{IprError, Version};

/// Bytes of the largest IP packet for clients of versions that do not ask: what stock routers took
/// before they said it.
pub const MTU_FALLBACK: u16 = 1420;

const DATA: u64 = 0;
const CONTROL: u64 = 1;

const CONNECT: u64 = 0;
const DISCONNECT: u64 = 1;
const CUT_OFF: u64 = 2;
const PONG: u64 = 3;
const HEALTH: u64 = 4;
const INFO: u64 = 5;

const SUCCESS: u64 = 0;
const FAILURE: u64 = 1;

/// A message to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// In which version.
    pub version: Version,
    /// What it says.
    pub body: ResponseBody<'a>,
}

/// What a message to a client says. Numbers are those of the requests that are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody<'a> {
    /// IP packets for the client: a bundle, see [`packets`](super::packets).
    Data(&'a [u8]),
    /// The client has addresses, or none.
    Connect(u64, Result<Assigned, ConnectRefusal>),
    /// The client's addresses are free again, or it had none.
    Disconnect(u64, Result<(), DisconnectRefusal>),
    /// The client's addresses were taken from it.
    CutOff(Disconnection),
    /// The router is there.
    Pong(u64),
    /// Which router it is, and whether it has tried to reach the internet, with which result.
    Health(u64, Box<Build>, Option<bool>),
    /// Something that the client should know.
    Info(u64, Info, Level),
}

/// The addresses of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Of IPv4.
    pub v4: Ipv4Addr,
    /// Of IPv6.
    pub v6: Ipv6Addr,
    /// Bytes of the largest packet that the router takes. Only version 10 says it; in others it is
    /// read as [`MTU_FALLBACK`].
    pub mtu: u16,
}

/// Why a client gets no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectRefusal {
    /// It has some.
    AlreadyConnected,
    /// None is left.
    NoAddressLeft,
    /// Another reason.
    Other(String),
}

/// Why a client cannot give its addresses back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectRefusal {
    /// It has none.
    NotConnected,
    /// Another reason.
    Other(String),
}

/// Why the addresses of a client were taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnection {
    /// It sent nothing for too long.
    SilentClient,
    /// Nothing came for it for too long.
    SilentNetwork,
    /// Another reason.
    Other(String),
}

/// Which program a router is. All of it is text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// Its name.
    pub binary: String,
    /// When it was built.
    pub built: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
    /// When that was made.
    pub committed: String,
    /// The commit's branch.
    pub branch: String,
    /// The compiler's version.
    pub rustc: String,
    /// The compiler's channel.
    pub channel: String,
    /// Whether it was built for use or for debugging.
    pub profile: String,
    /// The machines that it is for.
    pub target: String,
}

/// Something that a client should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// A sentence.
    Text(String),
    /// The router does not speak the version of the request; that one, and its own.
    Versions(u8, u8),
    /// The exit policy refuses the destination.
    Refused(String),
}

/// How important it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something is odd.
    Warn,
    /// Something did not work.
    Error,
}

impl<'a> Response<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is none, or of a version that is not spoken here.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IprError> {
        let mut reader = Reader(bytes);
        let version = Version::of(reader.byte()?)?;
        let body = match reader.number()? {
            DATA => ResponseBody::Data(reader.bytes()?),
            CONTROL => control(&mut reader, version)?,
            other => return Err(IprError::Kind(other)),
        };
        reader.end()?;
        Ok(Self { version, body })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(self.version as u8);
        if let ResponseBody::Data(bundle) = &self.body {
            writer.number(DATA);
            writer.bytes(bundle);
            return writer.0;
        }
        writer.number(CONTROL);
        self.write(&mut writer);
        writer.0
    }

    fn write(&self, writer: &mut Writer) {
        let mut begin = |kind, id: Option<u64>| {
            writer.number(kind);
            id.into_iter().for_each(|id| writer.number(id));
        };
        match &self.body {
            ResponseBody::Data(_) => {}
            ResponseBody::Connect(id, reply) => {
                begin(CONNECT, Some(*id));
                match reply {
                    Ok(assigned) => self.write_addresses(assigned, writer),
                    Err(ConnectRefusal::AlreadyConnected) => failed(writer, 0, None),
                    Err(ConnectRefusal::NoAddressLeft) => failed(writer, 1, None),
                    Err(ConnectRefusal::Other(why)) => failed(writer, 2, Some(why)),
                }
            }
            ResponseBody::Disconnect(id, reply) => {
                begin(DISCONNECT, Some(*id));
                match reply {
                    Ok(()) => writer.number(SUCCESS),
                    Err(DisconnectRefusal::NotConnected) => failed(writer, 0, None),
                    Err(DisconnectRefusal::Other(why)) => failed(writer, 1, Some(why)),
                }
            }
            ResponseBody::CutOff(why) => {
                begin(CUT_OFF, None);
                match why {
                    Disconnection::SilentClient => reason(writer, 0, None),
                    Disconnection::SilentNetwork => reason(writer, 1, None),
                    Disconnection::Other(why) => reason(writer, 2, Some(why)),
                }
            }
            ResponseBody::Pong(id) => begin(PONG, Some(*id)),
            ResponseBody::Health(id, build, routable) => {
                begin(HEALTH, Some(*id));
                build.texts().into_iter().for_each(|text| writer.text(text));
                writer.truth(routable.is_some());
                routable.iter().for_each(|routable| writer.truth(*routable));
            }
            ResponseBody::Info(id, info, level) => {
                begin(INFO, Some(*id));
                match info {
                    Info::Text(text) => reason(writer, 0, Some(text)),
                    Info::Versions(asked, spoken) => {
                        reason(writer, 1, None);
                        writer.array(&[*asked, *spoken]);
                    }
                    Info::Refused(target) => reason(writer, 2, Some(target)),
                }
                writer.number(*level as u64);
            }
        }
    }

    fn write_addresses(&self, assigned: &Assigned, writer: &mut Writer) {
        writer.number(SUCCESS);
        writer.array(&assigned.v4.octets());
        writer.array(&assigned.v6.octets());
        if self.version >= Version::V10 {
            writer.number(assigned.mtu.into());
        }
    }
}

fn failed(writer: &mut Writer, kind: u64, why: Option<&str>) {
    writer.number(FAILURE);
    reason(writer, kind, why);
}

fn reason(writer: &mut Writer, kind: u64, why: Option<&str>) {
    writer.number(kind);
    why.into_iter().for_each(|why| writer.text(why));
}

fn control<'a>(reader: &mut Reader<'_>, version: Version) -> Result<ResponseBody<'a>, IprError> {
    let kind = reader.number()?;
    if kind == CUT_OFF {
        return Ok(ResponseBody::CutOff(match reader.number()? {
            0 => Disconnection::SilentClient,
            1 => Disconnection::SilentNetwork,
            2 => Disconnection::Other(reader.text()?),
            other => return Err(IprError::Kind(other)),
        }));
    }
    let id = reader.number()?;
    Ok(match kind {
        CONNECT => ResponseBody::Connect(id, connect(reader, version)?),
        DISCONNECT => ResponseBody::Disconnect(id, disconnect(reader)?),
        PONG => ResponseBody::Pong(id),
        HEALTH => {
            let build = Box::new(Build::read(reader)?);
            let tried = reader.some()?;
            ResponseBody::Health(id, build, tried.then(|| reader.truth()).transpose()?)
        }
        INFO => {
            let info = match reader.number()? {
                0 => Info::Text(reader.text()?),
                1 => Info::Versions(reader.byte()?, reader.byte()?),
                2 => Info::Refused(reader.text()?),
                other => return Err(IprError::Kind(other)),
            };
            let level = match reader.number()? {
                0 => Level::Info,
                1 => Level::Warn,
                2 => Level::Error,
                other => return Err(IprError::Kind(other)),
            };
            ResponseBody::Info(id, info, level)
        }
        other => return Err(IprError::Kind(other)),
    })
}

fn connect(
    reader: &mut Reader<'_>,
    version: Version,
) -> Result<Result<Assigned, ConnectRefusal>, IprError> {
    if succeeded(reader)? {
        let (v4, v6): ([u8; 4], [u8; 16]) = (reader.array()?, reader.array()?);
        let said = version >= Version::V10;
        let mtu = if said { reader.small("mtu")? } else { MTU_FALLBACK };
        return Ok(Ok(Assigned { v4: v4.into(), v6: v6.into(), mtu }));
    }
    Ok(Err(match reader.number()? {
        0 => ConnectRefusal::AlreadyConnected,
        1 => ConnectRefusal::NoAddressLeft,
        2 => ConnectRefusal::Other(reader.text()?),
        other => return Err(IprError::Kind(other)),
    }))
}

fn disconnect(reader: &mut Reader<'_>) -> Result<Result<(), DisconnectRefusal>, IprError> {
    if succeeded(reader)? {
        return Ok(Ok(()));
    }
    Ok(Err(match reader.number()? {
        0 => DisconnectRefusal::NotConnected,
        1 => DisconnectRefusal::Other(reader.text()?),
        other => return Err(IprError::Kind(other)),
    }))
}

fn succeeded(reader: &mut Reader<'_>) -> Result<bool, IprError> {
    match reader.number()? {
        SUCCESS => Ok(true),
        FAILURE => Ok(false),
        other => Err(IprError::Kind(other)),
    }
}

impl Build {
    /// In the order of the message.
    fn texts(&self) -> [&str; 10] {
        let Self { binary, built, version, commit, committed, branch, rustc, channel, .. } = self;
        let (profile, target) = (&self.profile, &self.target);
        [binary, built, version, commit, committed, branch, rustc, channel, profile, target]
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, IprError> {
        let mut text = || reader.text();
        Ok(Self {
            binary: text()?,
            built: text()?,
            version: text()?,
            commit: text()?,
            committed: text()?,
            branch: text()?,
            rustc: text()?,
            channel: text()?,
            profile: text()?,
            target: text()?,
        })
    }
}
