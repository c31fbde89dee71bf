//! `cargo xtask tidy`: the rules of STYLE.md that a program can check.

mod comments;
mod dead;
mod functions;
mod house;
mod lines;

use std::path::Path;

use crate::metadata::{self, Package};
use crate::report::{self, Finding};
use crate::tree::Tree;

/// Lines of a file.
const FILE_LINES: usize = 500;
/// Lines of a file of tests, benchmarks or tables.
const TEST_FILE_LINES: usize = 800;
/// Lines between the braces of a function.
const FUNCTION_LINES: usize = 60;
/// Characters of a line.
const LINE_CHARS: usize = 100;

/// Runs all checks; true if nothing was found.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let tree = Tree::load(root)?;
    let members = metadata::members(root)?;
    let looked_at = format!("{} files", tree.files.len());
    Ok(report::print("tidy", &looked_at, check(&tree, &members)))
}

fn check(tree: &Tree, members: &[Package]) -> Vec<Finding> {
    let mut findings = dead::check(tree, members);
    findings.extend(house::check(tree, members));
    for (path, file) in &tree.files {
        findings.extend(lines::check(path, &file.text));
    }
    for (path, text) in tree.rust() {
        findings.extend(functions::check(path, text));
        findings.extend(comments::check(path, text));
    }
    findings
}

/// What a file is, as far as the rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rust,
    Script,
    Prose,
    Settings,
    /// Data, licences and whatever a program wrote.
    Other,
}

fn kind(path: &str, text: &str) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("rs") => Kind::Rust,
        Some("sh" | "bash" | "py" | "js" | "mjs" | "css") => Kind::Script,
        Some("md") => Kind::Prose,
        Some("toml" | "yml" | "yaml" | "gitignore" | "editorconfig" | "gitattributes") => {
            Kind::Settings
        }
        _ if text.starts_with("#!") => Kind::Script,
        _ => Kind::Other,
    }
}

/// A word that must not itself stand in this source.
fn word(head: &str, tail: &str) -> String {
    format!("{head}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_name_and_first_line() {
        assert_eq!(kind("a/b.rs", ""), Kind::Rust);
        assert_eq!(kind(".ci/run", "#!/usr/bin/env bash\n"), Kind::Script);
        assert_eq!(kind(".gitignore", ""), Kind::Settings);
        assert_eq!(kind("LICENSE", ""), Kind::Other);
        assert_eq!(kind("perf/run.json", ""), Kind::Other);
    }

    #[test]
    fn every_check_is_run() {
        let long = format!("#[test]\nfn f() {{\n{}}}\n", "    g();\n".repeat(61));
        let marked = format!("// {}: later\n", word("TO", "DO"));
        let tree = Tree::of(&[
            ("a/Cargo.toml", "[package]\n"),
            ("a/src/lib.rs", long.as_str()),
            ("a/src/dead.rs", "//! No one declares this. \n"),
            ("a/src/marked.rs", marked.as_str()),
        ]);
        let roots = vec!["a/src/lib.rs".to_owned()];
        let member = Package { dir: "a".to_owned(), roots, ..Package::default() };
        let mut found: Vec<_> = check(&tree, &[member]).into_iter().map(|it| it.path).collect();
        found.sort();
        let expected = ["a/Cargo.toml", "a/src/dead.rs", "a/src/dead.rs", "a/src/lib.rs"];
        assert_eq!(found[..4], expected);
        assert!(found.contains(&"a/src/marked.rs".to_owned()));
    }
}
