//! The binary form. Numbers are big endian; a connection of 0 is none.
//!
//! ```text
//! 0 send            recipient 96 | connection 8 | length 8 | message
//! 1 send anonymous  SURBs 4 | recipient 96 | connection 8 | length 8 | message
//! 2 reply           sender tag 16 | connection 8 | length 8 | message
//! 3 self address
//! 4 closed          connection 8
//! 5 lane length     connection 8
//!
//! 0 error           kind 1 | length 8 | text
//! 1 received        0 or 1 | sender tag 16, after 1 | length 8 | message
//! 2 self address    recipient 96
//! 3 lane length     connection 8 | packets 8
//! ```

use phix_proto::message::{RECIPIENT, Recipient, SenderTag};

use super::protocol::{ErrorKind, Request, RequestError, Response};

/// Reads a request.
pub(super) fn parse(bytes: &[u8]) -> Result<Request, RequestError> {
    let Some((&tag, rest)) = bytes.split_first() else {
        return Err(RequestError::new(ErrorKind::Empty, "there is nothing in it"));
    };
    let mut rest = Rest(rest);
    match tag {
        0 => {
            let recipient = rest.recipient()?;
            let connection = rest.connection()?;
            Ok(Request::Send { recipient, connection, message: rest.message()? })
        }
        1 => {
            let reply_surbs = u32::from_be_bytes(rest.take()?);
            let recipient = rest.recipient()?;
            let connection = rest.connection()?;
            let message = rest.message()?;
            Ok(Request::SendAnonymous { recipient, message, reply_surbs, connection })
        }
        2 => {
            let sender = SenderTag::from_bytes(rest.take()?);
            let connection = rest.connection()?;
            Ok(Request::Reply { sender, connection, message: rest.message()? })
        }
        3 => Ok(Request::SelfAddress),
        4 => Ok(Request::ClosedConnection(u64::from_be_bytes(rest.take()?))),
        5 => Ok(Request::LaneQueueLength(u64::from_be_bytes(rest.take()?))),
        _ => Err(RequestError::new(ErrorKind::Unknown, format_args!("there is no tag {tag}"))),
    }
}

