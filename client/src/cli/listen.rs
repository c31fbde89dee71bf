//! `phix-client listen`: shows what comes.

use clap::Args;
use serde_json::json;

use super::place::{Place, Stop, runtime};
use super::{Ended, Refusal, note, say};
use crate::message::{harmless, line};
use crate::mixnet::{Client, Delivery, Status};

/// Run a client and print the messages that come.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  phix-client listen --dir bob --count 1

Text is shown as it is if it has printable characters only; of anything else, the size and the
front of its BLAKE3 hash.")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,

    /// End after this many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Print one JSON object per line, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    runtime()?.block_on(async {
        let mut stop = Stop::install()?;
        let mut client = tokio::select! {
            client = arguments.place.connect() => client?,
            () = stop.wanted() => return Ok(Ended::Done),
        };
        note(format_args!("listening as {}", client.address()));
        let ended = listen(arguments, &mut client, &mut stop).await;
        // It has ended, or ends now; either is well.
        let _ = client.disconnect().await;
        Ok(ended)
    })
}

async fn listen(arguments: &Arguments, client: &mut Client, stop: &mut Stop) -> Ended {
    let mut shown = 0;
    while arguments.count.is_none_or(|count| shown < count) {
        tokio::select! {
            delivery = client.receive() => match delivery {
                Some(delivery) => show(&delivery, arguments.json),
                None => {
                    if let Status::Ended(Some(why)) = client.sender().status() {
                        note(why);
                    }
                    return Ended::Failed;
                }
            },
            () = stop.wanted() => return Ended::Done,
        }
        shown += 1;
    }
    Ended::Done
}

fn show(delivery: &Delivery, as_json: bool) {
    let Delivery { data, sender } = delivery;
    let sender = sender.map(|sender| sender.to_string());
    if !as_json {
        let from = sender.map_or(String::new(), |sender| format!("from {sender}: "));
        return say(format_args!("{from}{}", line(data)));
    }
    let hash = blake3::hash(data).to_hex();
    let mut object = json!({ "bytes": data.len(), "blake3": hash.as_str(), "sender": sender });
    if let Some(text) = harmless(data) {
        object["text"] = text.into();
    }
    say(object);
}
