//! Packets that begin their way here: those of an entry's clients, and acknowledgements.
//!
//! They come whole, built by somebody else, and ask for no delay: they get a slot, the frame that
//! their first hop reads, and a place in its queue, in the turn in which they are taken.

use super::batch::peer_at;
use super::{Origin, Shard, Source};
use crate::counters::DropReason;
use crate::limits::ORIGINATE_MAX;
use crate::units::Time;
use crate::wire::frame::FrameHeader;
use crate::wire::geometry::PacketSize;

impl Shard {
    /// Takes packets from `source`, at most [`ORIGINATE_MAX`], and queues them for their first
    /// hops; says how many it took. One for which there is no slot or no queue is dropped and
    /// counted, as if it had arrived.
    ///
    /// # Panics
    /// If the source gives a packet of a size that there is not.
    pub fn originate(&mut self, now: Time, source: &mut impl Source) -> usize {
        for taken in 0..ORIGINATE_MAX {
            let Some(origin) = source.next() else { return taken };
            self.counters.originated += 1;
            if let Err(reason) = self.begin(&origin, now) {
                self.counters.drop_one(reason);
            }
        }
        ORIGINATE_MAX
    }

    fn begin(&mut self, origin: &Origin<'_>, now: Time) -> Result<(), DropReason> {
        let Self { pool, egress, wheel, frames, .. } = self;
        let size = PacketSize::from_packet_len(origin.packet.len());
        let size = size.expect("a source gives packets of the five sizes");
        let peer = peer_at(origin.next_hop, |to| egress.expect(to, now))?;
        let Some(slot) = pool.take(size) else {
            egress.forget(peer);
            return Err(DropReason::PoolEmpty);
        };
        pool.packet_mut(&slot).copy_from_slice(origin.packet);
        let header = FrameHeader { version: *frames, size, rotation: origin.rotation };
        header.write(pool.framed_mut(&slot, header.encoded_len()));
        wheel.note(&slot, now);
        egress.queue(peer, slot, now).map_err(|slot| {
            pool.give_back(slot);
            DropReason::PeerQueueFull
        })
    }
}
