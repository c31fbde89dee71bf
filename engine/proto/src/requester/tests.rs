//! The bytes are what nym-socks5-requests 1.21.6 writes.

use super::*;
use crate::message::Recipient;

const NAME: u64 = 0x0102_0304_0506_0708;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().as_chunks::<2>().0;
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.iter().map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request(form: Form, body: Body<'_>, hexed: &str) {
    let request = Request { form, body };
    assert_eq!(hex(&request.encode().unwrap()), hexed);
    assert_eq!(Request::parse(&bytes(hexed)), Ok(request));
}

fn response(form: Form, content: Content<'_>, hexed: &str) {
    let response = Response::new(form, content);
    assert_eq!(hex(&response.encode().unwrap()), hexed);
    assert_eq!(Response::parse(&bytes(hexed)), Ok(response));
}

fn recipient() -> Recipient {
    "3KRydEpanwjFhq5GAraVjRUF1Tno7w7oc4EwJYTGNo5J.RgZ7uMJHruBQqD5hC9Ghi3sqiTn6NycfM5qCfJz6yoM\
     @9Byd9VAtyYMnbVAcqdoQxJnq76XEg2dbxbiF5Aa5Jj9J"
        .parse()
        .unwrap()
}

#[test]
fn requests_have_the_bytes_of_stock_clients() {
    let target: Target = "example.org:443".parse().unwrap();
    let connect = |return_address| {
        Body::Connect(Connect { connection: NAME, target: target.clone(), return_address })
    };
    let plain = "000102030405060708000f6578616d706c652e6f72673a343433";
    let send = "01000000000000303901000000000000002a0203";
    let data = Data { connection: 12345, sequence: 42, closed: true, bytes: &[2, 3] };
    for (form, head) in [(Form::Unversioned, "00"), (Form::Current, "030103")] {
        request(form, connect(None), &format!("{head}{plain}"));
        let with_address = format!("{head}{plain}{}", hex(&recipient().to_bytes()));
        request(form, connect(Some(recipient())), &with_address);
        request(form, Body::Send(data), &format!("{head}{send}"));
    }
    for (query, hexed) in [
        (Query::OpenProxy, "0301030200"),
        (Query::Description, "0301030201"),
        (Query::ExitPolicy, "0301030202"),
    ] {
        request(Form::Current, Body::Query(query), hexed);
    }
    for (control, hexed) in
        [(Control::Health, "030000"), (Control::Binary, "030001"), (Control::Versions, "030002")]
    {
        request(Form::Current, Body::Control(control), hexed);
    }
}

#[test]
fn answers_have_the_bytes_of_stock_requesters() {
    let data = Data { connection: 12345, sequence: 42, closed: true, bytes: &[2, 3] };
    let error = Content::ConnectionError { connection: 12345, reason: "no" };
    for (form, head) in [(Form::Unversioned, ""), (Form::Current, "030103")] {
        let hexed = format!("{head}01010000000000003039000000000000002a0203");
        response(form, Content::NetworkData(data), &hexed);
        response(form, error.clone(), &format!("{head}0200000000000030396e6f"));
    }
    let query = |answer, hexed: &str| response(Form::Current, Content::Query(answer), hexed);
    query(Answer::OpenProxy(true), "030103030001");
    query(Answer::Description("xxx".into()), "030103030103787878");
    let long = format!("0301030301fb012c{}", "78".repeat(300));
    query(Answer::Description("x".repeat(300)), &long);
    let rule = |accept, addresses: &str, ports| ExitRule {
        accept,
        only_v6: addresses == "*6",
        addresses: addresses.into(),
        ports,
    };
    let policy = Answer::ExitPolicy {
        enabled: true,
        upstream: "u".into(),
        policy: Some(vec![
            rule(false, "10.0.0.0/8", (1, 65535)),
            rule(true, "*", (443, 443)),
            rule(true, "*6", (80, 8080)),
        ]),
    };
    query(
        policy,
        "0301030302010175010301\
         0a31302e302e302e302f3801fbffff\
         00012afb01bbfb01bb\
         02022a3650fb1f90",
    );
    let none = Answer::ExitPolicy { enabled: false, upstream: String::new(), policy: None };
    query(none, "0301030302000000");
    query(Answer::Error("no".into()), "0301030303026e6f");
    response(Form::Current, Content::Control(ControlAnswer::Health), "030000");
}

#[test]
fn versions_are_told_as_stock_software_tells_them() {
    let answer = Response::new(Form::Current, Content::Control(ControlAnswer::versions()));
    let written = answer.encode().unwrap();
    assert_eq!(written[..3], [3, 0, 2]);
    let json = r#"{"interface_version":"{\"type\":\"Versioned\",\"version\":3}","#;
    assert!(str::from_utf8(&written[3..]).unwrap().starts_with(json));
    assert_eq!(Response::parse(&written), Ok(answer));
}

#[test]
fn what_is_no_message_is_refused_for_its_reason() {
    use RequesterError as E;
    let read = |hexed: &str| Request::parse(&bytes(hexed)).map(|_| ()).unwrap_err();
    assert_eq!(read(""), E::TooShort);
    assert_eq!(read("04"), E::Version(4));
    assert_eq!(read("030104"), E::Version(4));
    assert_eq!(read("0302"), E::Kind(2));
    assert_eq!(read("0007"), E::Kind(7));
    assert_eq!(read("000200"), E::NotInThisForm);
    assert_eq!(read("030103020000"), E::TooLong);
    assert_eq!(read("03010301000000000000303901000000000000"), E::TooShort);
    let connect = |target: &str, rest: &str| {
        let len = target.len();
        let head = format!("03010300{NAME:016x}{len:04x}{}{rest}", hex(target.as_bytes()));
        read(&head)
    };
    assert_eq!(connect("example.org", ""), E::Target(TargetError::Port));
    assert_eq!(connect("exa mple.org:1", ""), E::Target(TargetError::Host));
    assert_eq!(connect("a:1", "00"), E::TooShort);
    assert_eq!(connect("a:1", &"00".repeat(97)), E::TooLong);
    assert_eq!(connect(&format!("{}:1", "a".repeat(300)), ""), E::Text);
    // A number that is written longer than it must be, and a text longer than the message.
    let answer = |hexed: &str| Response::parse(&bytes(hexed)).map(|_| ()).unwrap_err();
    assert_eq!(answer("0301030301fb000378787878"), E::Number);
    assert_eq!(answer("0301030301fc0000012c78"), E::Number);
    assert_eq!(answer("030103030103787"), E::TooShort);
}

#[test]
fn targets_are_names_and_addresses() {
    let read = |text: &str| text.parse::<Target>().map(|target| target.to_string());
    assert_eq!(read("example.org:80").as_deref(), Ok("example.org:80"));
    assert_eq!(read("10.0.0.1:80").as_deref(), Ok("10.0.0.1:80"));
    // As stock clients write IPv6, and as everybody else does.
    assert_eq!(read("2001:db8:0:0:0:0:0:1:443").as_deref(), Ok("[2001:db8::1]:443"));
    assert_eq!(read("[::1]:443").as_deref(), Ok("[::1]:443"));
    for port in ["a", "a:", "a:0", "a:65536", "a:+80", "a:080000"] {
        assert_eq!(read(port), Err(TargetError::Port), "{port}");
    }
    let long = format!("{}:80", "a".repeat(64));
    for host in [":80", "a..b:80", ".a:80", "[1.2.3.4]:80", "[a]:80", "a b:80", "\u{e9}:80", &long]
    {
        assert_eq!(read(host), Err(TargetError::Host), "{host}");
    }
}
