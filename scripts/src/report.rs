//! What a check found, and how it is printed: `path:line: message`, then one closing line.

use std::collections::BTreeSet;

/// One breach of a rule. Line 0 stands for the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }

    fn text(&self) -> String {
        match self.line {
            0 => format!("{}: {}", self.path, self.message),
            line => format!("{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Prints the findings in the order of paths and lines, each once. True if there are none.
pub(crate) fn print(check: &str, looked_at: &str, findings: Vec<Finding>) -> bool {
    let findings: BTreeSet<Finding> = findings.into_iter().collect();
    for finding in &findings {
        println!("{}", finding.text());
    }
    match findings.len() {
        0 => println!("{check}: {looked_at}, no findings"),
        1 => println!("{check}: {looked_at}, 1 finding"),
        more => println!("{check}: {looked_at}, {more} findings"),
    }
    findings.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_its_line_unless_it_is_about_the_file() {
        assert_eq!(Finding::new("a.rs", 7, "bad").text(), "a.rs:7: bad");
        assert_eq!(Finding::new("a.rs", 0, "bad").text(), "a.rs: bad");
    }
}
