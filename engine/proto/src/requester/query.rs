//! Questions about the exit.

use super::RequesterError;
use super::bincode::{Reader, write_text, write_unsigned};

/// Bytes of a text in an answer, and rules of a policy, at most.
const TEXT_MAX: usize = 4096;
const RULES_MAX: u32 = 8192;

/// Bytes of an address with a prefix.
const PATTERN_MAX: usize = 64;

/// A question about the exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Does it connect to anything?
    OpenProxy,
    /// How does it describe itself?
    Description,
    /// What does it connect to?
    ExitPolicy,
}

/// The answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whether it connects to anything.
    OpenProxy(bool),
    /// How it describes itself.
    Description(String),
    /// What it connects to.
    ExitPolicy {
        /// Whether it has a policy.
        enabled: bool,
        /// Where the policy comes from.
        upstream: String,
        /// The rules, of which the first that matches decides.
        policy: Option<Vec<ExitRule>>,
    },
    /// It does not say; why.
    Error(String),
}

/// One rule of an exit policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitRule {
    /// Whether connections that match it are made.
    pub accept: bool,
    /// Whether it concerns IPv6 only.
    pub only_v6: bool,
    /// `*`, `*4`, `*6`, or an address, which a prefix's length may follow.
    pub addresses: String,
    /// The first and the last port.
    pub ports: (u16, u16),
}

impl Query {
    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::OpenProxy => 0,
            Self::Description => 1,
            Self::ExitPolicy => 2,
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, RequesterError> {
        let mut reader = Reader(bytes);
        let query = match reader.byte()? {
            0 => Self::OpenProxy,
            1 => Self::Description,
            2 => Self::ExitPolicy,
            kind => return Err(RequesterError::Kind(kind)),
        };
        reader.end()?;
        Ok(query)
    }
}

impl Answer {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, RequesterError> {
        let mut reader = Reader(bytes);
        let answer = match reader.byte()? {
            0 => Self::OpenProxy(reader.flag()?),
            1 => Self::Description(reader.text(TEXT_MAX)?),
            2 => {
                let enabled = reader.flag()?;
                let upstream = reader.text(TEXT_MAX)?;
                let policy = if reader.flag()? { Some(rules(&mut reader)?) } else { None };
                Self::ExitPolicy { enabled, upstream, policy }
            }
            3 => Self::Error(reader.text(TEXT_MAX)?),
            kind => return Err(RequesterError::Kind(kind)),
        };
        reader.end()?;
        Ok(answer)
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::OpenProxy(open) => bytes.extend([0, u8::from(*open)]),
            Self::Description(text) => {
                bytes.push(1);
                write_text(text, bytes);
            }
            Self::ExitPolicy { enabled, upstream, policy } => {
                bytes.extend([2, u8::from(*enabled)]);
                write_text(upstream, bytes);
                bytes.push(u8::from(policy.is_some()));
                if let Some(rules) = policy {
                    let count = u32::try_from(rules.len()).expect("policies have few rules");
                    write_unsigned(count, bytes);
                    rules.iter().for_each(|rule| rule.write(bytes));
                }
            }
            Self::Error(text) => {
                bytes.push(3);
                write_text(text, bytes);
            }
        }
    }
}

fn rules(reader: &mut Reader<'_>) -> Result<Vec<ExitRule>, RequesterError> {
    let count = reader.unsigned()?;
    if count > RULES_MAX {
        return Err(RequesterError::Number);
    }
    (0..count).map(|_| ExitRule::parse(reader)).collect()
}

impl ExitRule {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, RequesterError> {
        // The stock type numbers acceptance 0, rejection 1, and the same for IPv6 only 2 and 3.
        let action = reader.byte()?;
        if action > 3 {
            return Err(RequesterError::Kind(action));
        }
        let (accept, only_v6) = (action & 1 == 0, action >= 2);
        let addresses = reader.text(PATTERN_MAX)?;
        let ports = (reader.u16()?, reader.u16()?);
        Ok(Self { accept, only_v6, addresses, ports })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(!self.accept) | u8::from(self.only_v6) << 1);
        write_text(&self.addresses, bytes);
        write_unsigned(self.ports.0.into(), bytes);
        write_unsigned(self.ports.1.into(), bytes);
    }
}
