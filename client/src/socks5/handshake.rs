//! What an application says before its connection is relayed, as a state machine without I/O.
//!
//! ```text
//! application: 5 | number of methods | methods          server: 5 | method
//! application: 1 | length | name | length | password    server: 1 | 0           (RFC 1929)
//! application: 5 | command | 0 | kind | address | port  server: 5 | code | 0 | 1 | 0.0.0.0:0
//! ```

use phix_proto::requester::Target;

use super::login::Login;
use super::wire::{
    self, CONNECT, LOGIN, LOGIN_VERSION, NO_LOGIN, NO_METHOD, ReplyCode, TargetError, VERSION,
    reply,
};

/// Bytes that the longest of these messages has: a name and a password of 255 bytes each.
pub const MESSAGE_MAX: usize = 3 + 2 * 255;

/// Why an application is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It speaks another version of SOCKS, or something else.
    Version,
    /// It has no way to log in that is wanted here.
    Method,
    /// Its name or password is not the one.
    Login,
    /// It wants something else than to connect.
    Command,
    /// Its target is of no kind that RFC 1928 knows.
    AddressKind,
    /// What it says is not of the form that RFC 1928 or RFC 1929 gives.
    Malformed,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Version,
        Self::Method,
        Self::Login,
        Self::Command,
        Self::AddressKind,
        Self::Malformed,
    ];

    /// Its name where it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "sent away: wrong version",
            Self::Method => "sent away: no login in common",
            Self::Login => "sent away: wrong login",
            Self::Command => "sent away: command not supported",
            Self::AddressKind => "sent away: address kind not supported",
            Self::Malformed => "sent away: malformed",
        }
    }
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes have to come.
    Read,
    /// These are to be sent, and it goes on.
    Say([u8; 2]),
    /// It is known what is wanted. Bytes that follow are the connection's.
    Connect(Target),
    /// These are to be sent, if any, and the connection closed.
    Refuse(Refusal, Vec<u8>),
}

enum State {
    Greeting,
    Login,
    Request,
}

/// One application's handshake.
pub struct Handshake<'a> {
    login: Option<&'a Login>,
    state: State,
}

impl<'a> Handshake<'a> {
    /// One that asks for this login; for none, if there is none.
    pub const fn new(login: Option<&'a Login>) -> Self {
        Self { login, state: State::Greeting }
    }

    /// Looks at what has come and was not taken yet; says how many bytes are taken.
    ///
    /// With [`MESSAGE_MAX`] bytes there, the step is never [`Step::Read`].
    pub fn step(&mut self, input: &[u8]) -> (usize, Step) {
        match self.state {
            State::Greeting => self.greeting(input),
            State::Login => self.password(input),
            State::Request => request(input),
        }
    }

    fn greeting(&mut self, input: &[u8]) -> (usize, Step) {
        if input.first().is_some_and(|version| *version != VERSION) {
            return refuse(Refusal::Version, &[]);
        }
        let Some((&[_, count], rest)) = input.split_first_chunk() else { return (0, Step::Read) };
        if count == 0 {
            return refuse(Refusal::Malformed, &[VERSION, NO_METHOD]);
        }
        let Some(methods) = rest.get(..usize::from(count)) else { return (0, Step::Read) };
        let (wanted, next) = match self.login {
            Some(_) => (LOGIN, State::Login),
            None => (NO_LOGIN, State::Request),
        };
        if !methods.contains(&wanted) {
            return refuse(Refusal::Method, &[VERSION, NO_METHOD]);
        }
        self.state = next;
        (2 + methods.len(), Step::Say([VERSION, wanted]))
    }

    fn password(&mut self, input: &[u8]) -> (usize, Step) {
        if input.first().is_some_and(|version| *version != LOGIN_VERSION) {
            return refuse(Refusal::Malformed, &[LOGIN_VERSION, 1]);
        }
        let Some((name, rest)) = input.get(1..).and_then(counted) else { return (0, Step::Read) };
        let Some((password, rest)) = counted(rest) else { return (0, Step::Read) };
        if !self.login.is_some_and(|login| login.is(name, password)) {
            return refuse(Refusal::Login, &[LOGIN_VERSION, 1]);
        }
        self.state = State::Request;
        (input.len() - rest.len(), Step::Say([LOGIN_VERSION, 0]))
    }
}

/// Bytes behind their number, and what follows them.
fn counted(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = input.split_first()?;
    rest.split_at_checked(usize::from(len))
}

fn request(input: &[u8]) -> (usize, Step) {
    let failed = |refusal, code| refuse(refusal, &reply(code));
    if input.first().is_some_and(|version| *version != VERSION) {
        return failed(Refusal::Version, ReplyCode::Failure);
    }
    let Some((&[_, command, reserved], rest)) = input.split_first_chunk() else {
        return (0, Step::Read);
    };
    if reserved != 0 {
        return failed(Refusal::Malformed, ReplyCode::Failure);
    }
    if command != CONNECT {
        return failed(Refusal::Command, ReplyCode::Command);
    }
    match wire::target(rest) {
        Ok((target, len)) => (3 + len, Step::Connect(target)),
        Err(TargetError::Short) => (0, Step::Read),
        Err(TargetError::Kind) => failed(Refusal::AddressKind, ReplyCode::AddressKind),
        Err(TargetError::Host) => failed(Refusal::Malformed, ReplyCode::HostUnreachable),
    }
}

