//! Rust source as token trees: leaving out tests, finding comments, reading paths.
//!
//! Token trees are enough for every rule here, need no grammar and also show what macros contain.

use std::ops::Range;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Splits `text` into token trees, or says on which line that fails.
pub(crate) fn lex(text: &str) -> Result<TokenStream, usize> {
    text.parse::<TokenStream>().map_err(|error| error.span().start().line)
}

/// Line of a token, from 1.
pub(crate) fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

/// True if `token` is the identifier or keyword `word`.
pub(crate) fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

/// The identifier or keyword that `token` is, if it is one.
pub(crate) fn word(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

/// True if `token` is the punctuation character `sign`.
pub(crate) fn is_sign(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// True if `::` stands at `at`.
pub(crate) fn is_path_sep(tokens: &[TokenTree], at: usize) -> bool {
    is_sign(tokens.get(at), ':') && is_sign(tokens.get(at + 1), ':')
}

/// The group with this delimiter that `token` is, if it is one.
pub(crate) fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// All tokens in a row, groups flattened (their brackets left out).
pub(crate) fn flat(tokens: TokenStream) -> Vec<TokenTree> {
    let mut out = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => out.extend(flat(group.stream())),
            leaf => out.push(leaf),
        }
    }
    out
}

/// The same tokens without what is compiled for tests only: items under `#[cfg(test)]`, `#[test]`.
pub(crate) fn without_tests(tokens: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_file_of_tests(&tokens, at) {
            return TokenStream::new();
        }
        if is_sign(tokens.get(at), '#') && is_test_attribute(tokens.get(at + 1)) {
            at = after_item(&tokens, at);
            continue;
        }
        out.push(match &tokens[at] {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), without_tests(group.stream()));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            leaf => leaf.clone(),
        });
        at += 1;
    }
    out.into_iter().collect()
}

/// True if `#![cfg(test)]` stands at `at`.
pub(crate) fn is_file_of_tests(tokens: &[TokenTree], at: usize) -> bool {
    let inner = is_sign(tokens.get(at), '#') && is_sign(tokens.get(at + 1), '!');
    inner && is_test_attribute(tokens.get(at + 2))
}

/// True for the bracketed part of `#[test]`, `#[cfg(test)]` and conditions that imply `test`.
pub(crate) fn is_test_attribute(token: Option<&TokenTree>) -> bool {
    let Some(attribute) = group(token, Delimiter::Bracket) else { return false };
    let tokens: Vec<TokenTree> = attribute.stream().into_iter().collect();
    match word(tokens.first()).as_deref() {
        Some("test") => tokens.len() == 1,
        Some("cfg") => group(tokens.get(1), Delimiter::Parenthesis)
            .is_some_and(|condition| implies_test(condition.stream())),
        _ => false,
    }
}

fn implies_test(condition: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.into_iter().collect();
    let parts = |of: &Group| -> Vec<bool> {
        let inner: Vec<TokenTree> = of.stream().into_iter().collect();
        let split = inner.split(|token| is_sign(Some(token), ',')).filter(|part| !part.is_empty());
        split.map(|part| implies_test(part.iter().cloned().collect())).collect()
    };
    match (word(tokens.first()).as_deref(), group(tokens.get(1), Delimiter::Parenthesis)) {
        (Some("test"), None) => tokens.len() == 1,
        (Some("all"), Some(of)) => parts(of).contains(&true),
        (Some("any"), Some(of)) => !parts(of).contains(&false),
        _ => false,
    }
}

/// Index after the item that starts at `at`: after its closing brace or semicolon.
fn after_item(tokens: &[TokenTree], at: usize) -> usize {
    let ends = |token: &TokenTree| {
        is_sign(Some(token), ';') || group(Some(token), Delimiter::Brace).is_some()
    };
    tokens[at..].iter().position(ends).map_or(tokens.len(), |length| at + length + 1)
}

/// What lies between the tokens: white space and comments, but not doc comments, which are tokens.
/// Each piece comes with the line that it starts on.
pub(crate) fn gaps<'a>(text: &'a str, tokens: &TokenStream) -> Vec<(usize, &'a str)> {
    let mut spans = Vec::new();
    leaf_spans(tokens.clone(), &mut spans);
    spans.push(text.len()..text.len());
    spans.sort_by_key(|span| span.start);
    let mut out = Vec::new();
    let (mut at, mut line) = (0, 1);
    for span in spans {
        if span.start > at {
            out.push((line, &text[at..span.start]));
        }
        if span.end > at {
            line += text[at..span.end].matches('\n').count();
            at = span.end;
        }
    }
    out
}

fn leaf_spans(tokens: TokenStream, out: &mut Vec<Range<usize>>) {
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            out.push(group.span_open().byte_range());
            leaf_spans(group.stream(), out);
            out.push(group.span_close().byte_range());
        } else {
            out.push(token.span().byte_range());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let tokens = flat(without_tests(lex(text).unwrap()));
        tokens.iter().filter_map(|token| word(Some(token))).collect()
    }

    #[test]
    fn tests_are_left_out_and_their_neighbours_stay() {
        let text = "use a; #[cfg(test)] mod tests { use b; } #[cfg(test)] mod more; use c;";
        assert_eq!(words(text), ["use", "a", "use", "c"]);
        assert_eq!(words("mod m { #[test] fn t() { x } fn u() {} }"), ["mod", "m", "fn", "u"]);
        assert_eq!(words("#![cfg(test)] use a;"), [""; 0]);
        assert_eq!(words("#[cfg(all(test, unix))] use a; use b;"), ["use", "b"]);
    }

    #[test]
    fn what_is_also_compiled_without_tests_stays() {
        assert!(words("#[cfg(not(test))] use a;").contains(&"a".to_owned()));
        assert!(words("#[cfg(any(test, unix))] use a;").contains(&"a".to_owned()));
    }

    #[test]
    fn gaps_are_comments_but_not_strings_or_docs() {
        let text =
            "//! doc\n// one\nfn f() { \"// é no\"; /* two */ }\n// three\n/// doc\nfn g() {}\n";
        let tokens = lex(text).unwrap();
        let comments: Vec<_> = gaps(text, &tokens)
            .into_iter()
            .map(|(line, gap)| (line, gap.trim()))
            .filter(|(_, gap)| !gap.is_empty())
            .collect();
        assert_eq!(comments, [(1, "// one"), (3, "/* two */"), (3, "// three")]);
    }

    #[test]
    fn a_file_that_does_not_lex_says_where() {
        assert_eq!(lex("fn f() {}\n}").unwrap_err(), 2);
    }
}
