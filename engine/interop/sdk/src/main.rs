//! A client of the stock SDK that another program drives by lines: what an application of it would
//! do, with nothing of Phix in it.
//!
//! ```text
//! phix-stock DIRECTORY-URL [--storage DIR | --through GATEWAY]
//! phix-stock DIRECTORY-URL --socks5 ADDRESS --exit RECIPIENT [--form FORM]
//!            [--hop-delay MS] [--main-stream MS]
//!
//! in:   send RECIPIENT SURBS HEX        out:  address RECIPIENT
//!       reply TAG HEX                         message TAG-OR-MINUS HEX
//! ```
//!
//! It ends when its input does. With a gateway it has a topology provider of its own, of a network
//! with that one gateway. With `--socks5` it is a SOCKS5 server for applications instead, and says
//! nothing but its address; the forms are `addressed`, `unversioned` and `current`.

mod arguments;
mod provider;
mod socks5;

use std::error::Error;

use nym_sdk::mixnet::{
    AnonymousSenderTag, IncludedSurbs, MixnetClient, MixnetClientBuilder, MixnetClientSender,
    MixnetMessageSender, Recipient, StoragePaths,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use arguments::Arguments;
use provider::Provider;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::given()?;
    if arguments.listen.is_some() {
        return serve(&arguments).await;
    }
    let mut client = connect(&arguments).await?;
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

/// Serves applications until the input ends.
async fn serve(arguments: &Arguments) -> Result<(), Failure> {
    let client = socks5::connect(arguments).await?;
    println!("address {}", client.nym_address());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    client.disconnect().await;
    Ok(())
}

async fn connect(arguments: &Arguments) -> Result<MixnetClient, Failure> {
    let network = arguments.network();
    let settings = arguments.settings();
    let client = if let Some(dir) = &arguments.storage {
        let paths = StoragePaths::new_from_dir(dir)?;
        let builder = MixnetClientBuilder::new_with_default_storage(paths).await?;
        let builder = builder.network_details(network).debug_config(settings);
        builder.build()?.connect_to_mixnet().await?
    } else {
        let builder = MixnetClientBuilder::new_ephemeral().network_details(network);
        let mut builder = builder.debug_config(settings);
        if let Some(gateway) = &arguments.through {
            let provider = Provider::new(&arguments.directory, gateway.clone())?;
            builder = builder.custom_topology_provider(Box::new(provider));
        }
        builder.build()?.connect_to_mixnet().await?
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
