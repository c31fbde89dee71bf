//! One turn of a shard: the function that is the same for every link and every clock.

use super::{Clock, Link, Shard, Sink};

/// Receives, reads the clock once, and moves every packet as far as it can go now.
///
/// The waiting happens inside [`Link::receive`], for as long as [`Shard::deadline`] allows. Calling
/// this in a loop is all that a shell has to do.
///
/// # Errors
/// If the link is broken as a whole. The shard stays consistent and can be drained.
pub fn turn<L: Link, S: Sink, C: Clock>(
    shard: &mut Shard,
    link: &mut L,
    sink: &mut S,
    clock: &C,
) -> Result<(), L::Error> {
    let wait = shard.rest();
    let received = link.receive(shard.intake(), wait);
    shard.rise();
    received?;
    let now = clock.now();
    reclaim(shard, link);
    shard.ingest(now);
    shard.share(link);
    shard.step(now, sink);
    shard.depart(now, link);
    link.flush()?;
    // A send that the kernel took at once is over already; its slots need not wait for a turn.
    reclaim(shard, link);
    Ok(())
}

fn reclaim(shard: &mut Shard, link: &mut impl Link) {
    while let Some(completion) = link.completed() {
        shard.reclaim(completion);
    }
}
