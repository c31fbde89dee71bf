//! What the kernel has to do for the router: forward packets, and give them the machine's address.
//!
//! The rules are one table of nftables, which is named after the device and touched by nobody else.
//! What was changed stands in a file before it is changed, so that a node that was killed leaves
//! behind what the next start needs in order to undo it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ipnet::{Ipv4Net, Ipv6Net};
use phix_client::files::words;

use crate::fault::Fault;

/// The file of what has to be undone, in the state directory.
const UNDO: &str = "exit-router.undo";

/// Below this the kernel's settings are files.
const SYSCTL: &str = "/proc/sys/net/";
const FORWARD_V4: &str = "ipv4/ip_forward";
const FORWARD_V6: &str = "ipv6/conf/all/forwarding";

/// Rules and settings that are in force until this is dropped.
#[derive(Debug)]
pub(super) struct Nat {
    undo: PathBuf,
}

impl Nat {
    /// Puts rules and settings in force for packets from and to `device`, whose clients have
    /// addresses of these networks. What an earlier node has left behind is undone first.
    ///
    /// # Errors
    /// A sentence, if the kernel or its tools refuse; then nothing is left changed.
    pub(super) fn set(
        dir: &Path,
        device: &str,
        networks: (Ipv4Net, Ipv6Net),
    ) -> Result<Self, Fault> {
        undo(dir)?;
        let changes = settings().map_err(|error| refused(&words(&error)))?;
        let nat = Self { undo: dir.join(UNDO) };
        let mut text = format!("table {device}\n");
        for (name, old, _) in &changes {
            text += &format!("setting {name} {old}\n");
        }
        let noted = fs::File::create(&nat.undo).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        noted.map_err(|error| refused(&format!("{}: {}", nat.undo.display(), words(&error))))?;
        nft(&rules(device, networks)).map_err(|why| refused(&why))?;
        for (name, _, new) in &changes {
            let changed = fs::write(format!("{SYSCTL}{name}"), new);
            changed.map_err(|error| refused(&format!("net/{name}: {}", words(&error))))?;
        }
        Ok(nat)
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        if let Some(dir) = self.undo.parent() {
            // What cannot be undone now stays noted for the next start, which says so.
            let _ = undo(dir);
        }
    }
}

/// Undoes what the file in `dir` says, if there is one.
///
/// # Errors
/// A sentence, if something cannot be undone. The file stays then.
pub fn undo(dir: &Path) -> Result<(), Fault> {
    let path = dir.join(UNDO);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(left(&path, &words(&error))),
    };
    for line in text.lines() {
        let mut fields = line.split(' ');
        match (fields.next(), fields.next(), fields.next()) {
            (Some("table"), Some(device), None) if is_device(device) => {
                // Adding what may be there makes sure that there is something to delete.
                let table = table(device);
                let gone = format!("add table inet {table}\ndelete table inet {table}\n");
                nft(&gone).map_err(|why| left(&path, &why))?;
            }
            (Some("setting"), Some(name), Some(old)) if is_setting(name) => {
                match fs::write(format!("{SYSCTL}{name}"), old) {
                    // An interface that is gone has no settings.
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(left(&path, &words(&error)));
                    }
                    _ => {}
                }
            }
            _ => return Err(left(&path, &format!("{line:?} means nothing"))),
        }
    }
    fs::remove_file(&path).map_err(|error| left(&path, &words(&error)))
}

/// Whether `name` can be that of a device, and of a table: what is written into rules and files.
pub fn is_device(name: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    first && name.len() <= 15 && name.bytes().all(sound)
}

/// Whether `name` is one of the settings that [`settings`] changes.
fn is_setting(name: &str) -> bool {
    let per_interface = name.strip_prefix("ipv6/conf/").and_then(|rest| rest.split_once('/'));
    let accepts = per_interface.is_some_and(|(interface, key)| {
        key == "accept_ra" && !interface.is_empty() && interface != ".."
    });
    accepts || [FORWARD_V4, FORWARD_V6].contains(&name)
}

/// The settings to change: name, value now, value then. A machine that forwards IPv6 listens to
/// routers only where `accept_ra` is 2, so that it would lose its own way out otherwise.
fn settings() -> io::Result<Vec<(String, String, &'static str)>> {
    let read = |name: &str| fs::read_to_string(format!("{SYSCTL}{name}"));
    let mut changes = Vec::new();
    let mut change = |name: String, from: &str, to: &'static str| -> io::Result<()> {
        let now = read(&name)?.trim().to_owned();
        if now == from {
            changes.push((name, now, to));
        }
        Ok(())
    };
    change(FORWARD_V4.into(), "0", "1")?;
    if !Path::new(SYSCTL).join(FORWARD_V6).exists() {
        return Ok(changes);
    }
    for interface in fs::read_dir(format!("{SYSCTL}ipv6/conf"))? {
        let Ok(interface) = interface?.file_name().into_string() else { continue };
        // An interface may go while it is looked at.
        let _ = change(format!("ipv6/conf/{interface}/accept_ra"), "1", "2");
    }
    change(FORWARD_V6.into(), "0", "1")?;
    Ok(changes)
}

fn table(device: &str) -> String {
    format!("phix_{device}")
}

/// Clients reach what is outside and nothing of this machine nor each other, and nobody outside
/// reaches a client that did not begin.
fn rules(device: &str, (v4, v6): (Ipv4Net, Ipv6Net)) -> String {
    let table = table(device);
    format!(
        r#"table inet {table} {{
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "{device}" drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "{device}" oifname "{device}" drop
        oifname "{device}" ct state established,related accept
        oifname "{device}" drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname != "{device}" ip saddr {v4} masquerade
        oifname != "{device}" ip6 saddr {v6} masquerade
    }}
}}
"#
    )
}

/// Has nft do what `script` says, all or nothing.
fn nft(script: &str) -> Result<(), String> {
    // It lies where only administrators look for programs.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/bin:/bin";
    let child = Command::new("nft")
        .env("PATH", path.trim_start_matches(':'))
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| format!("nft cannot be run: {}", words(&error)))?;
    let mut input = child.stdin.take().expect("it was asked for");
    let written = input.write_all(script.as_bytes());
    drop(input);
    let output = child.wait_with_output().map_err(|error| words(&error))?;
    if output.status.success() {
        return written.map_err(|error| words(&error));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("nft says: {}", said.lines().next().unwrap_or("nothing")))
}

fn refused(why: &str) -> Fault {
    Fault::refused(format!(
        "the kernel cannot be set up for exit-router ({why}): run the node with CAP_NET_ADMIN, \
         install nftables, or set exit-router to \"off\"."
    ))
}

fn left(path: &Path, why: &str) -> Fault {
    Fault::refused(format!(
        "what the IP router of an earlier start changed cannot be undone ({why}): see {}, undo it \
         by hand and delete that file.",
        path.display()
    ))
}
