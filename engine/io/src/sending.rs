//! What one vectored send owes: the packets, and how much of them the kernel has taken.

use std::collections::VecDeque;
use std::io::IoSlice;

use arrayvec::ArrayVec;
use phix_engine::limits::SEND_MAX;
use phix_engine::pool::Pool;
use phix_engine::shard::{Completion, Outgoing};

/// Packets on their way to one next hop.
///
/// Invariant: a frame counts as sent when all of its bytes were taken, and not before.
#[derive(Debug)]
pub(crate) struct Sending {
    slots: Outgoing,
    /// Where each frame ends in the stream of this send.
    ends: ArrayVec<usize, SEND_MAX>,
    front: usize,
    written: usize,
}

impl Sending {
    pub(crate) fn new(slots: Outgoing, front: usize, pool: &Pool) -> Self {
        let mut end = 0;
        let ends = slots.iter().map(|slot| {
            end += pool.framed(slot, front).len();
            end
        });
        Self { ends: ends.collect(), slots, front, written: 0 }
    }

    /// Counts bytes that the kernel took; says whether that was all of them.
    pub(crate) fn advance(&mut self, bytes: usize) -> bool {
        self.written += bytes;
        let total = self.ends.last().copied().unwrap_or(0);
        debug_assert!(self.written <= total, "the kernel took more than it was given");
        self.written >= total
    }

    /// The bytes still to be sent, frame by frame.
    pub(crate) fn rest<'a>(&self, pool: &'a Pool) -> ArrayVec<IoSlice<'a>, SEND_MAX> {
        let first = self.ends.partition_point(|&end| end <= self.written);
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        let mut skip = self.written - start;
        let frames = self.slots[first..].iter().map(|slot| {
            let frame = &pool.framed(slot, self.front)[skip..];
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

    fn three(pool: &mut Pool) -> Sending {
        let mut slots = Outgoing::new();
        for byte in 1..=3 {
            let slot = pool.take(PacketSize::Ack).unwrap();
            pool.framed_mut(&slot, 4).fill(byte);
            slots.push(slot);
        }
        Sending::new(slots, 4, pool)
    }

    #[test]
    fn whatever_the_kernel_takes_the_rest_follows() {
        for step in [1, 7, 389, 390, 391, 780, 1169, 1170] {
            let mut pool = Pool::new([3, 0, 0, 0, 0]);
            let mut sending = three(&mut pool);
            let mut stream = Vec::new();
            loop {
                let rest: Vec<u8> = sending.rest(&pool).iter().flat_map(|s| s.to_vec()).collect();
                assert_eq!(rest.len(), 3 * 390 - stream.len());
                let taken = step.min(rest.len());
                stream.extend_from_slice(&rest[..taken]);
                if sending.advance(taken) {
                    break;
                }
            }
            assert_eq!(stream, [[1; 390], [2; 390], [3; 390]].concat());
            let mut completed = VecDeque::new();
            sending.finish(&mut completed);
            assert!(completed.iter().all(|completion| completion.sent));
            completed.into_iter().for_each(|completion| pool.give_back(completion.slot));
            assert_eq!(pool.free(), 3);
        }
    }

    #[test]
    fn a_frame_is_sent_with_its_last_byte() {
        for (written, whole) in [(0, 0), (389, 0), (390, 1), (779, 1), (780, 2), (1169, 2)] {
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
