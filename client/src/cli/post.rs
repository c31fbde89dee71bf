//! `phix-client send --dir`: one message from a client, through its gateway.

use std::path::Path;
use std::time::Duration;

use super::place::{Place, runtime};
use super::{Ended, Refusal, note, say};
use crate::mixnet::{GivenUp, Recipient, RecipientError};

/// A message to send.
pub(super) struct Letter<'a> {
    pub(super) dir: &'a Path,
    pub(super) to: &'a str,
    pub(super) data: Vec<u8>,
    pub(super) reply_surbs: u32,
    pub(super) patience: Duration,
}

/// Sends it and waits until all of it is acknowledged.
pub(super) fn send(letter: Letter<'_>) -> Result<Ended, Refusal> {
    let recipient: Recipient = letter.to.parse().map_err(|error: RecipientError| {
        Refusal(format!("\"{}\": {error}", letter.to.escape_debug()))
    })?;
    runtime()?.block_on(async {
        let place = Place { dir: letter.dir.to_owned() };
        let client = place.connect().await?;
        let sender = client.sender().clone();
        let len = letter.data.len();
        let sent = sender.send_anonymously(recipient, letter.data, letter.reply_surbs).await?;
        let arrived = tokio::time::timeout(letter.patience, sent.arrived()).await;
        let because = GivenUp::because(&sender.status());
        // Whether it arrived is known by now.
        let _ = client.disconnect().await;
        match arrived {
            Ok(Ok(())) => {
                say(format_args!("{len} bytes have reached the recipient's gateway"));
                return Ok(Ended::Done);
            }
            Ok(Err(error)) => note(error),
            Err(_) if because != GivenUp::Unacknowledged => note(because),
            Err(_) => note(format_args!(
                "the message was not acknowledged within {} s; see that the recipient's gateway is \
                 in the network, or raise --timeout",
                letter.patience.as_secs_f64()
            )),
        }
        Ok(Ended::Failed)
    })
}
