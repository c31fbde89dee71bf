//! What the exit says.

use super::query::Answer;
use super::{
    CONTROL, ControlAnswer, Data, FIRST_VERSION, Form, PROVIDER, RequesterError, VERSION, flag_at,
    provider_part, u64_at,
};

const NETWORK_DATA: u8 = 1;
const CONNECTION_ERROR: u8 = 2;
const QUERY: u8 = 3;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// What a connection has brought.
    NetworkData(Data<'a>),
    /// There is no such connection, or no longer; why, for a person.
    ConnectionError {
        /// Which connection.
        connection: u64,
        /// Why.
        reason: &'a str,
    },
    /// What was asked about the exit.
    Query(Answer),
    /// What was asked about the provider.
    Control(ControlAnswer),
}

/// The exit's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The form that it has: that of the request.
    pub form: Form,
    /// What it says.
    pub content: Content<'a>,
}

impl<'a> Response<'a> {
    /// An answer to a request in this form.
    pub const fn new(form: Form, content: Content<'a>) -> Self {
        Self { form, content }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If it is no answer, or of a version that is not spoken here.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RequesterError> {
        let (&first, rest) = bytes.split_first().ok_or(RequesterError::TooShort)?;
        if first < FIRST_VERSION {
            return Ok(Self::new(Form::Unversioned, content(bytes)?));
        }
        if first != VERSION {
            return Err(RequesterError::Version(first));
        }
        let (&part, rest) = rest.split_first().ok_or(RequesterError::TooShort)?;
        let content = match part {
            CONTROL => Content::Control(ControlAnswer::parse(rest)?),
            PROVIDER => content(provider_part(rest)?)?,
            kind => return Err(RequesterError::Kind(kind)),
        };
        Ok(Self::new(Form::Current, content))
    }

    /// The bytes of the message.
    ///
    /// # Errors
    /// If the form has no such message.
    pub fn encode(&self) -> Result<Vec<u8>, RequesterError> {
        let mut bytes = match (self.form, &self.content) {
            (Form::Unversioned, Content::Query(_) | Content::Control(_)) => {
                return Err(RequesterError::NotInThisForm);
            }
            (Form::Unversioned, _) => Vec::new(),
            (Form::Current, Content::Control(_)) => vec![VERSION, CONTROL],
            (Form::Current, _) => vec![VERSION, PROVIDER, VERSION],
        };
        match &self.content {
            Content::NetworkData(data) => {
                bytes.push(NETWORK_DATA);
                bytes.push(u8::from(data.closed));
                bytes.extend(data.connection.to_be_bytes());
                bytes.extend(data.sequence.to_be_bytes());
                bytes.extend_from_slice(data.bytes);
            }
            Content::ConnectionError { connection, reason } => {
                bytes.push(CONNECTION_ERROR);
                bytes.extend(connection.to_be_bytes());
                bytes.extend_from_slice(reason.as_bytes());
            }
            Content::Query(answer) => {
                bytes.push(QUERY);
                answer.write(&mut bytes);
            }
            Content::Control(answer) => answer.write(&mut bytes),
        }
        Ok(bytes)
    }
}

fn content(bytes: &[u8]) -> Result<Content<'_>, RequesterError> {
    let (&kind, mut rest) = bytes.split_first().ok_or(RequesterError::TooShort)?;
    match kind {
        NETWORK_DATA => {
            let closed = flag_at(&mut rest)?;
            let connection = u64_at(&mut rest)?;
            let sequence = u64_at(&mut rest)?;
            Ok(Content::NetworkData(Data { connection, sequence, closed, bytes: rest }))
        }
        CONNECTION_ERROR => {
            let connection = u64_at(&mut rest)?;
            let reason = str::from_utf8(rest).map_err(|_| RequesterError::Text)?;
            Ok(Content::ConnectionError { connection, reason })
        }
        QUERY => Answer::parse(rest).map(Content::Query),
        kind => Err(RequesterError::Kind(kind)),
    }
}
