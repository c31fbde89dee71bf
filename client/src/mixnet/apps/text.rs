//! The text form: JSON with a `type`, names in camel case, addresses and tags in base58.

use phix_proto::message::{Recipient, SenderTag};
use serde::{Deserialize, Serialize};

use super::protocol::{ErrorKind, Request, RequestError, Response};

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum RequestForm {
    Send {
        message: String,
        recipient: String,
        connection_id: Option<u64>,
    },
    SendAnonymous {
        recipient: String,
        message: String,
        reply_surbs: u32,
        connection_id: Option<u64>,
    },
    Reply {
        sender_tag: String,
        message: String,
        connection_id: Option<u64>,
    },
    SelfAddress,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum ResponseForm<'a> {
    Received { message: std::borrow::Cow<'a, str>, sender_tag: Option<String> },
    SelfAddress { address: String },
    LaneQueueLength { lane: u64, queue_length: u64 },
    Error { message: String },
}

/// Reads a request.
pub(super) fn parse(text: &str) -> Result<Request, RequestError> {
    let form = serde_json::from_str(text).map_err(malformed)?;
    let recipient = |text: String| text.parse::<Recipient>().map_err(malformed);
    Ok(match form {
        RequestForm::Send { message, recipient: to, connection_id } => Request::Send {
            recipient: recipient(to)?,
            message: message.into_bytes(),
            connection: connection_id,
        },
        RequestForm::SendAnonymous { recipient: to, message, reply_surbs, connection_id } => {
            Request::SendAnonymous {
                recipient: recipient(to)?,
                message: message.into_bytes(),
                reply_surbs,
                connection: connection_id,
            }
        }
        RequestForm::Reply { sender_tag, message, connection_id } => Request::Reply {
            sender: sender_tag.parse::<SenderTag>().map_err(malformed)?,
            message: message.into_bytes(),
            connection: connection_id,
        },
        RequestForm::SelfAddress => Request::SelfAddress,
    })
}

fn malformed(error: impl std::fmt::Display) -> RequestError {
    RequestError::new(ErrorKind::Malformed, error)
}

/// Writes a response. Bytes of a message that are no UTF-8 are lost in this form; applications that
/// expect such messages use the binary form.
pub(super) fn write(response: &Response) -> String {
    let form = match response {
        Response::Error(error) => ResponseForm::Error { message: error.to_string() },
        Response::Received { message, sender } => ResponseForm::Received {
            message: String::from_utf8_lossy(message),
            sender_tag: sender.map(|sender| sender.to_string()),
        },
        Response::SelfAddress(own) => ResponseForm::SelfAddress { address: own.to_string() },
        Response::LaneQueueLength { lane, length } => {
            ResponseForm::LaneQueueLength { lane: *lane, queue_length: *length }
        }
    };
    serde_json::to_string(&form).expect("responses have only what JSON can say")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NYM: &str = "CytBseW6yFXUMzz4SGAKdNLGR7q3sJLLYxyBGvutNEQV.\
                       4QXYyEVc5fUDjmmi8PrHN9tdUFV4PCvSJE1278cHyvoe@\
                       4sBbL1ngf1vtNqykydQKTFh26sQCw888GpUqvPvyNB4f";

    #[test]
    fn requests_are_read_with_and_without_a_connection() {
        let recipient: Recipient = NYM.parse().unwrap();
        let message = "grüße".as_bytes().to_vec();
        let text = json!({"type": "send", "message": "grüße", "recipient": NYM});
        let expected = Request::Send { recipient, message: message.clone(), connection: None };
        assert_eq!(parse(&text.to_string()), Ok(expected));
        let text = json!({"type": "sendAnonymous", "message": "grüße", "recipient": NYM,
            "replySurbs": 5, "connectionId": 8});
        let expected =
            Request::SendAnonymous { recipient, message, reply_surbs: 5, connection: Some(8) };
        assert_eq!(parse(&text.to_string()), Ok(expected));
        let sender = SenderTag::from_bytes([7; 16]);
        let text = json!({"type": "reply", "message": "", "senderTag": sender.to_string()});
        let expected = Request::Reply { sender, message: vec![], connection: None };
        assert_eq!(parse(&text.to_string()), Ok(expected));
        assert_eq!(parse(r#"{"type":"selfAddress"}"#), Ok(Request::SelfAddress));
    }

    #[test]
    fn what_is_malformed_is_said() {
        let nobody = json!({"type": "send", "message": "", "recipient": "x"}).to_string();
        let tag = json!({"type": "reply", "message": "", "senderTag": "x"}).to_string();
        for text in ["", "{}", r#"{"type":"fly"}"#, r#"{"type":"send"}"#, &nobody, &tag] {
            assert_eq!(parse(text).unwrap_err().kind, ErrorKind::Malformed, "{text}");
        }
    }

    #[test]
    fn responses_have_the_names_that_applications_look_for() {
        let read = |response| serde_json::from_str::<Value>(&write(&response)).unwrap();
        let sender = SenderTag::from_bytes([7; 16]);
        let received = Response::Received { message: b"a\xffb".to_vec(), sender: Some(sender) };
        let expected =
            json!({"type": "received", "message": "a\u{fffd}b", "senderTag": sender.to_string()});
        assert_eq!(read(received), expected);
        let plain = Response::Received { message: b"x".to_vec(), sender: None };
        assert_eq!(read(plain), json!({"type": "received", "message": "x", "senderTag": null}));
        let own = Response::SelfAddress(NYM.parse().unwrap());
        assert_eq!(read(own), json!({"type": "selfAddress", "address": NYM}));
        let queue = Response::LaneQueueLength { lane: 1, length: 2 };
        assert_eq!(read(queue), json!({"type": "laneQueueLength", "lane": 1, "queueLength": 2}));
        let error = RequestError::new(ErrorKind::Unknown, "what?");
        let expected = json!({"type": "error", "message": "unknown request: what?"});
        assert_eq!(read(Response::Error(error)), expected);
    }
}
