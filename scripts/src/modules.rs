//! Which files a crate is made of: follows `mod` declarations from the crate root.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::tokens;
use crate::tree::Tree;

/// One file of a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) file: String,
    /// Path of the module below the crate, `["wire", "frame"]`; empty for the crate root.
    pub(crate) path: Vec<String>,
    /// True if the file is compiled for tests only.
    pub(crate) test_only: bool,
}

/// All files that are reachable from the crate root `root`, itself included.
pub(crate) fn of_crate(tree: &Tree, root: &str) -> Vec<Module> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let first = Module { file: root.to_owned(), path: Vec::new(), test_only: false };
    let mut open = vec![(first, directory(root).to_owned())];
    while let Some((mut module, home)) = open.pop() {
        let Some(text) = tree.text(&module.file) else { continue };
        if !seen.insert(module.file.clone()) {
            continue;
        }
        if let Ok(stream) = tokens::lex(text) {
            let leaves: Vec<TokenTree> = stream.clone().into_iter().collect();
            module.test_only |= (0..leaves.len()).any(|at| tokens::is_file_of_tests(&leaves, at));
            let mut scan = Scan { tree, home, module: &module, out: &mut open };
            scan.tokens(stream, &[], module.test_only);
        }
        found.push(module);
    }
    found
}

/// The part of a path before its last `/`; empty if there is none.
pub(crate) fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

struct Scan<'a> {
    tree: &'a Tree,
    /// Where the files of this module's children lie.
    home: String,
    module: &'a Module,
    out: &'a mut Vec<(Module, String)>,
}

impl Scan<'_> {
    /// Looks for declarations in `stream`, which lies within the inline modules `inside`.
    fn tokens(&mut self, stream: TokenStream, inside: &[String], test_only: bool) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut attributes: Vec<TokenTree> = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let after_hash = at > 0 && tokens::is_sign(tokens.get(at - 1), '#');
            match token {
                TokenTree::Group(group)
                    if after_hash && group.delimiter() == Delimiter::Bracket =>
                {
                    attributes.push(token.clone());
                    continue;
                }
                TokenTree::Ident(ident) if ident == "mod" => {
                    let test = test_only
                        || attributes.iter().any(|it| tokens::is_test_attribute(Some(it)));
                    self.declaration(&tokens[at + 1..], inside, &attributes, test);
                }
                TokenTree::Ident(ident) if ident == "include" => {
                    self.include(&tokens[at + 1..], test_only);
                }
                TokenTree::Group(group) if !is_module_body(&tokens, at) => {
                    self.tokens(group.stream(), inside, test_only);
                }
                _ => {}
            }
            let is_visibility = matches!(token, TokenTree::Ident(ident) if ident == "pub")
                || tokens::group(Some(token), Delimiter::Parenthesis).is_some();
            if !is_visibility && !tokens::is_sign(Some(token), '#') {
                attributes.clear();
            }
        }
    }

    /// `rest` is what follows `mod`: a name, then `;` or a body.
    fn declaration(
        &mut self,
        rest: &[TokenTree],
        inside: &[String],
        attributes: &[TokenTree],
        test_only: bool,
    ) {
        let Some(name) = tokens::word(rest.first()) else { return };
        let name = name.trim_start_matches("r#").to_owned();
        let inner: Vec<String> = inside.iter().cloned().chain([name.clone()]).collect();
        if let Some(body) = tokens::group(rest.get(1), Delimiter::Brace) {
            return self.tokens(body.stream(), &inner, test_only);
        }
        if !tokens::is_sign(rest.get(1), ';') {
            return;
        }
        let path: Vec<String> = self.module.path.iter().cloned().chain(inner).collect();
        let mut push = |file: String, home: String| {
            self.out.push((Module { file, path: path.clone(), test_only }, home));
        };
        if let Some(given) = attributes.iter().find_map(path_attribute) {
            let file = join(&[directory(&self.module.file), &given]);
            let home = directory(&file).to_owned();
            return push(file, home);
        }
        let home = join(&[self.home.as_str(), &inside.join("/"), &name]);
        for file in [format!("{home}.rs"), format!("{home}/mod.rs")] {
            if self.tree.files.contains_key(&file) {
                push(file, home.clone());
            }
        }
    }

    /// `rest` is what follows `include`: `!`, then a literal in brackets.
    fn include(&mut self, rest: &[TokenTree], test_only: bool) {
        if let Some(TokenTree::Group(group)) = rest.get(1)
            && let Some(TokenTree::Literal(literal)) = group.stream().into_iter().next()
        {
            let name = literal.to_string();
            let file = join(&[directory(&self.module.file), name.trim_matches('"')]);
            let path = self.module.path.clone();
            self.out.push((Module { file, path, test_only }, self.home.clone()));
        }
    }
}

fn is_module_body(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && tokens::is_word(tokens.get(at - 2), "mod")
}

/// The file that `#[path = "file"]` names.
fn path_attribute(attribute: &TokenTree) -> Option<String> {
    let inner = tokens::group(Some(attribute), Delimiter::Bracket)?.stream();
    let tokens: Vec<TokenTree> = inner.into_iter().collect();
    match tokens.get(2) {
        Some(TokenTree::Literal(file)) if tokens::is_word(tokens.first(), "path") => {
            Some(file.to_string().trim_matches('"').to_owned())
        }
        _ => None,
    }
}

/// Joins components and resolves `.` and `..`.
fn join(parts: &[impl AsRef<str>]) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in parts.iter().flat_map(|part| part.as_ref().split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(out.pop()),
            name => out.push(name),
        }
    }
    out.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(tree: &Tree) -> Vec<(String, String, bool)> {
        let mut all: Vec<_> = of_crate(tree, "a/src/lib.rs")
            .into_iter()
            .map(|module| (module.file, module.path.join("::"), module.test_only))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn declarations_lead_to_files() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "pub mod b; mod c; mod inline { mod e; } other! { mod f; }"),
            ("a/src/b.rs", "mod d;"),
            ("a/src/b/d.rs", ""),
            ("a/src/c/mod.rs", "#[path = \"../odd.rs\"] mod x; const _: () = include!(\"i.rs\");"),
            ("a/src/c/i.rs", ""),
            ("a/src/odd.rs", ""),
            ("a/src/inline/e.rs", ""),
            ("a/src/f.rs", ""),
            ("a/src/lost.rs", ""),
        ]);
        let found = files(&tree);
        let paths: Vec<&str> = found.iter().map(|(_, path, _)| path.as_str()).collect();
        assert_eq!(paths, ["b", "b::d", "c", "c", "f", "inline::e", "", "c::x"]);
        assert!(found.iter().all(|(file, ..)| file != "a/src/lost.rs"));
    }

    #[test]
    fn files_of_tests_are_known() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "#[cfg(test)] pub(crate) mod tests; mod plain; mod marked;"),
            ("a/src/tests.rs", "mod deeper;"),
            ("a/src/tests/deeper.rs", ""),
            ("a/src/plain.rs", ""),
            ("a/src/marked.rs", "//! Doc.\n#![cfg(test)]"),
        ]);
        let tests: Vec<_> = files(&tree).into_iter().filter(|file| file.2).map(|f| f.1).collect();
        assert_eq!(tests, ["marked", "tests", "tests::deeper"]);
    }
}
