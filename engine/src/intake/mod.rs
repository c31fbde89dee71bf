//! Intake: the bytes of a connection become packets in slots.
//!
//! A link gives each connection an [`Assembler`] and feeds it whatever bytes the kernel handed
//! over. The assembler copies them into a slot of the right size (the one copy that a packet sees
//! in user space) and puts whole packets into the [`Inbox`].

use alloc::vec::Vec;

use crate::counters::{Counters, DropReason};
use crate::limits::READY_MAX;
use crate::pool::{Pool, Slot};
use crate::wire::frame::{
    FRAME_HEADER_MAX, FrameError, FrameHeader, FrameParser, KeyRotation, Piece,
};

/// A whole packet in its slot, with what its frame said about it.
#[derive(Debug)]
pub struct Arrival {
    /// Where the packet lies; the slot's size is the packet's.
    pub slot: Slot,
    /// The key rotation that the sender says it encrypted for.
    pub rotation: KeyRotation,
}

/// Packets that arrived in one turn, at most as many as the shard has room for.
#[derive(Debug)]
pub struct Inbox {
    arrivals: Vec<Arrival>,
    limit: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { arrivals: Vec::with_capacity(READY_MAX), limit: READY_MAX }
    }
}

impl Inbox {
    /// How many more packets fit.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.arrivals.len())
    }

    /// Sets how many packets it may hold this turn, at most [`READY_MAX`].
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(READY_MAX);
    }

    /// Takes out all packets, in the order in which they were whole.
    pub fn drain(&mut self) -> impl Iterator<Item = Arrival> + '_ {
        self.arrivals.drain(..)
    }

    /// Packets in it.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether nothing arrived.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }
}

/// What a link needs of a shard in order to receive: memory, a place for packets, and counts.
#[derive(Debug)]
pub struct Intake<'a> {
    /// Where slots come from and go back to.
    pub pool: &'a mut Pool,
    /// Where whole packets go.
    pub inbox: &'a mut Inbox,
    /// Where connections and drops are counted.
    pub counters: &'a mut Counters,
}

#[derive(Debug)]
enum Packet {
    None,
    Filling {
        slot: Slot,
        filled: usize,
        rotation: KeyRotation,
    },
    /// There is no slot for it.
    Skipping(FrameHeader),
}

/// Puts one connection's stream of bytes together into packets.
///
/// Invariant: it holds a slot only between the first and the last byte of a packet.
#[derive(Debug)]
pub struct Assembler {
    parser: FrameParser,
    packet: Packet,
}

impl Default for Assembler {
    fn default() -> Self {
        Self { parser: FrameParser::default(), packet: Packet::None }
    }
}

impl Assembler {
    /// Takes bytes of the stream; says how many it used. It uses all of them unless the inbox is
    /// full, in which case the rest must be offered again later.
    ///
    /// A packet for which there is no slot is skipped and counted; the stream goes on.
    ///
    /// # Errors
    /// If the bytes are not frames. The connection is of no use then; close it.
    pub fn push(&mut self, bytes: &[u8], intake: &mut Intake<'_>) -> Result<usize, FrameError> {
        let mut rest = bytes;
        loop {
            // With a full inbox no packet may end, not even one that began before: its last byte
            // has to wait.
            let allowed = match intake.inbox.room() {
                0 => rest.len().min(self.parser.packet_left().saturating_sub(1)),
                _ => rest.len(),
            };
            let mut left = &rest[..allowed];
            let piece = self.parser.next(&mut left)?;
            rest = &rest[allowed - left.len()..];
            match piece {
                None => return Ok(bytes.len() - rest.len()),
                Some(Piece::Start(header)) => self.start(header, intake),
                Some(Piece::Body { bytes, last }) => self.fill(bytes, last, intake),
            }
        }
    }

    /// Ends the stream. Says whether it ended inside a frame, whose memory then goes back.
    pub fn finish(&mut self, pool: &mut Pool) -> bool {
        let inside = !self.parser.is_between_frames();
        if let Packet::Filling { slot, .. } = core::mem::replace(&mut self.packet, Packet::None) {
            pool.give_back(slot);
        }
        self.parser = FrameParser::default();
        inside
    }

    /// The frame that has begun, as bytes from which another assembler goes on where this one
    /// stands; nothing between frames. Of a packet that is being skipped nothing is there any more:
    /// zeros stand for it, which no node takes for a packet.
    pub fn begun(&self, pool: &Pool) -> Vec<u8> {
        let framed = |header: FrameHeader, body: &[u8], filled: usize| {
            let mut head = [0; FRAME_HEADER_MAX];
            let front = header.write(&mut head);
            let mut bytes = head[..front].to_vec();
            bytes.extend_from_slice(body);
            bytes.resize(front + filled, 0);
            bytes
        };
        match &self.packet {
            Packet::None => self.parser.header_begun().to_vec(),
            Packet::Filling { slot, filled, rotation } => {
                let header = FrameHeader::current(pool.size(slot), *rotation);
                framed(header, &pool.packet(slot)[..*filled], *filled)
            }
            Packet::Skipping(header) => {
                let filled = header.size.packet_len() - self.parser.packet_left();
                framed(FrameHeader::current(header.size, header.rotation), &[], filled)
            }
        }
    }

