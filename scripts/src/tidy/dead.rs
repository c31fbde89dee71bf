//! Rust files that no crate reaches.

use std::collections::BTreeSet;

use crate::metadata::Package;
use crate::modules::{self, directory};
use crate::report::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree, members: &[Package]) -> Vec<Finding> {
    let roots = members.iter().flat_map(|member| &member.roots);
    let alive: BTreeSet<String> =
        roots.flat_map(|root| modules::of_crate(tree, root)).map(|module| module.file).collect();
    let mut findings = Vec::new();
    for (path, _) in tree.rust().filter(|(path, _)| !alive.contains(*path)) {
        // Packages outside of the workspace (fuzzing) and loose files are not ours to judge.
        if members.iter().any(|member| Some(member.dir.as_str()) == home(tree, path)) {
            let message = "no crate reaches this file: declare it with `mod`, or delete it";
            findings.push(Finding::new(path, 0, message));
        }
    }
    findings
}

/// Directory of the package that the file at `path` lies in.
fn home<'a>(tree: &Tree, path: &'a str) -> Option<&'a str> {
    let mut dir = directory(path);
    while !dir.is_empty() {
        if tree.files.contains_key(&format!("{dir}/Cargo.toml")) {
            return Some(dir);
        }
        dir = directory(dir);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_declaration_is_dead() {
        let tree = Tree::of(&[
            ("a/Cargo.toml", ""),
            ("a/src/lib.rs", "mod b;"),
            ("a/src/b.rs", ""),
            ("a/src/dead.rs", ""),
            ("a/tests/t.rs", "mod common;"),
            ("a/tests/common/mod.rs", ""),
            ("a/tests/common/dead.rs", ""),
            ("a/fuzz/Cargo.toml", ""),
            ("a/fuzz/src/main.rs", ""),
            ("perf/loose.rs", ""),
        ]);
        let roots = vec!["a/src/lib.rs".to_owned(), "a/tests/t.rs".to_owned()];
        let member = Package { dir: "a".to_owned(), roots, ..Package::default() };
        let found: Vec<_> = check(&tree, &[member]).into_iter().map(|it| it.path).collect();
        assert_eq!(found, ["a/src/dead.rs", "a/tests/common/dead.rs"]);
    }
}