fn refuse(refusal: Refusal, last_words: &[u8]) -> (usize, Step) {
    (0, Step::Refuse(refusal, last_words.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server says, byte for byte, and how it ends; `chunk` bytes come at a time.
    fn converse(
        login: Option<&Login>,
        said: &[u8],
        chunk: usize,
    ) -> (Vec<u8>, Option<Step>, usize) {
        let mut handshake = Handshake::new(login);
        let (mut answers, mut taken, mut came) = (Vec::new(), 0, 0);
        loop {
            let (used, step) = handshake.step(&said[taken..came]);
            taken += used;
            match step {
                Step::Read if came == said.len() => return (answers, None, taken),
                Step::Read => came = said.len().min(came + chunk),
                Step::Say(bytes) => answers.extend(bytes),
                last => return (answers, Some(last), taken),
            }
        }
    }

    /// The same however the bytes come.
    fn conversation(login: Option<&Login>, said: &[u8]) -> (Vec<u8>, Option<Step>, usize) {
        let whole = converse(login, said, said.len().max(1));
        for chunk in [1, 2, 3, 7] {
            assert_eq!(converse(login, said, chunk), whole, "{chunk} at a time");
        }
        whole
    }

    fn refused(login: Option<&Login>, said: &[u8]) -> (Vec<u8>, Refusal) {
        match conversation(login, said) {
            (mut answers, Some(Step::Refuse(refusal, last_words)), _) => {
                answers.extend(last_words);
                (answers, refusal)
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    const GREETING: [u8; 3] = [5, 1, 0];

    fn asking(request: &[u8]) -> Vec<u8> {
        [&GREETING, request].concat()
    }

    #[test]
    fn who_needs_no_login_connects() {
        let name = [&[5, 1, 0, 3, 11], &b"example.org"[..], &[0, 80], b"GET /"].concat();
        let (answers, last, taken) = conversation(None, &asking(&name));
        assert_eq!(answers, [5, 0]);
        assert_eq!(last, Some(Step::Connect(target("example.org:80"))));
        assert_eq!(taken, 3 + 18, "what follows is the connection's");
        let (answers, last, _) = conversation(None, &[5, 3, 1, 2, 0, 5, 1, 0, 1, 1, 2, 3, 4, 0, 9]);
        assert_eq!(answers, [5, 0]);
        assert_eq!(last, Some(Step::Connect(target("1.2.3.4:9"))));
        let v6 = [&[5, 1, 0, 4], &[0; 15][..], &[1, 1, 0]].concat();
        let (_, last, _) = conversation(None, &asking(&v6));
        assert_eq!(last, Some(Step::Connect(target("[::1]:256"))));
    }

    #[test]
    fn a_login_is_asked_for_and_checked() {
        let login = Login::new("ada", "lovelace").unwrap();
        let said = |name: &str, password: &str| {
            let counted = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
            let greeting = [5, 2, 0, 2, 1];
            [&greeting[..], &counted(name), &counted(password), &[5, 1, 0, 1, 9, 9, 9, 9, 0, 7]]
                .concat()
        };
        let (answers, last, _) = conversation(Some(&login), &said("ada", "lovelace"));
        assert_eq!(answers, [5, 2, 1, 0]);
        assert_eq!(last, Some(Step::Connect(target("9.9.9.9:7"))));
        for (name, password) in
            [("ada", "Lovelace"), ("adalove", "lace"), ("", ""), ("ada", ""), ("lovelace", "ada")]
        {
            let wrong = refused(Some(&login), &said(name, password));
            assert_eq!(wrong, (vec![5, 2, 1, 1], Refusal::Login));
        }
        assert_eq!(refused(Some(&login), &GREETING), (vec![5, 0xff], Refusal::Method));
        let other = [5, 1, 2, 5, 3];
        assert_eq!(refused(Some(&login), &other), (vec![5, 2, 1, 1], Refusal::Malformed));
    }

    #[test]
    fn every_refusal_has_its_bytes() {
        let reply = |code| vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        let after_greeting = |code| [vec![5, 0], reply(code)].concat();
        let table: [(Vec<u8>, Vec<u8>, Refusal); 11] = [
            (vec![4, 1, 0, 80], vec![], Refusal::Version),
            (b"GET / HTTP/1.1".to_vec(), vec![], Refusal::Version),
            (vec![5, 0], vec![5, 0xff], Refusal::Malformed),
            (vec![5, 2, 1, 2], vec![5, 0xff], Refusal::Method),
            (asking(&[4, 1]), after_greeting(1), Refusal::Version),
            (asking(&[5, 1, 1]), after_greeting(1), Refusal::Malformed),
            // BIND, UDP ASSOCIATE and what is not a command at all.
            (asking(&[5, 2, 0, 1, 1, 2, 3, 4, 0, 80]), after_greeting(7), Refusal::Command),
            (asking(&[5, 3, 0, 1, 1, 2, 3, 4, 0, 80]), after_greeting(7), Refusal::Command),
            (asking(&[5, 0, 0]), after_greeting(7), Refusal::Command),
            (asking(&[5, 1, 0, 2]), after_greeting(8), Refusal::AddressKind),
            (asking(&[5, 1, 0, 3, 1, b' ', 0, 80]), after_greeting(4), Refusal::Malformed),
        ];
        for (said, answered, why) in table {
            assert_eq!(refused(None, &said), (answered, why), "{said:?}");
        }
    }

    #[test]
    fn the_longest_messages_are_decided() {
        let login = Login::new("x", "y").unwrap();
        let mut handshake = Handshake::new(Some(&login));
        assert!(matches!(handshake.step(&[5, 1, 2]), (3, Step::Say(_))));
        let longest = [&[1, 255], &[0; 255][..], &[255], &[0; 255]].concat();
        assert_eq!(longest.len(), MESSAGE_MAX);
        assert_eq!(handshake.step(&longest[..MESSAGE_MAX - 1]), (0, Step::Read));
        assert!(matches!(handshake.step(&longest), (0, Step::Refuse(Refusal::Login, _))));
    }
}