/// Writes a response.
pub(super) fn write(response: &Response) -> Vec<u8> {
    let length = |bytes: &[u8]| (bytes.len() as u64).to_be_bytes();
    match response {
        Response::Error(error) => {
            let text = error.message.as_bytes();
            [&[0, error.kind as u8][..], &length(text), text].concat()
        }
        Response::Received { message, sender: None } => {
            [&[1, 0][..], &length(message), message].concat()
        }
        Response::Received { message, sender: Some(sender) } => {
            [&[1, 1][..], &sender.to_bytes(), &length(message), message].concat()
        }
        Response::SelfAddress(own) => [&[2][..], &own.to_bytes()].concat(),
        Response::LaneQueueLength { lane, length } => {
            [&[3][..], &lane.to_be_bytes(), &length.to_be_bytes()].concat()
        }
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], RequestError> {
        let short = || RequestError::new(ErrorKind::TooShort, "it ends before its fields do");
        let (front, rest) = self.0.split_first_chunk::<N>().ok_or_else(short)?;
        self.0 = rest;
        Ok(*front)
    }

    fn recipient(&mut self) -> Result<Recipient, RequestError> {
        let bytes = self.take::<RECIPIENT>()?;
        Recipient::from_bytes(&bytes).map_err(|e| RequestError::new(ErrorKind::Malformed, e))
    }

    fn connection(&mut self) -> Result<Option<u64>, RequestError> {
        Ok(Some(u64::from_be_bytes(self.take()?)).filter(|&connection| connection != 0))
    }

    fn message(&mut self) -> Result<Vec<u8>, RequestError> {
        let (said, there) = (u64::from_be_bytes(self.take()?), self.0.len() as u64);
        if said != there {
            let what = format_args!("it announces {said} bytes of message and brings {there}");
            return Err(RequestError::new(ErrorKind::Malformed, what));
        }
        Ok(self.0.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use phix_proto::message::ClientKeys;
    use rand::SeedableRng;

    use super::*;

    fn someone() -> Recipient {
        let mut rng = chacha20::ChaCha20Rng::seed_from_u64(1);
        let gateway = ClientKeys::generate(&mut rng).identity().verifying_key().to_bytes();
        ClientKeys::generate(&mut rng).recipient(gateway).unwrap()
    }

    #[test]
    fn requests_are_read_as_stock_clients_write_them() {
        let (recipient, sender) = (someone(), SenderTag::from_bytes([7; 16]));
        let (address, long) = (recipient.to_bytes(), [0, 0, 0, 0, 0, 0, 0, 2]);
        let lane = 9u64.to_be_bytes();
        let message = b"hi".to_vec();
        let send = [&[0][..], &address, &[0; 8], &long, b"hi"].concat();
        let expected = Request::Send { recipient, message: message.clone(), connection: None };
        assert_eq!(parse(&send), Ok(expected));
        let anonymous = [&[1, 0, 0, 1, 0][..], &address, &lane, &long, b"hi"].concat();
        let expected = Request::SendAnonymous {
            recipient,
            message: message.clone(),
            reply_surbs: 256,
            connection: Some(9),
        };
        assert_eq!(parse(&anonymous), Ok(expected));
        let reply = [&[2][..], &[7; 16], &lane, &long, b"hi"].concat();
        assert_eq!(parse(&reply), Ok(Request::Reply { sender, message, connection: Some(9) }));
        assert_eq!(parse(&[3]), Ok(Request::SelfAddress));
        assert_eq!(parse(&[&[4][..], &lane].concat()), Ok(Request::ClosedConnection(9)));
        assert_eq!(parse(&[&[5][..], &lane].concat()), Ok(Request::LaneQueueLength(9)));
        for whole in [send, anonymous, reply] {
            for len in 1..whole.len() {
                let kind = parse(&whole[..len]).unwrap_err().kind;
                assert!(matches!(kind, ErrorKind::TooShort | ErrorKind::Malformed), "{len}");
            }
            let longer = [&whole[..], &[0]].concat();
            assert_eq!(parse(&longer).unwrap_err().kind, ErrorKind::Malformed);
        }
        assert_eq!(parse(&[]).unwrap_err().kind, ErrorKind::Empty);
        assert_eq!(parse(&[6]).unwrap_err().kind, ErrorKind::Unknown);
        // 2 is the first number that is no coordinate of a point of Ed25519.
        let mut keys = [0; 96];
        keys[0] = 2;
        let nobody = [&[0][..], &keys, &[0; 16]].concat();
        assert_eq!(parse(&nobody).unwrap_err().kind, ErrorKind::Malformed);
    }

    #[test]
    fn responses_are_written_as_stock_clients_read_them() {
        let long = [0, 0, 0, 0, 0, 0, 0, 2];
        let message = b"hi".to_vec();
        let plain = Response::Received { message: message.clone(), sender: None };
        assert_eq!(write(&plain), [&[1, 0][..], &long, b"hi"].concat());
        let sender = Some(SenderTag::from_bytes([7; 16]));
        let anonymous = Response::Received { message, sender };
        assert_eq!(write(&anonymous), [&[1, 1][..], &[7; 16], &long, b"hi"].concat());
        let own = Response::SelfAddress(someone());
        assert_eq!(write(&own), [&[2][..], &someone().to_bytes()].concat());
        let queue = Response::LaneQueueLength { lane: 9, length: 3 };
        let expected = [&[3][..], &9u64.to_be_bytes(), &3u64.to_be_bytes()].concat();
        assert_eq!(write(&queue), expected);
        let error = RequestError { kind: ErrorKind::Malformed, message: "no".into() };
        assert_eq!(write(&Response::Error(error)), [&[0, 4][..], &long, b"no"].concat());
    }
}
