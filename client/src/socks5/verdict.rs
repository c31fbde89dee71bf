//! What an application is told when an exit does not connect it.

use super::wire::ReplyCode;

/// Words of exits, in lower case, and what they stand for; the first that is there decides. An exit
/// gives a reason as a sentence and nothing else: its own about its policy, mostly the operating
/// system's about the rest.
const WORDS: [(&str, ReplyCode); 19] = [
    ("policy", ReplyCode::NotAllowed),
    ("does not connect to", ReplyCode::NotAllowed),
    ("not allowed", ReplyCode::NotAllowed),
    ("not permitted", ReplyCode::NotAllowed),
    ("forbidden", ReplyCode::NotAllowed),
    ("allow list", ReplyCode::NotAllowed),
    ("allowlist", ReplyCode::NotAllowed),
    ("connection refused", ReplyCode::Refused),
    ("refuses", ReplyCode::Refused),
    ("network is unreachable", ReplyCode::NetworkUnreachable),
    ("network unreachable", ReplyCode::NetworkUnreachable),
    ("timed out", ReplyCode::TimedOut),
    ("time limit", ReplyCode::TimedOut),
    ("in time", ReplyCode::TimedOut),
    ("too late", ReplyCode::TimedOut),
    ("host", ReplyCode::HostUnreachable),
    ("name", ReplyCode::HostUnreachable),
    ("lookup", ReplyCode::HostUnreachable),
    ("resolve", ReplyCode::HostUnreachable),
];

/// The code for an exit's reason.
pub fn code(reason: &str) -> ReplyCode {
    let reason = reason.to_ascii_lowercase();
    let known = WORDS.iter().find(|(words, _)| reason.contains(words));
    known.map_or(ReplyCode::Failure, |(_, code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_as_what_they_are() {
        let table = [
            ("Connection refused (os error 111)", ReplyCode::Refused),
            ("Network is unreachable (os error 101)", ReplyCode::NetworkUnreachable),
            ("No route to host (os error 113)", ReplyCode::HostUnreachable),
            ("connection timed out", ReplyCode::TimedOut),
            ("Connection timed out (os error 110)", ReplyCode::TimedOut),
            (
                "failed to lookup address information: Name or service not known",
                ReplyCode::HostUnreachable,
            ),
            ("this exit does not connect to that target", ReplyCode::NotAllowed),
            ("the target refuses the connection", ReplyCode::Refused),
            ("no way leads to the host of the target", ReplyCode::HostUnreachable),
            ("the target did not answer in time", ReplyCode::TimedOut),
            ("the name of the target has no address", ReplyCode::HostUnreachable),
            ("the exit policy forbids example.org:25", ReplyCode::NotAllowed),
            ("no reason", ReplyCode::Failure),
            ("", ReplyCode::Failure),
        ];
        for (reason, expected) in table {
            assert_eq!(code(reason), expected, "{reason}");
        }
    }
}