    /// Slots that it holds: one or none.
    pub const fn held(&self) -> usize {
        matches!(self.packet, Packet::Filling { .. }) as usize
    }

    fn start(&mut self, header: FrameHeader, intake: &mut Intake<'_>) {
        self.packet = match intake.pool.take(header.size) {
            Some(slot) => Packet::Filling { slot, filled: 0, rotation: header.rotation },
            None => Packet::Skipping(header),
        };
    }

    fn fill(&mut self, bytes: &[u8], last: bool, intake: &mut Intake<'_>) {
        if let Packet::Filling { slot, filled, .. } = &mut self.packet {
            let packet = intake.pool.packet_mut(slot);
            packet[*filled..*filled + bytes.len()].copy_from_slice(bytes);
            *filled += bytes.len();
        }
        if !last {
            return;
        }
        intake.counters.received += 1;
        match core::mem::replace(&mut self.packet, Packet::None) {
            Packet::Filling { slot, rotation, .. } => {
                intake.inbox.arrivals.push(Arrival { slot, rotation });
            }
            Packet::Skipping(_) | Packet::None => intake.counters.drop_one(DropReason::PoolEmpty),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::FRAME_HEADER_MAX;
    use crate::wire::geometry::PacketSize;

    fn ack() -> Vec<u8> {
        let size = PacketSize::Ack;
        let mut head = [0; FRAME_HEADER_MAX];
        let front = FrameHeader::current(size, KeyRotation::Odd).write(&mut head);
        let mut frame = head[..front].to_vec();
        frame.resize(front + size.packet_len(), 7);
        frame
    }

    #[test]
    fn another_assembler_goes_on_where_one_stopped() {
        let frame = ack();
        for cut in 0..frame.len() {
            let (mut pool, mut counters) = (Pool::new([2, 0, 0, 0, 0]), Counters::default());
            let mut inbox = Inbox::default();
            let (mut one, mut other) = (Assembler::default(), Assembler::default());
            let mut feed = |assembler: &mut Assembler, pool: &mut Pool, bytes: &[u8]| {
                let intake = &mut Intake { pool, inbox: &mut inbox, counters: &mut counters };
                assert_eq!(assembler.push(bytes, intake), Ok(bytes.len()));
                inbox.arrivals.pop()
            };
            assert!(feed(&mut one, &mut pool, &frame[..cut]).is_none());
            let begun = one.begun(&pool);
            assert_eq!(begun, frame[..cut]);
            assert_eq!(one.finish(&mut pool), cut > 0);
            assert!(feed(&mut other, &mut pool, &begun).is_none());
            let arrival = feed(&mut other, &mut pool, &frame[cut..]).expect("the frame is whole");
            assert_eq!(arrival.rotation, KeyRotation::Odd);
            assert!(pool.packet(&arrival.slot).iter().all(|&byte| byte == 7));
            pool.give_back(arrival.slot);
            // Without a slot the frame is no other length.
            let mut none = Pool::new([0; 5]);
            let mut skipping = Assembler::default();
            assert!(feed(&mut skipping, &mut none, &frame[..cut]).is_none());
            assert_eq!(skipping.begun(&none).len(), cut);
        }
    }

    /// Many connections that hold back the last byte of a packet, and then let go of it all at
    /// once, must not bring in more than there is room for.
    #[test]
    fn no_packet_ends_in_a_full_inbox() {
        const CONNECTIONS: usize = 40;
        const ROOM: usize = 3;
        let (mut pool, mut counters) = (Pool::new([100, 0, 0, 0, 0]), Counters::default());
        let mut inbox = Inbox::default();
        let frame = ack();
        let (most, last) = frame.split_at(frame.len() - 1);
        let mut assemblers: Vec<Assembler> =
            (0..CONNECTIONS).map(|_| Assembler::default()).collect();
        let mut waiting: Vec<Vec<u8>> = (0..CONNECTIONS).map(|_| [last, &frame].concat()).collect();
        for assembler in &mut assemblers {
            let (pool, inbox, counters) = (&mut pool, &mut inbox, &mut counters);
            let used = assembler.push(most, &mut Intake { pool, inbox, counters });
            assert_eq!(used, Ok(most.len()));
        }
        let mut arrived = 0;
        while arrived < 2 * CONNECTIONS {
            inbox.set_limit(ROOM);
            for (assembler, bytes) in assemblers.iter_mut().zip(&mut waiting) {
                let (pool, inbox, counters) = (&mut pool, &mut inbox, &mut counters);
                let used = assembler.push(bytes, &mut Intake { pool, inbox, counters }).unwrap();
                bytes.drain(..used);
                assert!(inbox.len() <= ROOM);
            }
            assert!(!inbox.is_empty(), "nothing arrives any more");
            arrived += inbox.len();
            let arrivals: Vec<Arrival> = inbox.drain().collect();
            arrivals.into_iter().for_each(|arrival| pool.give_back(arrival.slot));
        }
        assert_eq!(counters.received, 2 * CONNECTIONS as u64);
        assert_eq!(pool.free(), pool.capacity());
    }
}
