//! What is asked of every service provider, whatever it does.

use serde_json::{Value, json};

use super::RequesterError;

const HEALTH: u8 = 0;
const BINARY: u8 = 1;
const VERSIONS: u8 = 2;
const ERROR: u8 = 0xff;

/// Bytes of JSON that an answer has at most.
const JSON_MAX: usize = 4096;

/// A question to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Is it there?
    Health,
    /// What was it built from?
    Binary,
    /// Which versions does it speak?
    Versions,
}

impl Control {
    pub(super) const fn tag(self) -> u8 {
        match self {
            Self::Health => HEALTH,
            Self::Binary => BINARY,
            Self::Versions => VERSIONS,
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, RequesterError> {
        match bytes {
            [] => Err(RequesterError::TooShort),
            [HEALTH] => Ok(Self::Health),
            [BINARY] => Ok(Self::Binary),
            [VERSIONS] => Ok(Self::Versions),
            [HEALTH | BINARY | VERSIONS, ..] => Err(RequesterError::TooLong),
            [kind, ..] => Err(RequesterError::Kind(*kind)),
        }
    }
}

/// The answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlAnswer {
    /// It is there.
    Health,
    /// What it was built from, as JSON.
    Binary(Value),
    /// Which versions it speaks, each for itself and as stock software writes them: JSON again.
    Versions {
        /// What all providers have in common.
        interface: String,
        /// The SOCKS5 part.
        provider: String,
    },
    /// It cannot say; why.
    Error(String),
}

impl ControlAnswer {
    /// The versions that are spoken here.
    pub fn versions() -> Self {
        let version = json!({"type": "Versioned", "version": super::VERSION}).to_string();
        Self::Versions { interface: version.clone(), provider: version }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, RequesterError> {
        let (&tag, rest) = bytes.split_first().ok_or(RequesterError::TooShort)?;
        if tag == HEALTH {
            return if rest.is_empty() { Ok(Self::Health) } else { Err(RequesterError::TooLong) };
        }
        if !matches!(tag, BINARY | VERSIONS | ERROR) {
            return Err(RequesterError::Kind(tag));
        }
        if rest.len() > JSON_MAX {
            return Err(RequesterError::TooLong);
        }
        let json: Value = serde_json::from_slice(rest).map_err(|_| RequesterError::Text)?;
        let text = |name: &str| {
            let text = json.get(name).and_then(Value::as_str).ok_or(RequesterError::Text)?;
            Ok(text.to_owned())
        };
        match tag {
            VERSIONS => Ok(Self::Versions {
                interface: text("interface_version")?,
                provider: text("provider_version")?,
            }),
            ERROR => Ok(Self::Error(text("message")?)),
            _ => Ok(Self::Binary(json)),
        }
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let (tag, json) = match self {
            Self::Health => return bytes.push(HEALTH),
            Self::Binary(value) => (BINARY, value.clone()),
            Self::Versions { interface, provider } => {
                (VERSIONS, json!({"interface_version": interface, "provider_version": provider}))
            }
            Self::Error(message) => (ERROR, json!({ "message": message })),
        };
        bytes.push(tag);
        bytes.extend_from_slice(json.to_string().as_bytes());
    }
}
