//! Bytes worked out by hand after bincode and the fields of stock messages, and what is refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn at(date: (i32, Month, u8), time: (u8, u8, u8, u32), offset: (i8, i8, i8)) -> OffsetDateTime {
    let date = Date::from_calendar_date(date.0, date.1, date.2).unwrap();
    let time = Time::from_hms_nano(time.0, time.1, time.2, time.3).unwrap();
    let offset = UtcOffset::from_hms(offset.0, offset.1, offset.2).unwrap();
    OffsetDateTime::new_in_offset(date, time, offset)
}

fn noon() -> OffsetDateTime {
    at((2024, Month::January, 1), (12, 59, 59, 500_000_000), (0, 0, 0))
}

fn asked(version: Version, id: u64, sent: OffsetDateTime, ask: Ask) -> Request<'static> {
    Request { version, body: RequestBody::Control(Control { id, sent, ask }) }
}

#[test]
fn requests_are_encoded_as_the_format_says() {
    let connect = |buffer_timeout_ms| Ask::Connect { buffer_timeout_ms };
    let odd = at((2026, Month::November, 25), (23, 1, 2, 250), (-3, -30, -15));
    let old = at((-44, Month::March, 15), (0, 0, 0, 0), (0, 0, 0));
    let sent = "fb0fd0010c3b3bfc1dcd6500000000";
    let known = [
        (asked(Version::V8, 123, noon(), connect(None)), format!("080101007b00{sent}")),
        (
            asked(Version::V10, u64::MAX, odd, connect(Some(250))),
            "0a010100fdffffffffffffffff01fafb0fd4fb0149170102fafde2f1".into(),
        ),
        (
            asked(Version::V9, 251, old, connect(Some(70_000))),
            "09010100fb00fb01fc00011170574b00000000000000".into(),
        ),
        (asked(Version::V9, 65_535, noon(), Ask::Disconnect), format!("09010101fbffff{sent}")),
        (asked(Version::V8, 65_536, noon(), Ask::Ping), format!("08010102fc00010000{sent}")),
        (asked(Version::V10, 250, noon(), Ask::Health), format!("0a010103fa{sent}")),
        (
            Request { version: Version::V8, body: RequestBody::Data(&[0, 3, 0x45, 1, 2]) },
            "080100050003450102".into(),
        ),
        (
            Request { version: Version::V9, body: RequestBody::Data(&[7; 300]) },
            format!("090100fb012c{}", "07".repeat(300)),
        ),
    ];
    for (request, hex) in known {
        assert_eq!(request.to_bytes(), bytes(&hex), "{request:?}");
        assert_eq!(Request::parse(&bytes(&hex)), Ok(request));
    }
}

/// What each router says of its program, in ten words of one letter.
fn build() -> Box<Build> {
    let [binary, built, version, commit, committed, branch, rustc, channel, profile, target] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(String::from);
    Box::new(Build {
        binary,
        built,
        version,
        commit,
        committed,
        branch,
        rustc,
        channel,
        profile,
        target,
    })
}

#[test]
fn answers_are_encoded_as_the_format_says() {
    use Version::{V8, V9, V10};
    let (v4, v6): (Ipv4Addr, Ipv6Addr) =
        ("10.0.3.4".parse().unwrap(), "fc00::304".parse().unwrap());
    let given = |mtu| ResponseBody::Connect(300, Ok(Assigned { v4, v6, mtu }));
    let not = |why| ResponseBody::Connect(300, Err(why));
    let stays = |why| ResponseBody::Disconnect(1, Err(why));
    let ips = "0a000304fc000000000000000000000000000304";
    let built = "016101620163016401650166016701680169016a";
    let known: Vec<(Version, ResponseBody<'_>, String)> = vec![
        (V9, ResponseBody::Data(&[0, 1, 0x60]), "090003000160".into()),
        (V8, given(MTU_FALLBACK), format!("080100fb012c00{ips}")),
        (V10, given(1420), format!("0a0100fb012c00{ips}fb058c")),
        (V8, not(ConnectRefusal::AlreadyConnected), "080100fb012c0100".into()),
        (V9, not(ConnectRefusal::NoAddressLeft), "090100fb012c0101".into()),
        (V9, not(ConnectRefusal::Other("no\u{e9}".into())), "090100fb012c0102046e6fc3a9".into()),
        (V8, ResponseBody::Disconnect(1, Ok(())), "0801010100".into()),
        (V8, stays(DisconnectRefusal::NotConnected), "080101010100".into()),
        (V8, stays(DisconnectRefusal::Other("x".into())), "0801010101010178".into()),
        (V8, ResponseBody::CutOff(Disconnection::SilentClient), "08010200".into()),
        (V9, ResponseBody::CutOff(Disconnection::SilentNetwork), "09010201".into()),
        (
            V10,
            ResponseBody::CutOff(Disconnection::Other("stops".into())),
            "0a0102020573746f7073".into(),
        ),
        (V9, ResponseBody::Pong(70_000), "090103fc00011170".into()),
        (V8, ResponseBody::Health(5, build(), Some(true)), format!("08010405{built}0101")),
        (V8, ResponseBody::Health(5, build(), None), format!("08010405{built}00")),
        (
            V8,
            ResponseBody::Info(0, Info::Text("hi".into()), Level::Info),
            "080105000002686900".into(),
        ),
        (
            V8,
            ResponseBody::Info(0, Info::Versions(255, 8), Level::Error),
            "0801050001ff0802".into(),
        ),
        (
            V9,
            ResponseBody::Info(0, Info::Refused("10.0.0.1:22".into()), Level::Warn),
            "09010500020b31302e302e302e313a323201".into(),
        ),
    ];
    for (version, body, hex) in known {
        let response = Response { version, body };
        assert_eq!(response.to_bytes(), bytes(&hex), "{response:?}");
        assert_eq!(Response::parse(&bytes(&hex)), Ok(response));
    }
}

