//! A client of the stock SDK that another program drives by lines: what an application of it would
//! do, with nothing of Phix in it.
//!
//! ```text
//! phix-stock DIRECTORY-URL [STORAGE]
//!
//! in:   send RECIPIENT SURBS HEX        out:  address RECIPIENT
//!       reply TAG HEX                         message TAG-OR-MINUS HEX
//! ```
//!
//! It ends when its input does.

use std::error::Error;
use std::path::PathBuf;

use nym_sdk::mixnet::{
    AnonymousSenderTag, IncludedSurbs, MixnetClient, MixnetClientBuilder, MixnetClientSender,
    MixnetMessageSender, Recipient, StoragePaths,
};
use nym_sdk::{NymNetworkDetails, ValidatorDetails};
use tokio::io::{AsyncBufReadExt, BufReader};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("the URL of a directory is missing")?;
    let storage = arguments.next().map(PathBuf::from);
    let mut client = connect(&directory, storage).await?;
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

/// A client in the network that `directory` describes. Credentials are off, as they are in the SDK
/// unless a program asks for them.
async fn connect(directory: &str, storage: Option<PathBuf>) -> Result<MixnetClient, Failure> {
    let endpoint = ValidatorDetails::new("http://127.0.0.1:1", Some(directory), None);
    let network = NymNetworkDetails::new_empty()
        .with_network_name("phix".into())
        .with_validator_endpoint(endpoint);
    let client = match storage {
        None => {
            let builder = MixnetClientBuilder::new_ephemeral().network_details(network);
            builder.build()?.connect_to_mixnet().await?
        }
        Some(dir) => {
            let paths = StoragePaths::new_from_dir(&dir)?;
            let builder = MixnetClientBuilder::new_with_default_storage(paths).await?;
            builder.network_details(network).build()?.connect_to_mixnet().await?
        }
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
