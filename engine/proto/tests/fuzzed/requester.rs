//! Target: all that a network requester and its clients read of each other, and the order of what
//! a connection carries.

use std::collections::BTreeMap;

use phix_proto::requester::{Ordered, Request, Response, Target};

use crate::input::Input;

/// What inputs have led to, by kind of input.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) read: [u64; KINDS],
    pub(crate) refused: [u64; KINDS],
}

/// Kinds of inputs.
pub(crate) const KINDS: usize = 4;

const TARGETS: [fn(&mut Input<'_>) -> bool; KINDS] = [request, response, target, ordered];

#[cfg_attr(test, expect(dead_code, reason = "the entry for a fuzzer; tests observe"))]
pub(crate) fn run(data: &[u8]) {
    observe(data, &mut Seen::default());
}

pub(crate) fn observe(data: &[u8], seen: &mut Seen) {
    let mut input = Input::new(data);
    let kind = input.below(KINDS);
    match TARGETS[kind](&mut input) {
        true => seen.read[kind] += 1,
        false => seen.refused[kind] += 1,
    }
}

/// A request that is read is written and read again as the same.
fn request(input: &mut Input<'_>) -> bool {
    let mut bytes = head(input);
    bytes.push(input.byte() % 4);
    if bytes.last() == Some(&0) {
        bytes.extend(input.array::<8>());
        let target = text(input);
        bytes.extend([0, target.len() as u8]);
        bytes.extend_from_slice(target.as_bytes());
    } else {
        bytes.extend(input.slice(30));
    }
    let Ok(request) = Request::parse(&bytes) else { return false };
    let written = request.encode().expect("a form that was read can be written");
    assert_eq!(Request::parse(&written).as_ref(), Ok(&request));
    true
}

/// As for requests.
fn response(input: &mut Input<'_>) -> bool {
    let mut bytes = head(input);
    if bytes == [0] {
        bytes.clear();
    }
    bytes.push(input.byte() % 5);
    bytes.extend(input.slice(60));
    if input.below(2) == 0 {
        // The kinds of answers to queries: texts and rules in bincode.
        bytes = vec![3, 1, 3, 3, input.byte() % 5, input.byte() % 2];
        bytes.extend([1, b'u', 1, 1, input.byte() % 3, 1, b'*']);
        bytes.extend([input.byte(), input.byte(), input.byte()]);
        bytes.truncate(6 + input.below(12));
    }
    let Ok(response) = Response::parse(&bytes) else { return false };
    let written = response.encode().expect("a form that was read can be written");
    assert_eq!(Response::parse(&written).as_ref(), Ok(&response));
    true
}

fn head(input: &mut Input<'_>) -> Vec<u8> {
    match input.below(8) {
        0 => vec![input.byte(), input.byte(), input.byte()],
        1..3 => vec![0],
        3 => vec![3, 0],
        _ => vec![3, 1, 3],
    }
}

/// Texts that look like targets.
fn text(input: &mut Input<'_>) -> String {
    const PARTS: [&str; 12] = [
        "::1",
        "[2001:db8::7]",
        "10.0.0.1",
        "example",
        ".org",
        "a-b",
        ":443",
        ":80",
        ":0",
        ":",
        ".",
        "é",
    ];
    (0..1 + input.below(4)).map(|_| PARTS[input.below(PARTS.len())]).collect()
}

/// A target is written as it is read again.
fn target(input: &mut Input<'_>) -> bool {
    let Ok(target) = text(input).parse::<Target>() else { return false };
    assert_ne!(target.port, 0);
    assert_eq!(target.to_string().parse(), Ok(target));
    true
}

/// Whatever comes, in whatever order: what is taken out is a prefix of what came, in order.
fn ordered(input: &mut Input<'_>) -> bool {
    const MOST: usize = 2048;
    let mut ordered = Ordered::new(MOST);
    let (mut came, mut taken, mut refused) = (BTreeMap::new(), 0, false);
    while !input.is_empty() {
        let step = input.byte();
        if step >= 0xe0 {
            if let Some(data) = ordered.take() {
                assert_eq!(Some(&data), came.get(&taken));
                taken += 1;
            }
            continue;
        }
        let sequence = match step & 0x1f {
            0x1f => u64::from_be_bytes(input.array()),
            near => near.into(),
        };
        let data = vec![input.byte(); usize::from(step >> 5) * 10];
        match ordered.insert(sequence, data.clone(), input.byte() == 1) {
            Ok(()) => assert!(came.insert(sequence, data).is_none()),
            Err(_) => refused = true,
        }
        assert!(ordered.weight() <= MOST);
        assert!(ordered.gap().is_none_or(|gap| !came.contains_key(&gap)));
    }
    while let Some(data) = ordered.take() {
        assert_eq!(Some(&data), came.get(&taken));
        taken += 1;
    }
    assert!(!came.contains_key(&taken));
    !refused
}
