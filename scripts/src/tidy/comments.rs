//! Comments that say nothing: banners, and code that was switched off.

use crate::report::Finding;
use crate::tokens;

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    // A file that cannot be split into tokens is reported by the check of functions.
    let Ok(stream) = tokens::lex(text) else { return Vec::new() };
    let mut findings = Vec::new();
    for (first, gap) in tokens::gaps(text, &stream) {
        for (offset, line) in gap.lines().enumerate() {
            let body = line.trim().trim_start_matches("/*").trim_end_matches("*/");
            let body = body.strip_prefix("//").unwrap_or(body).trim();
            let message = match body {
                body if is_banner(body) => "banner: let a module or a name divide the file",
                body if is_code(body) => "code in a comment: delete it",
                _ => continue,
            };
            findings.push(Finding::new(path, first + offset, message));
        }
    }
    findings
}

/// True if a comment starts or ends with a row of four equal signs of decoration.
fn is_banner(body: &str) -> bool {
    let row = |chars: &mut dyn Iterator<Item = char>| {
        let row: Vec<char> = chars.take(4).collect();
        row.len() == 4 && "=-*#~_/+".contains(row[0]) && row.iter().all(|c| *c == row[0])
    };
    row(&mut body.chars()) || row(&mut body.chars().rev())
}

/// True if a comment reads like a line of Rust and not like a sentence.
fn is_code(body: &str) -> bool {
    if matches!(body, "}" | "};" | "}," | ");" | "})" | "});" | "})?;" | "} else {") {
        return true;
    }
    let opens = ["fn ", "pub ", "impl ", "if ", "for ", "while ", "match ", "struct ", "enum "];
    if body.ends_with('{') {
        return opens.iter().any(|word| body.starts_with(word)) || body.ends_with("=> {");
    }
    let Some(statement) = body.strip_suffix(';') else { return false };
    let is_path = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || "_.:!*".contains(c))
    };
    if let Some(path) = statement.strip_prefix("use ").or(statement.strip_prefix("pub use ")) {
        return path.contains("::");
    }
    if let Some(rest) = statement.strip_prefix("let ") {
        return rest.contains(" = ");
    }
    if let Some((head, _)) = statement.split_once('(')
        && statement.ends_with([')', '?'])
    {
        return is_path(head);
    }
    statement.split_once(" = ").is_some_and(|(head, _)| is_path(head) && head.contains(['.', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check("a.rs", text).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn banners_are_found() {
        assert_eq!(lines("fn f() {}\n\n// ======\n// Part\n// ------\nfn g() {}\n"), [3, 5]);
        assert_eq!(lines("// ---- part ----\n/**** part ****/\n"), [1]);
        assert_eq!(lines("const A: &str = \"// ====\"; // a == b, c -> d\n"), [0; 0]);
    }

    #[test]
    fn switched_off_code_is_found() {
        for code in [
            "let a = b;",
            "use a::b;",
            "return_slot(a);",
            "pool.give_back(slot)?;",
            "assert!(a);",
            "self.a = 3;",
            "fn f() {",
            "if a < b {",
            "}",
        ] {
            assert_eq!(lines(&format!("fn f() {{\n    // {code}\n}}\n")), [2], "{code}");
        }
    }

    #[test]
    fn sentences_are_left_alone() {
        for prose in [
            "SAFETY: the range lies in the allocation (checked above);",
            "let the slot go;",
            "use the slot again;",
            "for a packet that has passed",
            "range.start <= range.end <= len, so the offset stays in the allocation.",
            "k = 16;",
            "The order is `free(); take();` and never the other way.",
        ] {
            assert_eq!(lines(&format!("// {prose}\nfn f() {{}}\n")), [0; 0], "{prose}");
        }
        assert_eq!(lines("/// let a = b;\nfn f() {}\n"), [0; 0]);
    }
}
