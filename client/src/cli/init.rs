//! `phix-client init`: a new client.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::place::{Place, runtime};
use super::{Ended, Refusal, note, say, values};
use crate::mixnet::{Client, Settings};

/// Make a new client: a directory with its keys and settings, registered with a gateway.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("network").required(true).args(["directory", "topology"])))]
#[command(after_help = "\
Examples:
  phix-client init --dir alice --directory http://127.0.0.1:8080/api
  phix-client init --dir bob --topology localnet.json --gateway BASE58

Every setting is in DIR/phix-client.toml, with its default and what it does.")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,

    /// Base URL of a directory that speaks nym-api.
    #[arg(long, value_name = "URL")]
    directory: Option<String>,

    /// Topology file, instead of a directory.
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,

    /// Identity of the gateway to register with, 32 bytes in base58; any, otherwise.
    #[arg(long, value_name = "BASE58", value_parser = values::key)]
    gateway: Option<[u8; 32]>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    let dir = &arguments.place.dir;
    let topology = arguments.topology.as_ref().map(|path| {
        // The settings file stands in another directory than the one that the path starts at.
        std::path::absolute(path).unwrap_or_else(|_| path.clone())
    });
    let directory = arguments.directory.clone();
    let settings = Settings { directory, topology, ..Settings::default() };
    Client::builder().settings(settings).create(dir)?;
    let mut builder = Client::builder().dir(dir);
    if let Some(gateway) = arguments.gateway {
        builder = builder.gateway(gateway);
    }
    let registered = runtime()?.block_on(async {
        let client = builder.connect().await?;
        let address = *client.address();
        // It has registered; how it ends is of no account.
        let _ = client.disconnect().await;
        Ok::<_, crate::mixnet::ConnectError>(address)
    });
    match registered {
        Ok(address) => {
            say(address);
            Ok(Ended::Done)
        }
        Err(error) => {
            note(format_args!(
                "the client in {} is made, and not registered yet: {error}; `phix-client run` \
                 registers it",
                dir.display()
            ));
            Ok(Ended::Failed)
        }
    }
}
