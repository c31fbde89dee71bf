//! The files of the project as a map from path to text, so that checks can be tested on a tree that
//! exists only in memory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) text: String,
    pub(crate) executable: bool,
}

/// All text files of the project, by path relative to its root, with `/` between components.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, File>,
}

impl Tree {
    /// Reads what git tracks and what it would track (untracked, not ignored). Without git, every
    /// file that lies outside of `target` and `.git`. Binary files are left out.
    pub(crate) fn load(root: &Path) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for path in git_files(root).map_or_else(|| walk(root), Ok)? {
            let full = root.join(&path);
            let Ok(meta) = fs::symlink_metadata(&full) else { continue };
            if !meta.is_file() {
                continue;
            }
            let bytes = fs::read(&full).map_err(|error| format!("cannot read {path}: {error}"))?;
            if let Ok(text) = String::from_utf8(bytes)
                && !text.contains('\0')
            {
                let executable = meta.permissions().mode() & 0o111 != 0;
                files.insert(path, File { text, executable });
            }
        }
        Ok(Self { files })
    }

    /// Text of the file at `path`, if there is one.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|file| file.text.as_str())
    }

    /// Paths and texts of all Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let rust = self.files.iter().filter(|(path, _)| path.ends_with(".rs"));
        rust.map(|(path, file)| (path.as_str(), file.text.as_str()))
    }

    /// A tree for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |text: &str| File { text: text.to_owned(), executable: false };
        Self { files: files.iter().map(|&(path, text)| (path.to_owned(), file(text))).collect() }
    }
}

/// The directory of the workspace that the current directory lies in.
pub(crate) fn root() -> Result<PathBuf, String> {
    let here = std::env::current_dir().map_err(|error| format!("no current directory: {error}"))?;
    let is_root = |dir: &&Path| {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "[workspace]")
    };
    let found = here.ancestors().find(is_root).map(Path::to_path_buf);
    found
        .ok_or_else(|| "run this inside the project: no workspace Cargo.toml found here".to_owned())
}

/// What git lists, or nothing if there is no git here.
fn git_files(root: &Path) -> Option<Vec<String>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(list).current_dir(root).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let names = String::from_utf8(output.stdout).ok()?;
    Some(names.split_terminator('\0').map(str::to_owned).collect())
}

fn walk(root: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        let entries =
            fs::read_dir(&dir).map_err(|e| format!("cannot list {}: {e}", dir.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let skipped = path.ends_with("target") || path.ends_with(".git");
            if path.is_dir() && !path.is_symlink() && !skipped {
                open.push(path);
            } else if let Ok(relative) = path.strip_prefix(root)
                && let Some(name) = relative.to_str()
            {
                found.push(name.to_owned());
            }
        }
    }
    Ok(found)
}
