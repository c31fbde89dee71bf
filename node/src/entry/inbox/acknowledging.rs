//! Sending acknowledgements of what has been kept.

use phix_engine::shard::Origin;
use phix_io::{Injector, NotTaken};
use tokio::time::{Instant, sleep};

use crate::entry::counts::{Counts, Refusal};
use crate::entry::delivery::Acknowledgement;
use crate::entry::limits::{INJECTING, INJECTING_AGAIN};

/// Sends all of them, as the shards have room. One that finds none for too long is counted and
/// dropped: the sender of the message sends that again.
pub(super) async fn send_all(
    injector: &Injector,
    counts: &Counts,
    acknowledgements: &[Acknowledgement],
) {
    for Acknowledgement { next_hop, rotation, packet } in acknowledgements {
        let origin = Origin { next_hop: *next_hop, rotation: *rotation, packet };
        let until = Instant::now() + INJECTING;
        loop {
            match injector.send(&origin) {
                Ok(()) => {}
                Err(NotTaken::Full) if Instant::now() < until => {
                    sleep(INJECTING_AGAIN).await;
                    continue;
                }
                Err(NotTaken::Full | NotTaken::Stopped) => counts.refuse(Refusal::Busy),
                Err(NotTaken::Size | NotTaken::Address) => counts.refuse(Refusal::Hop),
            }
            break;
        }
    }
}
