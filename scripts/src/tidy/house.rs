//! Rules about the project as a whole: manifests, scripts, and what no file may name.

use crate::metadata::Package;
use crate::report::Finding;
use crate::tree::{File, Tree};

use super::word;

/// Where the lock file says that crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(tree: &Tree, members: &[Package]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        members.iter().filter_map(|member| inherits_lints(tree, member)).collect();
    for (path, file) in &tree.files {
        findings.extend(script(path, file));
        findings.extend(sources(path, &file.text));
        findings.extend(machine_paths(path, &file.text));
    }
    findings
}

fn inherits_lints(tree: &Tree, member: &Package) -> Option<Finding> {
    let path = format!("{}/Cargo.toml", member.dir);
    let inherits = match tree.text(&path)?.parse::<toml::Table>() {
        Ok(manifest) => {
            let value = manifest.get("lints").and_then(|lints| lints.get("workspace"));
            value.and_then(toml::Value::as_bool) == Some(true)
        }
        Err(_) => false,
    };
    let message = "must inherit the workspace's lints: [lints] workspace = true";
    (!inherits).then(|| Finding::new(&path, 0, message))
}

/// Shell scripts stop at the first error and can be run.
fn script(path: &str, file: &File) -> Vec<Finding> {
    let first = file.text.lines().next().unwrap_or_default();
    let is_shell = first.starts_with("#!") && (first.ends_with("sh") || first.contains("bash "));
    if !is_shell && !path.ends_with(".sh") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut lines = file.text.lines().enumerate();
    let command = lines.find(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let (at, command) = command.unwrap_or((0, ""));
    let strict = command.strip_prefix("set -").is_some_and(|flags| {
        let flags = flags.split(' ').next().unwrap_or_default();
        flags.contains('e') && flags.contains('u')
    });
    if !strict {
        let message = "the first command of a script must be `set -euo pipefail` (sh: `set -eu`)";
        findings.push(Finding::new(path, at + 1, message));
    }
    if !file.executable {
        findings.push(Finding::new(path, 0, "a script must be executable"));
    }
    findings
}

/// Crates come from the default registry, under its own name.
fn sources(path: &str, text: &str) -> Vec<Finding> {
    let is_lock = path.ends_with("Cargo.lock");
    let is_config = path.ends_with(".cargo/config.toml") || path.ends_with(".cargo/config");
    let bad = |line: &str| {
        let from_elsewhere = is_lock
            && line.strip_prefix("source = ").is_some_and(|it| it.trim_matches('"') != REGISTRY);
        let redirects =
            is_config && ["[source", "[registr"].iter().any(|head| line.trim().starts_with(head));
        from_elsewhere || redirects
    };
    let message = "crates must come from the default registry";
    let lines = text.lines().enumerate().filter(|(_, line)| bad(line));
    lines.map(|(at, _)| Finding::new(path, at + 1, message)).collect()
}

/// A path of the machine that a file was made on helps no one and may say too much.
fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let roots = ["home/", "root/", "work/"].map(|tail| word("/", tail));
    let names = |line: &str, root: &String| {
        line.match_indices(root.as_str()).any(|(at, _)| {
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~*}>)/".contains(c))
        })
    };
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if roots.iter().any(|root| names(line, root)) {
            findings.push(Finding::new(path, at + 1, "absolute path of a machine"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_inherited() {
        let member = |dir: &str| Package { dir: dir.to_owned(), ..Package::default() };
        let tree = Tree::of(&[
            ("a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n"),
            ("b/Cargo.toml", "lints.workspace = true\n[package]\n"),
            ("c/Cargo.toml", "[package]\n[lints.rust]\nunsafe_code = \"allow\"\n"),
        ]);
        let members = ["a", "b", "c"].map(member);
        let found: Vec<_> = check(&tree, &members).into_iter().map(|it| it.path).collect();
        assert_eq!(found, ["c/Cargo.toml"]);
    }

    #[test]
    fn scripts_are_strict_and_executable() {
        let count = |path: &str, text: &str, executable| {
            script(path, &File { text: text.to_owned(), executable }).len()
        };
        let good = "#!/usr/bin/env bash\n# Why.\n\nset -euo pipefail\n";
        assert_eq!(count("run", good, true), 0);
        assert_eq!(count("run", good, false), 1);
        assert_eq!(count("run", "#!/bin/sh\necho\n", true), 1);
        assert_eq!(count("a.sh", "set -o pipefail\n", true), 1);
        assert_eq!(count("a.py", "#!/usr/bin/env python3\n", false), 0);
    }

    #[test]
    fn other_registries_are_found() {
        let lock = |source: &str| sources("Cargo.lock", &format!("source = \"{source}\"\n")).len();
        assert_eq!(lock(REGISTRY), 0);
        assert_eq!(lock("registry+https://mirror.example/index"), 1);
        assert_eq!(lock("git+https://example.org/a"), 1);
        assert_eq!(sources(".cargo/config.toml", "[source.crates-io]\n").len(), 1);
        assert_eq!(sources(".cargo/config.toml", "[alias]\n").len(), 0);
    }

    #[test]
    fn paths_of_machines_are_found() {
        let count = |text: &str| machine_paths("a.md", text).len();
        for root in ["home", "root", "work"] {
            assert_eq!(count(&format!("see /{root}/someone/file")), 1, "{root}");
            assert_eq!(count(&format!("https://a.org/{root}/x and a/{root}/b")), 0, "{root}");
        }
    }
}
