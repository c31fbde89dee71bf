//! What one vectored send owes: the packets, and how much of them the kernel has taken.

use std::collections::VecDeque;
use std::io::IoSlice;

use arrayvec::ArrayVec;
use phix_engine::limits::SEND_MAX;
use phix_engine::pool::{Margins, Pool};
use phix_engine::shard::{Completion, Outgoing};

/// Packets on their way to one next hop.
///
/// Invariant: a frame counts as sent when all of its bytes were taken, and not before.
#[derive(Debug)]
pub(crate) struct Sending {
    slots: Outgoing,
    /// Where each frame ends in the stream of this send.
    ends: ArrayVec<usize, SEND_MAX>,
    margins: Margins,
    written: usize,
}

impl Sending {
    pub(crate) fn new(slots: Outgoing, margins: Margins, pool: &Pool) -> Self {
        let mut end = 0;
        let ends = slots.iter().map(|slot| {
            end += pool.enclosed(slot, margins).len();
            end
        });
        Self { ends: ends.collect(), slots, margins, written: 0 }
    }

    /// Counts bytes that the kernel took; says whether that was all of them.
    pub(crate) fn advance(&mut self, bytes: usize) -> bool {
        self.written += bytes;
        let total = self.ends.last().copied().unwrap_or(0);
        debug_assert!(self.written <= total, "the kernel took more than it was given");
        self.written >= total
    }

    /// How many bytes are still to be sent.
    pub(crate) fn left(&self) -> usize {
        self.ends.last().copied().unwrap_or(0) - self.written
    }

    /// The bytes still to be sent, frame by frame.
    pub(crate) fn rest<'a>(&self, pool: &'a Pool) -> ArrayVec<IoSlice<'a>, SEND_MAX> {
        let first = self.ends.partition_point(|&end| end <= self.written);
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        let mut skip = self.written - start;
        let frames = self.slots[first..].iter().map(|slot| {
            let frame = &pool.enclosed(slot, self.margins)[skip..];
            skip = 0;
            IoSlice::new(frame)
        });
        frames.collect()
    }

    /// Ends the send, wherever it stands.
    pub(crate) fn finish(self, completed: &mut VecDeque<Completion>) {
        let Self { slots, ends, written, .. } = self;
        completed.extend(
            slots
                .into_iter()
                .zip(ends)
                .map(|(slot, end)| Completion { slot, sent: end <= written }),
        );
    }
}

#[cfg(test)]
mod tests {
    use phix_engine::wire::geometry::PacketSize;

    use super::*;

    const MARGINS: Margins = Margins { front: 12, tail: 16 };
    const FRAME: usize = 12 + 386 + 16;

    fn three(pool: &mut Pool) -> Sending {
        let mut slots = Outgoing::new();
        for byte in 1..=3 {
            let slot = pool.take(PacketSize::Ack).unwrap();
            pool.enclosed_mut(&slot, MARGINS).fill(byte);
            slots.push(slot);
        }
        Sending::new(slots, MARGINS, pool)
    }

    #[test]
    fn whatever_the_kernel_takes_the_rest_follows() {
        for step in [1, 7, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME - 1, 3 * FRAME] {
            let mut pool = Pool::new([3, 0, 0, 0, 0]);
            let mut sending = three(&mut pool);
            let mut stream = Vec::new();
            loop {
                let rest: Vec<u8> = sending.rest(&pool).iter().flat_map(|s| s.to_vec()).collect();
                assert_eq!(rest.len(), 3 * FRAME - stream.len());
                let taken = step.min(rest.len());
                stream.extend_from_slice(&rest[..taken]);
                if sending.advance(taken) {
                    break;
                }
            }
            assert_eq!(stream, [[1; FRAME], [2; FRAME], [3; FRAME]].concat());
            let mut completed = VecDeque::new();
            sending.finish(&mut completed);
            assert!(completed.iter().all(|completion| completion.sent));
            completed.into_iter().for_each(|completion| pool.give_back(completion.slot));
            assert_eq!(pool.free(), 3);
        }
    }

    #[test]
    fn a_frame_is_sent_with_its_last_byte() {
        for (written, whole) in [0, 1, 2]
            .into_iter()
            .flat_map(|whole| [(whole * FRAME, whole), ((whole + 1) * FRAME - 1, whole)])
        {
            let mut pool = Pool::new([3, 0, 0, 0, 0]);
            let mut sending = three(&mut pool);
            assert!(!sending.advance(written));
            let mut completed = VecDeque::new();
            sending.finish(&mut completed);
            let sent: Vec<bool> = completed.iter().map(|completion| completion.sent).collect();
            assert_eq!(sent, [whole > 0, whole > 1, whole > 2]);
            completed.into_iter().for_each(|completion| pool.give_back(completion.slot));
        }
    }
}
