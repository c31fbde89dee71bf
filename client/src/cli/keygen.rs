//! `phix-client keygen`: a key for a receiving end.

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
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    let secret = keyfile::generate(&arguments.file, KeyKind::Sphinx)?;
    let public = PublicKey(KeyKind::Sphinx.public(&secret));
    say(format_args!("public key: {public}"));
    // Topology files want the bytes one by one.
    say(format_args!("sphinx_key in a topology file: {:?}", public.0));
    Ok(Ended::Done)
}
