//! What a client says.

use super::query::Query;
use super::target::TARGET_MAX;
use super::{
    CONTROL, Control, Data, FIRST_VERSION, Form, PROVIDER, RequesterError, Target, VERSION,
    flag_at, provider_part, u64_at,
};
use crate::message::{RECIPIENT, Recipient};

const CONNECT: u8 = 0;
const SEND: u8 = 1;
const QUERY: u8 = 2;

/// A wish to be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The name of the connection, drawn by the client.
    pub connection: u64,
    /// To what.
    pub target: Target,
    /// Where answers go; without it they go by the reply SURBs of the client.
    pub return_address: Option<Recipient>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Connect.
    Connect(Connect),
    /// Write to a connection.
    Send(Data<'a>),
    /// Tell about the exit.
    Query(Query),
    /// Tell about the provider.
    Control(Control),
}

/// A client's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The form that it has.
    pub form: Form,
    /// What it asks for.
    pub body: Body<'a>,
}

impl<'a> Request<'a> {
    /// A request in the form of today.
    pub const fn new(body: Body<'a>) -> Self {
        Self { form: Form::Current, body }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// If it is no request, or of a version that is not spoken here.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RequesterError> {
        let (&first, rest) = bytes.split_first().ok_or(RequesterError::TooShort)?;
        if first < FIRST_VERSION {
            let body = body(rest)?;
            if matches!(body, Body::Query(_)) {
                return Err(RequesterError::NotInThisForm);
            }
            return Ok(Self { form: Form::Unversioned, body });
        }
        if first != VERSION {
            return Err(RequesterError::Version(first));
        }
        let (&part, rest) = rest.split_first().ok_or(RequesterError::TooShort)?;
        let body = match part {
            CONTROL => Body::Control(Control::parse(rest)?),
            PROVIDER => body(provider_part(rest)?)?,
            kind => return Err(RequesterError::Kind(kind)),
        };
        Ok(Self::new(body))
    }

    /// The bytes of the message.
    ///
    /// # Errors
    /// If the form has no such message.
    pub fn encode(&self) -> Result<Vec<u8>, RequesterError> {
        let mut bytes = match (self.form, &self.body) {
            (Form::Unversioned, Body::Query(_) | Body::Control(_)) => {
                return Err(RequesterError::NotInThisForm);
            }
            (Form::Unversioned, _) => vec![0],
            (Form::Current, Body::Control(control)) => {
                return Ok(vec![VERSION, CONTROL, control.tag()]);
            }
            (Form::Current, _) => vec![VERSION, PROVIDER, VERSION],
        };
        match &self.body {
            Body::Connect(connect) => connect.write(&mut bytes),
            Body::Send(data) => {
                bytes.push(SEND);
                bytes.extend(data.connection.to_be_bytes());
                bytes.push(u8::from(data.closed));
                bytes.extend(data.sequence.to_be_bytes());
                bytes.extend_from_slice(data.bytes);
            }
            Body::Query(query) => bytes.extend([QUERY, query.tag()]),
            Body::Control(_) => unreachable!("control messages were written above"),
        }
        Ok(bytes)
    }
}

fn body(bytes: &[u8]) -> Result<Body<'_>, RequesterError> {
    let (&kind, mut rest) = bytes.split_first().ok_or(RequesterError::TooShort)?;
    match kind {
        CONNECT => Connect::parse(rest).map(Body::Connect),
        SEND => {
            let connection = u64_at(&mut rest)?;
            let closed = flag_at(&mut rest)?;
            let sequence = u64_at(&mut rest)?;
            Ok(Body::Send(Data { connection, sequence, closed, bytes: rest }))
        }
        QUERY => Query::parse(rest).map(Body::Query),
        kind => Err(RequesterError::Kind(kind)),
    }
}

impl Connect {
    fn parse(mut bytes: &[u8]) -> Result<Self, RequesterError> {
        let connection = u64_at(&mut bytes)?;
        let (len, rest) = bytes.split_first_chunk::<2>().ok_or(RequesterError::TooShort)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (target, rest) = rest.split_at_checked(len).ok_or(RequesterError::TooShort)?;
        if target.len() > TARGET_MAX {
            return Err(RequesterError::Text);
        }
        let target = str::from_utf8(target).map_err(|_| RequesterError::Text)?;
        let target = target.parse().map_err(RequesterError::Target)?;
        let return_address = match rest.len() {
            0 => None,
            len if len < RECIPIENT => return Err(RequesterError::TooShort),
            _ => {
                let bytes = rest.try_into().map_err(|_| RequesterError::TooLong)?;
                Some(Recipient::from_bytes(bytes).map_err(RequesterError::ReturnAddress)?)
            }
        };
        Ok(Self { connection, target, return_address })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let target = self.target.to_string();
        let len = u16::try_from(target.len()).expect("names of hosts are short");
        bytes.push(CONNECT);
        bytes.extend(self.connection.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes.extend_from_slice(target.as_bytes());
        if let Some(address) = &self.return_address {
            bytes.extend(address.to_bytes());
        }
    }
}
