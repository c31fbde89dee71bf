//! Target: a SOCKS5 handshake, starting from right ones that are changed, cut and cut up.

use phix_client::socks5::handshake::{Handshake, MESSAGE_MAX, Refusal, Step};
use phix_client::socks5::login::Login;

use crate::input::Input;

/// What inputs have led to.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connected: u64,
    pub(crate) waiting: u64,
    pub(crate) refused: [u64; Refusal::ALL.len()],
}

/// How a conversation ended: the step, what was said until then, bytes taken.
type End = (Step, Vec<u8>, usize);

/// One conversation in which bytes come in chunks.
fn converse(login: Option<&Login>, said: &[u8], mut chunk: impl FnMut() -> usize) -> End {
    let mut handshake = Handshake::new(login);
    let (mut answers, mut taken, mut came) = (Vec::new(), 0, 0);
    loop {
        let (used, step) = handshake.step(&said[taken..came]);
        taken += used;
        assert!(taken <= came, "no more is taken than there is");
        match step {
            Step::Read if came < said.len() => came = said.len().min(came + chunk()),
            Step::Read => {
                assert!(came - taken < MESSAGE_MAX, "what is long enough is decided");
                return (Step::Read, answers, taken);
            }
            Step::Say(bytes) => answers.extend(bytes),
            last => return (last, answers, taken),
        }
    }
}

fn right(input: &mut Input<'_>, login: bool) -> Vec<u8> {
    let mut said = if login { vec![5, 2, 0, 2, 1, 1, b'a', 1, b'b'] } else { vec![5, 1, 0] };
    said.extend([5, 1, 0]);
    match input.below(3) {
        0 => said.extend([1, 192, 0, 2, 1]),
        1 => {
            said.push(4);
            said.extend(input.array::<16>());
        }
        _ => {
            let name = input.slice(20);
            said.extend([3, name.len() as u8]);
            said.extend(name.iter().map(|byte| b'a' + byte % 26));
        }
    }
    said.extend(input.array::<2>());
    said.extend(input.slice(8));
    said
}

pub(crate) fn observe(data: &[u8], seen: &mut Seen) {
    let mut input = Input::new(data);
    let login = Login::new("a", "b").unwrap();
    let login = input.byte().is_multiple_of(2).then_some(&login);
    let mut said = right(&mut input, login.is_some());
    for _ in 0..input.below(3) {
        let (at, byte) = (input.below(said.len().max(1)), input.byte());
        match input.below(3) {
            0 => said.truncate(at),
            1 => said.insert(at, byte),
            _ => said.iter_mut().skip(at).take(1).for_each(|place| *place = byte % 8),
        }
    }
    let whole = converse(login, &said, || MESSAGE_MAX);
    assert_eq!(whole, converse(login, &said, || 1), "it does not matter how bytes come");
    assert_eq!(whole, converse(login, &said, || 1 + input.below(9)));
    match &whole.0 {
        Step::Connect(target) => {
            // What goes to the exit is one host and one port.
            let text = target.to_string();
            let (host, port) = text.rsplit_once(':').unwrap();
            assert!(!host.is_empty() && port.parse::<u16>().is_ok(), "{text}");
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            seen.connected += 1;
        }
        Step::Refuse(refusal, _) => {
            let known = Refusal::ALL.iter().position(|other| other == refusal).unwrap();
            seen.refused[known] += 1;
        }
        Step::Read | Step::Say(_) => seen.waiting += 1,
    }
}
