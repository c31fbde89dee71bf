//! `phix-node init`: a node's directory with keys and configuration, made whole or not at all.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use phix_client::keyfile;
use phix_client::topology::PublicKey;

use crate::cli::say;
use crate::fault::Fault;
use crate::keys;
use crate::place::{self, CONFIG, Place};
use crate::rotation::{self, Keyring};
use crate::settings::{VARIABLES, resolve, template};

const TEACH: &str = "\
Makes DIR (where it does not exist), new keys that only you can read, and phix-node.toml with every
setting explained. Settings given as flags or environment variables are written into that file. If
any of the files exists, nothing is made and nothing is changed.

Examples:
  phix-node init --dir /var/lib/phix
  phix-node init --dir a --listen 127.0.0.1:1789 --shards 1";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    place::with_settings(place::with_dir(command))
        .about("Make keys and configuration for a new node")
        .after_help(TEACH)
}

/// Runs the command.
///
/// # Errors
/// If anything exists already or cannot be made; nothing is left behind then.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let variable = || std::env::var_os(VARIABLES[0]).map(PathBuf::from);
    let dir = matches.get_one::<PathBuf>("dir").cloned().or_else(variable).ok_or_else(|| {
        Fault::refused("it is not said where: give --dir with the directory to make.")
    })?;
    let (settings, effective) = resolve(&place::sources(None, matches))?;
    let place = Place { config: dir.join(CONFIG), settings, effective };
    rotation::schedule(&place.settings)?;
    refuse_existing(&place)?;
    let mut made = Made::default();
    make_dir(&dir, 0o755, &mut made)?;
    make_dir(&place.keys_dir(), 0o700, &mut made)?;
    for (kind, path) in keys::paths(&place.keys_dir()) {
        keyfile::generate(&path, kind).map_err(|error| Fault::refused(format!("{error}.")))?;
        made.files.push(path);
    }
    let keyring = Keyring::new(place.keys_dir());
    for number in rotation::first(&place.settings, rotation::now())? {
        keyring.make(number)?;
        made.files.push(keyring.path(number));
    }
    write_config(&place, &mut made)?;
    let public = keys::load(&place.keys_dir())?;
    let files = made.keep();
    say(format_args!("Made a node in {}:", dir.display()));
    files.iter().for_each(|file| say(format_args!("  {}", file.display())));
    say(format_args!("Identity key (Ed25519):  {}", public.identity));
    say(format_args!("Sphinx key (X25519):     {}", public.sphinx));
    if let Some(key) = &public.noise {
        say(format_args!("Noise key (X25519):      {}", PublicKey(*key.public())));
    }
    say("Keep the key files: without them this node cannot be this node again.");
    say(format_args!("Next: phix-node check-config --dir {}", dir.display()));
    Ok(())
}

/// Whatever would be written must not be there yet, not even as a link that leads nowhere.
fn refuse_existing(place: &Place) -> Result<(), Fault> {
    let keys = keys::paths(&place.keys_dir()).into_iter().map(|(_, path)| path);
    let mut files = keys.chain([place.config.clone()]);
    files.find(|path| path.symlink_metadata().is_ok()).map_or(Ok(()), |path| {
        Err(Fault::refused(format!(
            "{} exists and is kept, nothing was changed: give --dir a new directory, or run the \
             node that is there with `phix-node run`.",
            path.display(),
        )))
    })
}

/// Makes `dir` and those above it that are missing.
fn make_dir(dir: &Path, mode: u32, made: &mut Made) -> Result<(), Fault> {
    if dir.is_dir() || dir.as_os_str().is_empty() {
        return Ok(());
    }
    if let Some(above) = dir.parent() {
        make_dir(above, 0o755, made)?;
    }
    DirBuilder::new().mode(mode).create(dir).map_err(|error| {
        let path = dir.display();
        if dir.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
            return Fault::refused(format!(
                "{path} is not a directory: give --dir the path of one, or of one to make."
            ));
        }
        Fault::refused(format!(
            "the directory {path} cannot be made ({error}): give --dir a place where you may write."
        ))
    })?;
    made.dirs.push(dir.to_owned());
    Ok(())
}

fn write_config(place: &Place, made: &mut Made) -> Result<(), Fault> {
    let path = &place.config;
    let cannot = |error: io::Error| {
        Fault::refused(format!(
            "the file {} cannot be written ({error}): give --dir a place where you may write.",
            path.display(),
        ))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(cannot)?;
    made.files.push(path.clone());
    file.write_all(template(&place.effective).as_bytes()).map_err(cannot)?;
    file.sync_all().map_err(cannot)
}

/// What was made so far. Unless it is kept, it is unmade again.
#[derive(Debug, Default)]
struct Made {
    dirs: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    /// Everything is made and stays; gives the files.
    fn keep(mut self) -> Vec<PathBuf> {
        self.dirs.clear();
        std::mem::take(&mut self.files)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // What cannot be removed stays; the error to report is the one that led here.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        for dir in self.dirs.iter().rev() {
            let _ = fs::remove_dir(dir);
        }
    }
}
