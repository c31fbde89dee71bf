//! Shows messages of strangers without letting them speak to the terminal.

use crate::topology::PublicKey;

/// An address for examples and local tests: no client has it, and any last hop that shows what
/// arrives takes messages for it.
pub const EXAMPLE_ADDRESS: &str = "7ZKwhnvNeQEaueDSpspV1J6Y8k9zoPx1YEXFnSq5z3Kq";

/// A delivered message and whom it is for, as one line.
pub fn describe(destination: &[u8; 32], message: &[u8]) -> String {
    format!("to {}: {}", PublicKey(*destination), line(message))
}

/// A message as one line: its text if it is printable, else its size and the front of its hash.
pub fn line(message: &[u8]) -> String {
    harmless(message).map_or_else(
        || {
            let hash = blake3::hash(message).to_hex();
            format!("[{} bytes, BLAKE3 {}]", message.len(), &hash[..16])
        },
        str::to_owned,
    )
}

/// The text of a message, if it has printable characters only, and at least one.
pub fn harmless(message: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(message).ok()?;
    (!text.is_empty() && text.chars().all(is_harmless)).then_some(text)
}

/// Whether a character has only its own look. Control characters steer terminals; characters of
/// direction and of no width (Unicode, categories Cf and Zl, Zp) make text look like other text.
fn is_harmless(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_an_address() {
        let bytes = bs58::decode(EXAMPLE_ADDRESS).into_vec().unwrap();
        let shown = describe(bytes.as_slice().try_into().unwrap(), b"hello");
        assert_eq!(shown, format!("to {EXAMPLE_ADDRESS}: hello"));
    }

    #[test]
    fn text_is_shown_and_nothing_else() {
        assert_eq!(line("grüße, 世界 🦀".as_bytes()), "grüße, 世界 🦀");
        for message in [
            &b""[..],
            b"\x1b[2J",
            b"a\nb",
            b"a\rb",
            b"\xff\xfe",
            "\u{9b}31m".as_bytes(),
            "abc\u{202e}def".as_bytes(),
            "a\u{200b}b".as_bytes(),
        ] {
            let shown = line(message);
            assert!(shown.starts_with(&format!("[{} bytes", message.len())), "{shown}");
            assert!(shown.is_ascii() && !shown.contains(char::is_control));
        }
    }
}
