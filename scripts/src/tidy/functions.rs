//! Lengths of functions, and macros that have no place in finished code.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::report::Finding;
use crate::tokens::{self, group, is_sign, is_word};

use super::FUNCTION_LINES;

const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    match tokens::lex(text) {
        Ok(stream) => scan(path, stream, &mut findings),
        Err(line) => findings.push(Finding::new(path, line, "cannot be split into tokens")),
    }
    findings
}

fn scan(path: &str, stream: TokenStream, findings: &mut Vec<Finding>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        if is_word(Some(token), "fn")
            && let Some(name) = tokens::word(tokens.get(at + 1))
            && let Some(lines) = body_lines(&tokens[at..])
            && lines > FUNCTION_LINES
        {
            let message = format!("function `{name}` has {lines} lines; at most {FUNCTION_LINES}");
            findings.push(Finding::new(path, tokens::line(token), message));
        }
        if let Some(name) = tokens::word(Some(token))
            && UNFINISHED.contains(&name.as_str())
            && is_sign(tokens.get(at + 1), '!')
        {
            findings.push(Finding::new(
                path,
                tokens::line(token),
                format!("`{name}!` is left over"),
            ));
        }
        if let TokenTree::Group(inner) = token {
            scan(path, inner.stream(), findings);
        }
    }
}

/// Lines strictly between the braces of the function that starts `tokens`; nothing if it has no
/// body.
fn body_lines(tokens: &[TokenTree]) -> Option<usize> {
    let is_end = |token: &&TokenTree| {
        is_sign(Some(token), ';') || group(Some(token), Delimiter::Brace).is_some()
    };
    let body = group(tokens.iter().find(is_end), Delimiter::Brace)?;
    let (open, close) = (body.span_open().start().line, body.span_close().end().line);
    Some((close - open).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_body(lines: usize) -> String {
        format!("impl A {{\n    fn long() {{\n{}    }}\n}}\n", "        g();\n".repeat(lines))
    }

    #[test]
    fn a_long_function_is_found_at_its_line() {
        assert_eq!(check("a.rs", &with_body(60)), []);
        let found = check("a.rs", &with_body(61));
        assert_eq!(found, [Finding::new("a.rs", 2, "function `long` has 61 lines; at most 60")]);
    }

    #[test]
    fn functions_inside_of_macros_count() {
        assert_eq!(check("a.rs", &format!("proptest! {{ {} }}", with_body(61))).len(), 1);
    }

    #[test]
    fn declarations_and_pointers_have_no_body() {
        let text = "trait A { fn a(); fn b(f: fn(u8)) -> [u8; 2]; }\nstruct B { f: fn() }\n";
        let long = format!("{text}mod m {{{}}}", "\n".repeat(90));
        assert_eq!(check("a.rs", &long), []);
    }

    #[test]
    fn left_over_macros_are_found_in_code_only() {
        let call = |name: &str| format!("fn f() {{ {name}!(); }}");
        assert!(UNFINISHED.iter().all(|name| check("a.rs", &call(name)).len() == 1));
        assert_eq!(check("a.rs", "const A: &str = \"todo!()\"; // todo!()"), []);
    }

    #[test]
    fn a_broken_file_is_a_finding() {
        assert_eq!(check("a.rs", "fn f() {\n").len(), 1);
    }
}
