//! One turn of a shard: the function that is the same for every link and every clock.

use super::{Clock, Link, Shard, Sink, Source};
use crate::units::Time;

/// Receives, reads the clock, and moves every packet as far as it can go now. Says what time it
/// was at the end.
///
/// The clock is read a second time where a batch has run: that takes longer than a tick of the
/// wheel, and what became due meanwhile leaves in this turn. So the time at which a packet is
/// handed over is the present to the link as well as to what is measured.
///
/// The waiting happens inside [`Link::receive`], for as long as [`Shard::deadline`] allows. Calling
/// this in a loop is all that a shell has to do.
///
/// # Errors
/// If the link is broken as a whole. The shard stays consistent and can be drained.
pub fn turn<L: Link>(
    shard: &mut Shard,
    link: &mut L,
    sink: &mut impl Sink,
    source: &mut impl Source,
    clock: &impl Clock,
) -> Result<Time, L::Error> {
    let wait = shard.rest(source);
    let received = link.receive(shard.intake(), wait);
    shard.rise(source);
    received?;
    let now = clock.now();
    reclaim(shard, link);
    shard.ingest(now);
    shard.originate(now, source);
    shard.share(link);
    let now = if shard.step(now, sink) { clock.now() } else { now };
    shard.depart(now, link);
    link.flush()?;
    // A send that the kernel took at once is over already; its slots need not wait for a turn.
    reclaim(shard, link);
    Ok(now)
}

fn reclaim(shard: &mut Shard, link: &mut impl Link) {
    while let Some(completion) = link.completed() {
        shard.reclaim(completion);
    }
}
