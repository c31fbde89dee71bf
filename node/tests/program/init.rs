//! `init`: everything or nothing, and never over something that is there.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use crate::common::{Node, aloud, contents, done, phix, refused};

/// The user that has no rights, on every common system.
const NOBODY: u32 = 65534;

#[test]
fn makes_private_keys_and_an_explained_file() {
    let node = Node::new();
    for name in ["identity.key", "sphinx.key"] {
        let metadata = fs::metadata(node.dir.join("keys").join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600, "{name}");
    }
    let mode = fs::metadata(node.dir.join("keys")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others do not see into the keys directory");
    let file = fs::read_to_string(node.dir.join("phix-node.toml")).unwrap();
    assert!(file.contains("\nlisten = \"127.0.0.1:0\"\n"), "{file}");
    assert!(file.contains("\ncapacity = 256\n"), "{file}");
    done(&node.phix("check-config", &[]).output().unwrap());
}

#[test]
fn two_nodes_have_different_keys() {
    let (one, other) = (Node::new(), Node::new());
    for name in ["keys/identity.key", "keys/sphinx.key"] {
        let read = |node: &Node| fs::read(node.dir.join(name)).unwrap();
        assert_ne!(read(&one), read(&other));
    }
}

#[test]
fn a_second_init_changes_nothing() {
    let node = Node::new();
    let before = contents(&node.dir);
    refused(&mut node.phix("init", &[]), &["exists and is kept", "new directory"]);
    assert_eq!(contents(&node.dir), before);
    // Any one of the files is enough, even where the others are gone.
    for kept in ["phix-node.toml", "keys/identity.key", "keys/sphinx.key"] {
        let node = Node::new();
        for path in before.keys().map(|path| path.strip_prefix(before_dir(&before)).unwrap()) {
            if path.extension().is_some() && !path.ends_with(kept) {
                fs::remove_file(node.dir.join(path)).unwrap();
            }
        }
        let before = contents(&node.dir);
        refused(&mut node.phix("init", &[]), &["exists and is kept", kept]);
        assert_eq!(contents(&node.dir), before);
    }
}

/// The directory that the snapshot was taken of.
fn before_dir(
    before: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>,
) -> &std::path::Path {
    let file = before.keys().find(|path| path.ends_with("phix-node.toml")).unwrap();
    file.parent().unwrap()
}

#[test]
fn a_place_that_cannot_be_written_is_refused_and_nothing_left() {
    let above = tempfile::tempdir().unwrap();
    let file = above.path().join("file");
    fs::write(&file, "kept").unwrap();
    let before = contents(above.path());
    let path = |name: &str| above.path().join(name).to_str().unwrap().to_owned();
    let at = |dir: &str| phix(&["init", "--dir", dir]);
    refused(&mut at(&path("file")), &["is not a directory", "--dir"]);
    refused(&mut at(&path("file/below")), &["--dir"]);
    refused(&mut at("/proc/phix"), &["cannot be made", "--dir"]);
    // The directory itself can be made here, and must be gone again.
    let keys = ["init", "--dir", &path("new/deep"), "--keys-dir", "/dev/null/keys"];
    refused(&mut phix(&keys), &["/dev/null", "is not a directory"]);
    let wrong = ["init", "--dir", &path("new"), "--listen", "here"];
    refused(&mut phix(&wrong), &["`listen` must be an IP address and a port"]);
    refused(&mut phix(&["init"]), &["--dir"]);
    assert_eq!(contents(above.path()), before);
}

#[test]
fn a_read_only_directory_is_refused() {
    let above = tempfile::tempdir().unwrap();
    fs::set_permissions(above.path(), Permissions::from_mode(0o755)).unwrap();
    let dir = above.path().join("read-only");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o555)).unwrap();
    for dir in [dir.clone(), dir.join("new")] {
        let mut command = phix(&["init", "--dir", dir.to_str().unwrap()]);
        // Modes do not bind root, so that root asks as somebody else.
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.uid(NOBODY).gid(NOBODY);
            if command.output().is_err() {
                aloud("NOT TESTED: the program is in a directory that only root can reach");
                return;
            }
        }
        refused(&mut command, &["Permission denied", "--dir"]);
    }
    assert!(contents(above.path()).len() == 1, "nothing was made");
}

#[test]
fn settings_from_the_environment_are_written_too() {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("node");
    let mut command = phix(&["init", "--drain", "9s"]);
    command.env("PHIX_DIR", &dir).env("PHIX_DRAIN", "8s").env("PHIX_PIN", "true");
    done(&command.output().unwrap());
    let file = fs::read_to_string(dir.join("phix-node.toml")).unwrap();
    assert!(file.contains("\ndrain = \"9s\"\n") && file.contains("\npin = true\n"), "{file}");
}
