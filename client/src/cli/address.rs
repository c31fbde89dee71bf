//! `phix-client address`: where a client is reached.

use clap::Args;

use super::place::Place;
use super::{Ended, Refusal, say};
use crate::mixnet::store;

/// Print the address of a client, also while another program runs it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    let dir = &arguments.place.dir;
    match store::address(dir)? {
        Some(address) => {
            say(address);
            Ok(Ended::Done)
        }
        None => Err(Refusal(format!(
            "the client in {} is not registered with a gateway yet; `phix-client run --dir {}` \
             does that",
            dir.display(),
            dir.display()
        ))),
    }
}
