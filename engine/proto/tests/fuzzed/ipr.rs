//! Target: messages of the IP packet router, starting from right ones that are cut and changed.

use std::net::{Ipv4Addr, Ipv6Addr};

use phix_proto::ipr::{
    Ask, Assigned, BUNDLE_MAX, Build, Bundle, ConnectRefusal, Control, DisconnectRefusal,
    Disconnection, Frame, FrameKind, Info, Level, MTU_FALLBACK, PACKET_MAX, Request, RequestBody,
    Response, ResponseBody, Version, packets,
};
use time::{Duration, OffsetDateTime};

use crate::input::Input;

/// What inputs have led to, by requests, answers and frames.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) read: [u64; 3],
    pub(crate) refused: [u64; 3],
}

#[cfg_attr(test, expect(dead_code, reason = "the entry for a fuzzer; tests observe"))]
pub(crate) fn run(data: &[u8]) {
    observe(data, &mut Seen::default());
}

pub(crate) fn observe(data: &[u8], seen: &mut Seen) {
    read(data, seen);
    let mut input = Input::new(data);
    let version = [Version::V8, Version::V9, Version::V10][input.below(3)];
    let payload = input.slice(40);
    let mut right = match input.below(3) {
        0 => Request { version, body: request(&mut input, payload) }.to_bytes(),
        1 => Response { version, body: response(&mut input, payload, version) }.to_bytes(),
        _ => {
            let kind = [FrameKind::Open, FrameKind::Data][input.below(2)];
            let (stream, sequence) =
                (u64::from_be_bytes(input.array()), u32::from_be_bytes(input.array()));
            Frame { stream, kind, sequence, content: payload }.to_bytes()
        }
    };
    read(&right, seen);
    bundles(payload, &mut input);
    for _ in 0..=input.below(3) {
        let at = usize::from(input.byte()) % right.len().max(1);
        match input.below(3) {
            0 => right.truncate(at),
            1 => right.insert(at.min(right.len()), input.byte()),
            _ => right.iter_mut().skip(at).take(1).for_each(|byte| *byte = input.byte()),
        }
    }
    read(&right, seen);
}

fn request<'a>(input: &mut Input<'_>, payload: &'a [u8]) -> RequestBody<'a> {
    let millis = u64::from_be_bytes(input.array());
    let ask = match input.below(6) {
        0 => return RequestBody::Data(payload),
        1 => Ask::Connect { buffer_timeout_ms: None },
        2 => Ask::Connect { buffer_timeout_ms: Some(millis) },
        3 => Ask::Disconnect,
        4 => Ask::Ping,
        _ => Ask::Health,
    };
    let since = i64::from(i32::from_be_bytes(input.array())) * 8;
    let sent = OffsetDateTime::UNIX_EPOCH + Duration::new(since, i32::from(input.byte()));
    RequestBody::Control(Control { id: millis, sent, ask })
}

fn response<'a>(input: &mut Input<'_>, payload: &'a [u8], version: Version) -> ResponseBody<'a> {
    let id = u64::from_be_bytes(input.array());
    let text = || String::from_utf8_lossy(payload).into_owned();
    match input.below(13) {
        0 => ResponseBody::Data(payload),
        1 => {
            let mtu = u16::from_be_bytes(input.array());
            let mtu = if version == Version::V10 { mtu } else { MTU_FALLBACK };
            let (v4, v6): ([u8; 4], [u8; 16]) = (input.array(), input.array());
            let (v4, v6) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
            ResponseBody::Connect(id, Ok(Assigned { v4, v6, mtu }))
        }
        2 => ResponseBody::Connect(id, Err(ConnectRefusal::AlreadyConnected)),
        3 => ResponseBody::Connect(id, Err(ConnectRefusal::Other(text()))),
        4 => ResponseBody::Disconnect(id, Ok(())),
        5 => ResponseBody::Disconnect(id, Err(DisconnectRefusal::NotConnected)),
        6 => ResponseBody::Disconnect(id, Err(DisconnectRefusal::Other(text()))),
        7 => ResponseBody::CutOff(Disconnection::SilentNetwork),
        8 => ResponseBody::CutOff(Disconnection::Other(text())),
        9 => ResponseBody::Pong(id),
        10 => {
            let build = Build { version: text(), target: text(), ..Build::default() };
            ResponseBody::Health(id, Box::new(build), [None, Some(true)][input.below(2)])
        }
        11 => ResponseBody::Info(id, Info::Versions(input.byte(), 8), Level::Error),
        _ => ResponseBody::Info(id, Info::Refused(text()), Level::Warn),
    }
}

/// What was put into bundles comes out of them, in order and within the bound.
fn bundles(payload: &[u8], input: &mut Input<'_>) {
    let (mut bundle, mut full, mut put) = (Bundle::default(), Vec::new(), Vec::new());
    for _ in 0..input.below(6) {
        let packet = payload.repeat(input.below(256));
        match bundle.push(&packet) {
            Ok(before) => {
                full.extend(before);
                put.push(packet);
            }
            Err(_) => assert!(packet.len() > PACKET_MAX),
        }
    }
    full.extend(bundle.take());
    assert!(full.iter().all(|bundle| bundle.len() <= BUNDLE_MAX) && bundle.is_empty());
    let out = full.iter().flat_map(|bundle| packets(bundle)).map(|packet| packet.unwrap().to_vec());
    assert_eq!(out.collect::<Vec<_>>(), put);
}

fn read(bytes: &[u8], seen: &mut Seen) {
    let request = Request::parse(bytes);
    if let Ok(request) = &request {
        assert_eq!(Request::parse(&request.to_bytes()).as_ref(), Ok(request));
        if let RequestBody::Data(bundle) = request.body {
            let whole: usize = packets(bundle).flatten().map(|packet| packet.len() + 2).sum();
            assert!(whole <= bundle.len());
        }
    }
    let response = Response::parse(bytes);
    if let Ok(response) = &response {
        assert_eq!(Response::parse(&response.to_bytes()).as_ref(), Ok(response));
    }
    let frame = Frame::parse(bytes);
    if let Ok(frame) = &frame {
        assert!(
            Frame::begins(bytes) && request.is_err(),
            "a frame is no message that stands alone"
        );
        assert_eq!(Frame::parse(&frame.to_bytes()).as_ref(), Ok(frame));
    }
    for (at, read) in [request.is_ok(), response.is_ok(), frame.is_ok()].into_iter().enumerate() {
        *(if read { &mut seen.read[at] } else { &mut seen.refused[at] }) += 1;
    }
}
