//! Target: text messages, starting from right ones that are cut, spliced and changed.

use phix_proto::gateway::registration::HandshakeMessage;
use phix_proto::gateway::{ClientRequest, ServerResponse, SharedKey};

use crate::input::Input;

/// What inputs have led to.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) read: u64,
    pub(crate) refused: u64,
}

const RIGHT: [&str; 16] = [
    r#"{"type":"supportedProtocol"}"#,
    r#"{"type":"authenticateV2","protocolVersion":6,"clientIdentity":[1,2,3,4,5,6,7,8,9,10,11,12,
        13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32],"addressCiphertext":"AAEC",
        "nonce":"AAECAwQFBgcICQoL","requestUnixTimestamp":1,"requestSignature":[1,2,3,4,5,6,7,8,9,
        0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,
        5,6,7,8,9,0,1,2,3,4]}"#,
    r#"{"type":"registerHandshakeInitRequest","protocol_version":6,"data":[0,255]}"#,
    r#"{"type":"handshakePayload","protocol_version":6,"data":[]}"#,
    r#"{"type":"handshakeError","message":"over"}"#,
    r#"{"type":"ecashCredential","enc_credential":[1],"iv":[2]}"#,
    r#"{"type":"upgradeModeJWT","token":"a.b.c"}"#,
    r#"{"type":"claimFreeTestnetBandwidth"}"#,
    r#"{"type":"encryptedRequest","ciphertext":[1],"nonce":[2]}"#,
    r#"{"type":"authenticate","protocol_version":null,"address":"","enc_address":"","iv":""}"#,
    r#"{"type":"authenticate","status":true,"bandwidth_remaining":-5}"#,
    r#"{"type":"register","protocol_version":6,"status":true}"#,
    r#"{"type":"send","remaining_bandwidth":9223372036854775807}"#,
    r#"{"type":"error","message":"no \ud83d\ude00"}"#,
    r#"{"type":"typedError","error":{"out_of_bandwidth":{"required":1,"available":0}}}"#,
    r#"{"type":"typedError","error":"ticket_replay"}"#,
];

/// What a change puts in.
const PIECES: [&str; 16] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "256",
    "-1",
    "1e400",
    "null",
    "\\u0000",
    "\u{e9}",
    "true",
    "\"type\":",
    "[[[[[[[[",
];

#[cfg_attr(test, expect(dead_code, reason = "the entry for a fuzzer; tests observe"))]
pub(crate) fn run(data: &[u8]) {
    observe(data, &mut Seen::default());
}

pub(crate) fn observe(data: &[u8], seen: &mut Seen) {
    read(&String::from_utf8_lossy(data), seen);
    let mut input = Input::new(data);
    let mut text: Vec<char> = RIGHT[input.below(RIGHT.len())].chars().collect();
    for _ in 0..input.below(4) {
        if input.is_empty() {
            break;
        }
        let at = usize::from(u16::from_be_bytes(input.array())) % (text.len() + 1);
        match input.below(4) {
            0 => text.truncate(at.max(1)),
            1 => drop(text.splice(at.., RIGHT[input.below(RIGHT.len())].chars().skip(at))),
            2 => drop(text.splice(at..at, PIECES[input.below(PIECES.len())].chars())),
            _ => text[at.saturating_sub(1)..].iter_mut().take(1).for_each(|it| *it = '5'),
        }
    }
    read(&text.into_iter().collect::<String>(), seen);
}

fn read(text: &str, seen: &mut Seen) {
    let request = ClientRequest::parse(text);
    if let Ok(request) = &request {
        assert_eq!(ClientRequest::parse(&request.to_text()).as_ref(), Ok(request));
        if let ClientRequest::AuthenticateV2(authentication) = request {
            let refused = authentication.verify(&SharedKey::from_bytes([0; 32]), 1, None);
            assert!(refused.is_err(), "nobody signed it");
        }
    }
    let response = ServerResponse::parse(text);
    if let Ok(response) = &response {
        assert_eq!(ServerResponse::parse(&response.to_text()).as_ref(), Ok(response));
    }
    let handshake = HandshakeMessage::parse(text);
    if let Ok(message) = &handshake {
        assert_eq!(HandshakeMessage::parse(&message.to_text()).as_ref(), Ok(message));
    }
    let understood = request.is_ok() || response.is_ok() || handshake.is_ok();
    *(if understood { &mut seen.read } else { &mut seen.refused }) += 1;
}
