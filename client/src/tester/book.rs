//! The book of a load: what was prepared, and what became of each packet.
//!
//! Every packet has one row. A returned packet finds its row by the first 8 bytes of its alpha,
//! which are as good as random, in a table of open addressing; that and the row are two cache
//! misses. A 64-bit hash (XXH3) of all its bytes then says whether it is what had to come back.

use phix_engine::units::{Span, Time};
use twox_hash::XxHash3_64;

/// Bytes of alpha that packets are told apart by.
const KEY: usize = 8;

/// Marks of a row.
const INTACT: u8 = 1;
const DAMAGED: u8 = 2;
const SENT: u8 = 4;

/// What has to come back for one packet, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    key: u64,
    hash: u64,
    /// When the packet is to be sent, from the start.
    pub offset: Span,
    /// The sum of the delays that its hops are asked for.
    pub delays: Span,
    /// Which first hop it is sent to.
    pub first_hop: u16,
    marks: u8,
}

impl Expected {
    /// A row for the Sphinx packet that will come back as `arrival`. Its time is set later.
    pub fn new(arrival: &[u8], delays: Span, first_hop: u16) -> Self {
        let key = key(arrival).expect("a Sphinx packet has an alpha");
        Self { key, hash: hash(arrival), delays, first_hop, ..Self::default() }
    }
}

fn key(packet: &[u8]) -> Option<u64> {
    packet.first_chunk::<KEY>().map(|front| u64::from_le_bytes(*front))
}

fn hash(packet: &[u8]) -> u64 {
    XxHash3_64::oneshot(packet)
}

/// What an arrival turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first intact copy of a packet.
    Intact {
        /// When it was to be sent, from the start.
        offset: Span,
        /// The delays that it asked for.
        delays: Span,
    },
    /// A further copy.
    Duplicate,
    /// A known alpha with anything else wrong.
    Damaged,
    /// Nothing that was sent, or with a damaged alpha.
    Unknown,
}

/// Counts of packets. Every packet that was sent is intact, damaged or lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that were prepared.
    pub prepared: u64,
    /// Of these, how many the kernel took whole.
    pub sent: u64,
    /// Of those sent, how many came back as they had to, at least once.
    pub intact: u64,
    /// Of those sent, how many came back damaged and never intact.
    pub damaged: u64,
    /// Of those sent, how many did not come back.
    pub lost: u64,
    /// Arrivals of packets that had come before.
    pub duplicates: u64,
    /// Arrivals that nothing was sent for, or whose alpha was damaged.
    pub unknown: u64,
}

/// All packets of a load, in the order of their times.
#[derive(Debug)]
pub struct Book {
    rows: Vec<Expected>,
    /// Positions in `rows` plus one; 0 is free.
    table: Vec<u32>,
    counts: Counts,
}

