//! Lengths of files and lines, white space, and marks of unfinished work.

use crate::report::Finding;

use super::{FILE_LINES, Kind, LINE_CHARS, TEST_FILE_LINES, kind, word};

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let kind = kind(path, text);
    if kind == Kind::Other || text.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut note = |line: usize, message: String| findings.push(Finding::new(path, line, message));
    let count = text.lines().count();
    let limit = file_limit(path);
    if matches!(kind, Kind::Rust | Kind::Script) && count > limit {
        note(0, format!("{count} lines; at most {limit}"));
    }
    if !text.ends_with('\n') {
        note(count, "no newline at the end of the file".to_owned());
    }
    if text.ends_with("\n\n") {
        note(count, "empty line at the end of the file".to_owned());
    }
    let marks = [word("TO", "DO"), word("FIX", "ME"), word("XX", "X")];
    for (at, line) in text.split('\n').enumerate() {
        let chars = line.chars().count();
        if chars > LINE_CHARS && !may_be_long(kind, line) {
            note(at + 1, format!("{chars} characters; at most {LINE_CHARS}"));
        }
        if line.ends_with([' ', '\t', '\r']) {
            note(at + 1, "white space at the end of the line".to_owned());
        }
        if kind == Kind::Rust && line.contains('\t') {
            note(at + 1, "tab".to_owned());
        }
        if kind != Kind::Prose
            && let Some(mark) = marks.iter().find(|mark| has_word(line, mark))
        {
            note(at + 1, format!("{mark}: finish it, or write down where it is tracked"));
        }
    }
    findings
}

fn file_limit(path: &str) -> usize {
    let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
    let in_tests = directories.split('/').any(|dir| matches!(dir, "tests" | "benches"));
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let is_table = ["tests", "table", "tables", "vectors"]
        .iter()
        .any(|word| stem == *word || stem.ends_with(&format!("_{word}")));
    if in_tests || is_table { TEST_FILE_LINES } else { FILE_LINES }
}

/// Addresses cannot be broken, nor rows of a Markdown table or inline tables of TOML.
fn may_be_long(kind: Kind, line: &str) -> bool {
    let is_row = kind == Kind::Prose && line.trim_start().starts_with('|');
    is_row || kind == Kind::Settings || line.contains("://")
}

/// True if `word` stands in `line` and is not part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        check(path, text).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn long_files_are_found_and_tests_may_be_longer() {
        let (long, longer) = ("//\n".repeat(501), "//\n".repeat(801));
        assert_eq!(found("a/src/b.rs", &long), [0]);
        assert_eq!(found("a/src/b.rs", &long[3..]), [0; 0]);
        for path in ["a/tests/b.rs", "a/src/b/tests.rs", "a/benches/b.rs", "a/src/mul_table.rs"] {
            assert_eq!(found(path, &long), [0; 0], "{path}");
            assert_eq!(found(path, &longer), [0], "{path}");
        }
    }

    #[test]
    fn long_lines_are_found_and_addresses_are_not() {
        let line = |head: &str| format!("{head}{}\n", "é".repeat(101 - head.len()));
        assert_eq!(found("a.rs", &line("// ")), [1]);
        assert_eq!(found("a.rs", &line("// ").replacen('é', "", 1)), [0; 0]);
        assert_eq!(found("a.rs", &line("// https://a.b/")), [0; 0]);
        assert_eq!(found("a.md", &line("")), [1]);
        assert_eq!(found("a.md", &line("| ")), [0; 0]);
        assert_eq!(found("a.svg", &line("")), [0; 0]);
    }

    #[test]
    fn white_space_is_checked() {
        assert_eq!(found("a.rs", "a \nb\n"), [1]);
        assert_eq!(found("a.rs", "a\n\tb\n"), [2]);
        assert_eq!(found("a.rs", "a\nb"), [2]);
        assert_eq!(found("a.md", "a\n\n"), [2]);
        assert_eq!(found("a.rs", "a\r\n"), [1]);
        assert_eq!(found("a.bin", "a "), [0; 0]);
    }

    #[test]
    fn marks_of_unfinished_work_are_found() {
        let mark = word("TO", "DO");
        assert_eq!(found("a.rs", &format!("// {mark}: more\n")), [1]);
        assert_eq!(found("a.sh", &format!("# ({mark})\n")), [1]);
        assert_eq!(found("a.rs", &format!("// {mark}S or A{mark}\n")), [0; 0]);
        assert_eq!(found("a.md", &format!("No {mark}.\n")), [0; 0]);
    }
}
