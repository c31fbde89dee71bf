//! Imports between the rooms of the engine, outside of tests; and that the engine is without std.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::modules::{self, Module};
use crate::report::Finding;
use crate::tokens::{self, group, is_path_sep, is_sign, is_word};
use crate::tree::Tree;

use super::{ENGINE, ROOMS, Room};

/// A path that starts at the crate root: `crate::wire::frame` is `["wire", "frame"]`.
struct Reference {
    /// Module that the path stands in.
    from: Vec<String>,
    target: Vec<String>,
    line: usize,
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let root = format!("{ENGINE}/lib.rs");
    let mut findings = Vec::new();
    for module in modules::of_crate(tree, &root).iter().filter(|module| !module.test_only) {
        let text = tree.text(&module.file).unwrap_or_default();
        let Ok(stream) = tokens::lex(text) else {
            findings.push(Finding::new(&module.file, 0, "cannot be split into tokens"));
            continue;
        };
        let stream = tokens::without_tests(stream);
        if module.file == root && !is_no_std(&stream) {
            findings.push(Finding::new(&root, 0, "the engine must say #![no_std]"));
        }
        findings.extend(names_of_std(&module.file, stream.clone()));
        findings.extend(check_module(module, stream));
    }
    findings
}

fn check_module(module: &Module, stream: TokenStream) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(first) = module.path.first()
        && room_of(&module.path).is_none()
    {
        let message = format!("add the room `{first}` to the table in scripts/src/layers.rs");
        findings.push(Finding::new(&module.file, 0, message));
        return findings;
    }
    let mut references = Vec::new();
    collect(stream, &module.path, &mut references);
    for reference in references {
        if let Some(room) = room_of(&reference.from)
            && let Some(message) = judge(room, &reference.target)
        {
            findings.push(Finding::new(&module.file, reference.line, message));
        }
    }
    findings
}

/// The entry of the table that says most about the module at `path`.
fn room_of(path: &[String]) -> Option<&'static Room> {
    let fitting = ROOMS.iter().filter(|room| covers(room.name, path));
    fitting.max_by_key(|room| room.name.len())
}

/// True if `path` is the room `name` or lies in it.
fn covers(name: &str, path: &[String]) -> bool {
    name.split("::").enumerate().all(|(at, part)| path.get(at).is_some_and(|it| it == part))
}

/// What is wrong with naming `target` in `room`, if anything is.
fn judge(room: &Room, target: &[String]) -> Option<String> {
    if [room.name].iter().chain(room.sees).any(|seen| covers(seen, target)) {
        return None;
    }
    let path = target.join("::");
    let first = target.first()?;
    let known = ROOMS.iter().any(|other| other.name.split("::").next() == Some(first.as_str()));
    if !known {
        return Some(format!("crate::{path}: name the room, not what the crate root re-exports"));
    }
    let sees = if room.sees.is_empty() { "nothing".to_owned() } else { room.sees.join(", ") };
    Some(format!("`{}` may not see crate::{path}; it sees {sees}", room.name))
}

/// Finds all paths that begin with `crate::` or lead up with `super::`.
fn collect(stream: TokenStream, module: &[String], out: &mut Vec<Reference>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens.get(at);
        if is_word(token, "mod")
            && let Some(name) = tokens::word(tokens.get(at + 1))
            && let Some(body) = group(tokens.get(at + 2), Delimiter::Brace)
        {
            let inner: Vec<String> = module.iter().cloned().chain([name]).collect();
            collect(body.stream(), &inner, out);
            at += 3;
        } else if (is_word(token, "crate") || is_word(token, "super"))
            && is_path_sep(&tokens, at + 1)
        {
            let mut base = if is_word(token, "crate") { Vec::new() } else { above(module) };
            at += 3;
            while is_word(tokens.get(at), "super") && is_path_sep(&tokens, at + 1) {
                base.pop();
                at += 3;
            }
            at = path(&tokens, at, &base, module, out);
        } else {
            if let Some(TokenTree::Group(inner)) = token {
                collect(inner.stream(), module, out);
            }
            at += 1;
        }
    }
}

fn above(module: &[String]) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

/// Reads the rest of a path (with its `{...}` lists) from `at`, and returns where it ends.
fn path(
    tokens: &[TokenTree],
    mut at: usize,
    base: &[String],
    module: &[String],
    out: &mut Vec<Reference>,
) -> usize {
    let mut target = base.to_vec();
    let line = tokens.get(at).map_or(0, tokens::line);
    loop {
        if let Some(list) = group(tokens.get(at), Delimiter::Brace) {
            let inner: Vec<TokenTree> = list.stream().into_iter().collect();
            for branch in inner.split(|token| is_sign(Some(token), ',')) {
                if !branch.is_empty() {
                    path(branch, 0, &target, module, out);
                }
            }
            return at + 1;
        }
        if is_sign(tokens.get(at), '*') {
            target.push("*".to_owned());
            at += 1;
            break;
        }
        let Some(name) = tokens::word(tokens.get(at)) else { break };
        at += 1;
        if name != "self" {
            target.push(name);
        }
        if !is_path_sep(tokens, at) {
            break;
        }
        at += 2;
    }
    // A macro stands at the crate root wherever it was written.
    if !(target.len() == 1 && is_sign(tokens.get(at), '!')) {
        out.push(Reference { from: module.to_vec(), target, line });
    }
    at
}

