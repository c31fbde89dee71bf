//! `phix-client run`: a client for other programs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;

use super::place::{Place, Stop, runtime};
use super::{Ended, Refusal, note, say};
use crate::mixnet::apps::Server;
use crate::mixnet::{Sender, Status};

/// Run a client, and offer it to other programs by a WebSocket as stock nym-client does.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  phix-client run --dir alice

Programs connect to ws://127.0.0.1:1977 and send, for example, {\"type\": \"selfAddress\"}. One
program at a time; messages wait while there is none. Interrupt it (Ctrl-C) to see the totals.")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,

    /// Where programs connect. Whoever reaches this address can use the client.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1977")]
    listen: SocketAddr,

    /// Let web pages of this origin connect, such as https://example.org; may be given repeatedly.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    runtime()?.block_on(async {
        let mut stop = Stop::install()?;
        let server = Server::bind(arguments.listen).await?;
        let server = server.allow_origins(arguments.allow_origin.clone());
        let listen = server.local_addr()?;
        let client = tokio::select! {
            client = arguments.place.connect() => client?,
            () = stop.wanted() => return Ok(Ended::Done),
        };
        say(client.address());
        note(format_args!("programs connect to ws://{listen}"));
        let (sender, receiver) = client.split();
        let serving = server.run(sender.clone(), receiver);
        let mut watched = sender.clone();
        let ended = tokio::select! {
            () = serving => Ended::Failed,
            () = watch(&mut watched) => Ended::Failed,
            () = stop.wanted() => Ended::Done,
        };
        if let Ok(counters) = sender.close().await {
            for (name, count) in counters.named().into_iter().filter(|(_, count)| *count > 0) {
                note(format_args!("{name} {count}"));
            }
        }
        Ok(ended)
    })
}

/// A refusal that comes sooner after one that was said is not said: a gateway may have other words
/// for each packet.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);

/// Says how the client fares whenever that changes, until it has ended.
pub(super) async fn watch(sender: &mut Sender) {
    let mut refusal_said: Option<Instant> = None;
    while let Some(status) = sender.status_changed().await {
        match status {
            Status::Connected => note("connected to the gateway"),
            Status::Disconnected(why) => note(format_args!("{why}; trying again")),
            Status::OutOfBandwidth => note(
                "the gateway takes no more packets: this client's bandwidth is used up, and the \
                 gateway gives none for nothing",
            ),
            Status::Refused(_) if refusal_said.is_some_and(|at| at.elapsed() < REFUSALS_EVERY) => {}
            Status::Refused(why) => {
                refusal_said = Some(Instant::now());
                note(format_args!("the gateway refused packets and said: {why}"));
            }
            Status::Ended(why) => {
                if let Some(why) = why {
                    note(why);
                }
                return;
            }
        }
    }
}
