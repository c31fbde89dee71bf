//! A client of the stock SDK that another program drives by lines: what an application of it would
//! do, with nothing of Phix in it.
//!
//! ```text
//! phix-stock DIRECTORY-URL [--storage DIR | --through GATEWAY]
//!
//! in:   send RECIPIENT SURBS HEX        out:  address RECIPIENT
//!       reply TAG HEX                         message TAG-OR-MINUS HEX
//! ```
//!
//! It ends when its input does. With a gateway it has a topology provider of its own, of a network
//! with that one gateway.

mod provider;

use std::error::Error;
use std::path::PathBuf;

use nym_sdk::mixnet::{
    AnonymousSenderTag, IncludedSurbs, MixnetClient, MixnetClientBuilder, MixnetClientSender,
    MixnetMessageSender, Recipient, StoragePaths,
};
use nym_sdk::{NymNetworkDetails, ValidatorDetails};
use tokio::io::{AsyncBufReadExt, BufReader};

use provider::Provider;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut client = connect(&Arguments::given()?).await?;
    println!("address {}", client.nym_address());
    // A task of its own: the SDK takes a message when it has room, and one that is given up
    // halfway, because another has come, is lost.
    let mut input = tokio::spawn(commands(client.split_sender()));
    loop {
        tokio::select! {
            end = &mut input => {
                end??;
                break;
            }
            messages = client.wait_for_messages() => {
                let Some(messages) = messages else { break };
                for message in messages {
                    let tag = message.sender_tag.map_or("-".into(), |tag| tag.to_string());
                    println!("message {tag} {}", hex(&message.message));
                }
            }
        }
    }
    client.disconnect().await;
    Ok(())
}

/// What the command line says.
struct Arguments {
    directory: String,
    storage: Option<PathBuf>,
    through: Option<String>,
}

impl Arguments {
    fn given() -> Result<Self, Failure> {
        let mut given = std::env::args().skip(1);
        let directory = given.next().ok_or("the URL of a directory is missing")?;
        let mut arguments = Self { directory, storage: None, through: None };
        while let Some(flag) = given.next() {
            let value = given.next().ok_or_else(|| format!("{flag} has no value"))?;
            match flag.as_str() {
                "--storage" => arguments.storage = Some(value.into()),
                "--through" => arguments.through = Some(value),
                _ => return Err(format!("{flag} is no argument").into()),
            }
        }
        Ok(arguments)
    }

    /// The network that the directory describes. Credentials are off, as they are in the SDK
    /// unless a program asks for them.
    fn network(&self) -> NymNetworkDetails {
        let endpoint = ValidatorDetails::new("http://127.0.0.1:1", Some(&self.directory), None);
        NymNetworkDetails::new_empty()
            .with_network_name("phix".into())
            .with_validator_endpoint(endpoint)
    }
}

async fn connect(arguments: &Arguments) -> Result<MixnetClient, Failure> {
    let network = arguments.network();
    let client = match (&arguments.storage, &arguments.through) {
        (None, None) => {
            let builder = MixnetClientBuilder::new_ephemeral().network_details(network);
            builder.build()?.connect_to_mixnet().await?
        }
        (None, Some(gateway)) => {
            let provider = Provider::new(&arguments.directory, gateway.clone())?;
            let builder = MixnetClientBuilder::new_ephemeral().network_details(network);
            let builder = builder.custom_topology_provider(Box::new(provider));
            builder.build()?.connect_to_mixnet().await?
        }
        (Some(dir), None) => {
            let paths = StoragePaths::new_from_dir(dir)?;
            let builder = MixnetClientBuilder::new_with_default_storage(paths).await?;
            builder.network_details(network).build()?.connect_to_mixnet().await?
        }
        (Some(_), Some(_)) => return Err("give --storage or --through".into()),
    };
    Ok(client)
}

/// Does what the lines say, one after another, to the end of the input.
async fn commands(sender: MixnetClientSender) -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["send", to, surbs, data] => {
                let to = Recipient::try_from_base58_string(to)?;
                let surbs = IncludedSurbs::new(surbs.parse()?);
                sender.send_message(to, bytes(data)?, surbs).await?;
            }
            ["reply", tag, data] => {
                let tag = AnonymousSenderTag::try_from_base58_string(tag)?;
                sender.send_reply(tag, bytes(data)?).await?;
            }
            _ => return Err(format!("{line:?} is no command").into()),
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Result<Vec<u8>, Failure> {
    let digits = |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap_or(""), 16);
    Ok((0..hex.len()).step_by(2).map(digits).collect::<Result<_, _>>()?)
}