impl Book {
    /// A book of these packets, to be sent at these offsets.
    ///
    /// # Panics
    /// If the two differ in length, or there are 2^31 packets.
    pub fn new(mut rows: Vec<Expected>, offsets: &[Span]) -> Self {
        assert_eq!(rows.len(), offsets.len(), "every packet has its time");
        assert!(rows.len() < 1 << 31, "positions fit into 32 bits");
        rows.iter_mut().zip(offsets).for_each(|(row, offset)| row.offset = *offset);
        let mut table = vec![0_u32; table_len(rows.len())];
        let mask = table.len() - 1;
        for (row, position) in rows.iter().zip(1_u32..) {
            let mut slot = row.key as usize & mask;
            while table[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            table[slot] = position;
        }
        let counts = Counts { prepared: rows.len() as u64, ..Counts::default() };
        Self { rows, table, counts }
    }

    /// The rows, in the order of their times.
    pub fn rows(&self) -> &[Expected] {
        &self.rows
    }

    /// Counts a packet as sent.
    pub fn sent(&mut self, position: usize) {
        self.rows[position].marks |= SENT;
        self.counts.sent += 1;
    }

    /// Counts a Sphinx packet that has come.
    pub fn record(&mut self, packet: &[u8]) -> Arrival {
        let Some(position) = key(packet).and_then(|key| self.find(key)) else {
            self.counts.unknown += 1;
            return Arrival::Unknown;
        };
        let (row, counts) = (&mut self.rows[position], &mut self.counts);
        let intact = hash(packet) == row.hash;
        if row.marks & INTACT != 0 || !intact && row.marks & DAMAGED != 0 {
            counts.duplicates += 1;
            return if intact { Arrival::Duplicate } else { Arrival::Damaged };
        }
        if !intact {
            row.marks |= DAMAGED;
            counts.damaged += 1;
            return Arrival::Damaged;
        }
        if row.marks & DAMAGED != 0 {
            counts.damaged -= 1;
            counts.duplicates += 1;
        }
        row.marks |= INTACT;
        counts.intact += 1;
        Arrival::Intact { offset: row.offset, delays: row.delays }
    }

    fn find(&self, key: u64) -> Option<usize> {
        let mask = self.table.len() - 1;
        let mut slot = key as usize & mask;
        loop {
            let position = self.table[slot].checked_sub(1)? as usize;
            if self.rows[position].key == key {
                return Some(position);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        let Counts { sent, intact, damaged, .. } = self.counts;
        Counts { lost: sent.saturating_sub(intact + damaged), ..self.counts }
    }

    /// Whether every packet that was sent has come back in some form.
    pub const fn is_complete(&self) -> bool {
        self.counts.intact + self.counts.damaged >= self.counts.sent
    }

    /// Packets that are to be sent before `offset`.
    pub fn planned_before(&self, offset: Span) -> usize {
        self.rows.partition_point(|row| row.offset < offset)
    }

    /// Of the packets at these positions, how many were sent and have not come back intact.
    pub fn missing(&self, positions: std::ops::Range<usize>) -> u64 {
        let rows = self.rows[positions].iter();
        rows.filter(|row| row.marks & (SENT | INTACT) == SENT).count() as u64
    }

    /// When the last packet is due to have left all hops, if the load began at `start`.
    pub fn ends(&self, start: Time) -> Time {
        let last = self.rows.iter().map(|row| row.offset.as_nanos() + row.delays.as_nanos()).max();
        start.after(Span::from_nanos(last.unwrap_or(0)))
    }
}

/// Places in the table for so many packets: at most half of them are taken.
const fn table_len(packets: usize) -> usize {
    let len = (2 * packets).next_power_of_two();
    if len < 2 { 2 } else { len }
}

/// Bytes that the book takes for so many packets.
pub const fn bytes(packets: usize) -> usize {
    packets * size_of::<Expected>() + table_len(packets) * size_of::<u32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(number: u64) -> Vec<u8> {
        let mut packet = vec![number as u8; 386];
        packet[..8].copy_from_slice(&number.to_le_bytes());
        packet
    }

    fn book(count: u64) -> Book {
        let span = Span::from_millis;
        let rows = (0..count).map(|i| Expected::new(&packet(i), span(i % 7), 0)).collect();
        let offsets: Vec<_> = (0..count).map(span).collect();
        let mut book = Book::new(rows, &offsets);
        (0..count as usize).for_each(|position| book.sent(position));
        book
    }

    #[test]
    fn every_packet_is_intact_damaged_or_lost() {
        let mut book = book(1000);
        let span = Span::from_millis;
        assert_eq!(book.record(&packet(8)), Arrival::Intact { offset: span(8), delays: span(1) });
        assert_eq!(book.record(&packet(8)), Arrival::Duplicate);
        for byte in [8, 40, 385] {
            let mut damaged = packet(9);
            damaged[byte] ^= 1;
            assert_eq!(book.record(&damaged), Arrival::Damaged);
        }
        let mut unknown = packet(10);
        unknown[7] ^= 0x80;
        assert_eq!(book.record(&unknown), Arrival::Unknown);
        assert_eq!(book.record(&[1, 2, 3]), Arrival::Unknown);
        assert_eq!(book.record(&packet(11)[..385]), Arrival::Damaged);
        let counts = book.counts();
        let expected = Counts {
            prepared: 1000,
            sent: 1000,
            intact: 1,
            damaged: 2,
            lost: 997,
            duplicates: 3,
            unknown: 2,
        };
        assert_eq!(counts, expected);
        assert_eq!(book.missing(0..1000), 999);
        assert!(!book.is_complete());
    }

    #[test]
    fn a_packet_that_comes_damaged_and_then_intact_is_intact() {
        let mut book = book(1);
        let mut damaged = packet(0);
        damaged[100] ^= 4;
        book.record(&damaged);
        assert_eq!((book.counts().damaged, book.counts().lost), (1, 0));
        assert!(matches!(book.record(&packet(0)), Arrival::Intact { .. }));
        let Counts { intact, damaged, lost, duplicates, .. } = book.counts();
        assert_eq!((intact, damaged, lost, duplicates), (1, 0, 0, 1));
        assert!(book.is_complete());
    }

    #[test]
    fn keys_that_collide_in_the_table_are_told_apart() {
        let len = table_len(64) as u64;
        let numbers: Vec<u64> = (0..64).map(|i| i * len + 3).collect();
        let rows = numbers.iter().map(|i| Expected::new(&packet(*i), Span::ZERO, 0)).collect();
        let mut book = Book::new(rows, &[Span::ZERO; 64]);
        for number in &numbers {
            assert!(matches!(book.record(&packet(*number)), Arrival::Intact { .. }));
        }
        assert_eq!(book.record(&packet(64 * len + 3)), Arrival::Unknown);
    }

    #[test]
    fn times() {
        let book = book(20);
        assert_eq!(book.planned_before(Span::from_millis(5)), 5);
        // The packet at 13 ms asks for 6 ms, the one at 19 ms for 5 ms.
        assert_eq!(book.ends(Time::ZERO), Time::ZERO.after(Span::from_millis(24)));
    }
}
