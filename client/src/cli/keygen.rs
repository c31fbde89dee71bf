//! `phix-client keygen`: a key for a receiving end, or for the load tester.

use std::path::PathBuf;

use clap::Args;

use super::{Ended, Refusal, say};
use crate::keyfile::{self, KeyKind};
use crate::topology::PublicKey;

/// Make the private key of a receiving end and print the public key that goes into topologies.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to keep it: a new file, which only you can read.
    file: PathBuf,

    /// Make the key that `load --noise` proves to nodes, and print what a node's file of Noise keys
    /// needs of it.
    #[arg(long)]
    noise: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    let kind = if arguments.noise { KeyKind::Noise } else { KeyKind::Sphinx };
    let secret = keyfile::generate(&arguments.file, kind)?;
    let public = PublicKey(kind.public(&secret));
    say(format_args!("public key: {public}"));
    match kind {
        KeyKind::Noise => say(format_args!(
            "in the file of a node's noise-peers, with the tester's IP address: \"192.0.2.1\" = \
             \"{public}\""
        )),
        // Topology files want the bytes one by one.
        _ => say(format_args!("sphinx_key in a topology file: {:?}", public.0)),
    }
    Ok(Ended::Done)
}
