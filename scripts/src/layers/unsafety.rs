//! `unsafe` stands in named rooms only.

use proc_macro2::TokenTree;

use crate::glob;
use crate::report::Finding;
use crate::tokens;
use crate::tree::Tree;

use super::UNSAFE_ROOMS;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let elsewhere = tree
        .rust()
        .filter(|(path, _)| !UNSAFE_ROOMS.iter().any(|pattern| glob::matches(pattern, path)));
    let mut findings = Vec::new();
    for (path, text) in elsewhere {
        let Ok(stream) = tokens::lex(text) else {
            findings.push(Finding::new(path, 0, "cannot be split into tokens"));
            continue;
        };
        let is_unsafe = |token: &TokenTree| tokens::is_word(Some(token), "unsafe");
        for token in tokens::flat(stream).iter().filter(|token| is_unsafe(token)) {
            let message = "`unsafe` outside of the rooms named in scripts/src/layers.rs";
            findings.push(Finding::new(path, tokens::line(token), message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_outside_of_its_rooms() {
        let text = "#![expect(unsafe_code)]\n// unsafe\nfn f() { unsafe { g() } }";
        let tree = Tree::of(&[
            ("engine/src/pool/memory.rs", text),
            ("engine/src/crypto/x25519/avx512.rs", text),
            ("engine/io/src/uring/ring.rs", text),
            ("engine/src/wheel/mod.rs", text),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].line), ("engine/src/wheel/mod.rs", 3));
    }

    #[test]
    fn unsafe_in_tests_and_macros_counts_too() {
        let tree = Tree::of(&[
            ("node/src/a.rs", "#[cfg(test)] mod t { unsafe impl A for B {} }"),
            ("node/src/b.rs", "m! { unsafe fn f() {} }"),
            ("node/src/c.rs", "const A: &str = \"unsafe\"; /// unsafe\nfn f() {}"),
        ]);
        assert_eq!(check(&tree).len(), 2);
    }
}