fn is_no_std(stream: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
    tokens.windows(3).any(|three| {
        is_sign(three.first(), '#')
            && is_sign(three.get(1), '!')
            && group(three.get(2), Delimiter::Bracket)
                .is_some_and(|inner| inner.stream().to_string() == "no_std")
    })
}

fn names_of_std(file: &str, stream: TokenStream) -> Vec<Finding> {
    let tokens = tokens::flat(stream);
    let names = (0..tokens.len()).filter(|&at| {
        let is_crate = at > 0 && is_word(tokens.get(at - 1), "crate");
        is_word(tokens.get(at), "std") && (is_path_sep(&tokens, at + 1) || is_crate)
    });
    let message = "the engine may not name std";
    names.map(|at| Finding::new(file, tokens::line(&tokens[at]), message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "#![no_std]\npub mod pool; pub mod shard; pub mod units; pub mod wire;";

    /// Findings for an engine whose file `path` holds `text`; the usual other files are there.
    fn with(path: &str, text: &str) -> Vec<String> {
        let path = format!("{ENGINE}/{path}");
        let mut tree = Tree::of(&[
            ("engine/src/lib.rs", ROOT),
            ("engine/src/pool.rs", ""),
            ("engine/src/shard.rs", ""),
            ("engine/src/units.rs", ""),
            ("engine/src/wire/mod.rs", "mod frame; mod geometry;"),
            ("engine/src/wire/frame.rs", ""),
            ("engine/src/wire/geometry.rs", ""),
        ]);
        tree.files.entry(path).or_default().text = text.to_owned();
        check(&tree).into_iter().map(|it| format!("{}: {}", it.line, it.message)).collect()
    }

    #[test]
    fn rooms_may_see_what_the_table_says() {
        assert_eq!(with("pool.rs", "use crate::{limits::A, wire::{self, frame::B}};"), [""; 0]);
        assert_eq!(with("shard.rs", "use crate::pool::Pool; fn f() { crate::wire::x() }"), [""; 0]);
        assert_eq!(with("wire/frame.rs", "use super::geometry::A; use crate::limits;"), [""; 0]);
    }

    #[test]
    fn an_import_from_above_is_found() {
        let found = with("pool.rs", "use crate::units::A;\nuse crate::shard::B;");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("2: `pool` may not see crate::shard::B"), "{found:?}");
        assert_eq!(with("pool.rs", "use crate::{units::A, shard::B};").len(), 1);
        assert_eq!(with("pool.rs", "use crate::wire::{frame, geometry};").len(), 0);
        assert_eq!(with("units.rs", "use crate::wire::{frame::A, geometry::{B, C}};").len(), 3);
    }

    #[test]
    fn paths_in_bodies_macros_and_through_super_are_found() {
        assert_eq!(with("pool.rs", "fn f() { crate::shard::g(); }").len(), 1);
        assert_eq!(with("pool.rs", "macro_rules! m { () => { $crate::shard::g() } }").len(), 1);
        assert_eq!(with("pool.rs", "use super::shard;").len(), 1);
        assert_eq!(with("pool.rs", "mod a { use super::super::shard; }").len(), 1);
        assert_eq!(with("wire/frame.rs", "use super::super::pool::Pool;").len(), 1);
    }

    #[test]
    fn a_stricter_part_of_a_room_is_judged_by_itself() {
        assert_eq!(with("wire/geometry.rs", "use crate::limits::A;").len(), 1);
        assert_eq!(with("wire/geometry.rs", "use super::frame::A;").len(), 1);
        assert_eq!(with("wire/geometry.rs", "use crate::units::A;").len(), 0);
    }

    #[test]
    fn tests_may_see_everything() {
        let text = "#[cfg(test)] mod tests { extern crate std; use crate::shard::B; }";
        assert_eq!(with("pool.rs", text), [""; 0]);
    }

    #[test]
    fn re_exports_of_the_root_are_no_way_around() {
        assert_eq!(with("pool.rs", "use crate::Shard;").len(), 1);
        assert_eq!(with("pool.rs", "use crate::*;").len(), 1);
        assert_eq!(with("pool.rs", "crate::count!(a);").len(), 0);
    }

    #[test]
    fn a_new_room_must_be_added_to_the_table() {
        let tree = Tree::of(&[
            ("engine/src/lib.rs", "#![no_std] mod attic;"),
            ("engine/src/attic.rs", ""),
        ]);
        let found = check(&tree);
        assert_eq!((found.len(), found[0].path.as_str()), (1, "engine/src/attic.rs"));
        assert!(found[0].message.contains("add the room `attic`"));
    }

    #[test]
    fn std_is_found() {
        assert_eq!(with("pool.rs", "use std::time::Instant;").len(), 1);
        assert_eq!(with("pool.rs", "fn f() { ::std::process::exit(1) }").len(), 1);
        assert_eq!(with("pool.rs", "extern crate std;").len(), 1);
        assert_eq!(with("lib.rs", "mod pool;"), ["0: the engine must say #![no_std]"]);
    }
}