#[test]
fn frames_are_encoded_as_the_format_says() {
    let frame = Frame {
        stream: 0x0102_0304_0506_0708,
        kind: FrameKind::Data,
        sequence: 0x0a0b_0c0d,
        content: b"xy",
    };
    let hex = "03000102030405060708010a0b0c0d007879";
    assert_eq!(frame.to_bytes(), bytes(hex));
    assert_eq!(Frame::parse(&bytes(hex)), Ok(frame));
    assert_eq!(Frame::parse(&bytes(hex)[..15]), Err(IprError::TooShort));
    assert_eq!(Frame::parse(&bytes("0300010203040506070802000000000000")), Err(IprError::Kind(2)));
    assert_eq!(
        Frame::parse(&bytes("0003010203040506070801000000000000")),
        Err(IprError::Kind(768))
    );
}

#[test]
fn what_is_no_message_is_refused() {
    let right = asked(Version::V8, 1, noon(), Ask::Ping).to_bytes();
    for end in 0..right.len() {
        assert_eq!(Request::parse(&right[..end]), Err(IprError::TooShort), "{end}");
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = right.clone();
        bytes[at] = byte;
        Request::parse(&bytes).map(drop)
    };
    assert_eq!(with(0, 7), Err(IprError::Version(7)));
    assert_eq!(with(0, 11), Err(IprError::Version(11)));
    assert_eq!(with(1, 0), Err(IprError::Provider(0)));
    assert_eq!(with(2, 2), Err(IprError::Kind(2)));
    assert_eq!(with(3, 4), Err(IprError::Kind(4)));
    assert_eq!(with(4, 254), Err(IprError::Field("number")));
    assert_eq!(with(9, 24), Err(IprError::Field("timestamp")));
    let longer = [right, vec![0]].concat();
    assert_eq!(Request::parse(&longer), Err(IprError::TooLong));
    let boast = bytes("080100fdffffffffffffffff00");
    assert_eq!(Request::parse(&boast), Err(IprError::TooShort));
    let text = Response {
        version: Version::V8,
        body: ResponseBody::Info(0, Info::Text("a".repeat(2000)), Level::Info),
    };
    let cut = Response::parse(text.to_bytes().leak()).unwrap().body;
    assert_eq!(cut, ResponseBody::Info(0, Info::Text("a".repeat(1024)), Level::Info));
}

#[test]
fn a_bundle_that_is_cut_off_ends_with_an_error() {
    let bundle = [&[0, 2, 8, 9][..], &[0, 0], &[0, 3, 1, 2]].concat();
    let found: Vec<_> = packets(&bundle).collect();
    assert_eq!(found, [Ok(&[8, 9][..]), Ok(&[][..]), Err(IprError::TooShort)]);
    assert_eq!(packets(&[]).count(), 0);
    assert_eq!(packets(&[0]).collect::<Vec<_>>(), [Err(IprError::TooShort)]);
    assert_eq!(Bundle::default().push(&[0; PACKET_MAX + 1]), Err(IprError::TooLong));
}
