//! Reply blocks (Sphinx paper, section 3.4): a header that its maker hands to somebody else, who
//! puts a message behind it without learning where it goes.
//!
//! Beside the header the holder of a block needs the payload keys of all hops, because it is the
//! holder who puts the layers on. Version 258 gives the keys themselves and later versions the
//! seeds that they come from, both in the order of the hops, as sphinx-packet 0.6.0 and 0.8.0 write
//! them.

use core::cmp::Reverse;
use core::fmt;

use arrayvec::ArrayVec;

use super::payload::write_plain;
use super::{Builder, Fault, Job, Jobs, Request, Unbuildable, has_explicit_keys, sort};
use crate::crypto::{PAYLOAD_KEY, wipe};
use crate::limits::BATCH_MAX;
use crate::wire::geometry::{HEADER, K, MAX_HOPS, PacketSize};

/// Bytes that a reply block of `version` holds for each hop: a key or a seed.
pub const fn hop_key_len(version: u16) -> usize {
    if has_explicit_keys(version) { PAYLOAD_KEY } else { K }
}

/// A message that goes behind the header of a reply block.
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    /// The header, as it was in the block.
    pub header: &'a [u8; HEADER],
    /// The version that the block was made for; it tells keys from seeds.
    pub version: u16,
    /// [`hop_key_len`] bytes for each hop, first hop first.
    pub keys: &'a [u8],
    /// What the last hop hands over.
    pub message: &'a [u8],
}

impl Reply<'_> {
    fn hops(&self) -> usize {
        self.keys.len() / hop_key_len(self.version)
    }

    fn check(&self, size: PacketSize) -> Result<(), Fault> {
        let whole = self.keys.len().is_multiple_of(hop_key_len(self.version));
        if !whole || self.keys.is_empty() || self.hops() > MAX_HOPS {
            return Err(Fault::RouteLength);
        }
        if self.message.len() > size.message_len() {
            return Err(Fault::MessageTooLong);
        }
        Ok(())
    }

    fn hop_key(&self, hop: usize) -> &[u8] {
        let len = hop_key_len(self.version);
        &self.keys[hop * len..][..len]
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("hops", &self.hops()).finish_non_exhaustive()
    }
}

impl Builder {
    /// Fills each of `headers` with the header that the request at the same place asks for, and
    /// each of `keys` with what whoever uses it needs for the payload. The requests' messages are
    /// not looked at.
    ///
    /// # Errors
    /// If a request has one of the faults listed; then nothing is written to.
    ///
    /// # Panics
    /// If the slices differ in length or hold more than [`BATCH_MAX`], or if a row of `keys` does
    /// not have [`hop_key_len`] bytes for each hop of its request.
    pub fn build_blocks(
        &mut self,
        requests: &[Request<'_>],
        headers: &mut [&mut [u8; HEADER]],
        keys: &mut [&mut [u8]],
    ) -> Result<(), Unbuildable> {
        assert!(requests.len() == headers.len() && headers.len() == keys.len());
        assert!(requests.len() <= BATCH_MAX);
        for (lane, request) in requests.iter().enumerate() {
            request.check_header().map_err(|fault| Unbuildable { lane, fault })?;
            let len = request.route.len() * hop_key_len(request.version);
            assert!(keys[lane].len() == len, "a block has a key for each hop");
        }
        let rows = requests.iter().zip(headers).zip(keys);
        let jobs = rows.map(|((request, header), keys)| Job {
            request,
            packet: &mut header[..],
            arrival: None,
            keys: Some(keys),
        });
        let mut jobs: Jobs<'_> = jobs.collect();
        sort(&mut jobs);
        self.agree(&mut jobs);
        self.write_headers(&mut jobs);
        self.write_hop_keys(&mut jobs);
        self.scratch.wipe_rows(&jobs);
        Ok(())
    }

    /// Writes what the hops' payload keys come from into the blocks.
    fn write_hop_keys(&self, jobs: &mut [Job<'_>]) {
        for (row, job) in jobs.iter_mut().enumerate() {
            let version = job.request.version;
            let Some(keys) = &mut job.keys else { continue };
            let hops = keys.chunks_exact_mut(hop_key_len(version));
            for (slot, keys) in hops.zip(&self.scratch.keys) {
                match has_explicit_keys(version) {
                    true => slot.copy_from_slice(keys[row].payload()),
                    false => slot.copy_from_slice(keys[row].payload_seed()),
                }
            }
        }
    }

    /// Fills each of `packets` with the Sphinx packet that the reply at the same place makes; its
    /// length is its size.
    ///
    /// # Errors
    /// If a reply has a number of keys that is no route's, or a message too long for its packet;
    /// then nothing is written to.
    ///
    /// # Panics
    /// If the slices differ in length or hold more than [`BATCH_MAX`], or if a packet has none of
    /// the five sizes.
    pub fn build_replies(
        &mut self,
        replies: &[Reply<'_>],
        packets: &mut [&mut [u8]],
    ) -> Result<(), Unbuildable> {
        assert!(replies.len() == packets.len() && packets.len() <= BATCH_MAX);
        for (lane, (reply, packet)) in replies.iter().zip(&*packets).enumerate() {
            let size = PacketSize::from_packet_len(packet.len());
            let size = size.expect("a packet has one of the five sizes");
            reply.check(size).map_err(|fault| Unbuildable { lane, fault })?;
        }
        let rows = replies.iter().zip(packets);
        let mut rows: ArrayVec<(&Reply<'_>, &mut [u8]), BATCH_MAX> =
            rows.map(|(reply, packet)| (reply, &mut **packet)).collect();
        rows.sort_unstable_by_key(|(reply, packet)| (Reverse(reply.hops()), packet.len()));
        for (reply, packet) in &mut rows {
            packet[..HEADER].copy_from_slice(reply.header);
            write_plain(&mut packet[HEADER..], reply.message);
        }
        for step in 0..MAX_HOPS {
            let left = rows.partition_point(|(reply, _)| reply.hops() > step);
            self.wrap(&mut rows[..left], step);
        }
        wipe(&mut self.scratch.payload_keys[..rows.len()]);
        wipe(&mut self.scratch.short_keys[..rows.len()]);
        Ok(())
    }

    /// Puts the layer of the hop that is `step` before the last around each payload.
    fn wrap(&mut self, rows: &mut [(&Reply<'_>, &mut [u8])], step: usize) {
        let scratch = &mut *self.scratch;
        for (row, (reply, _)) in rows.iter().enumerate() {
            let key = reply.hop_key(reply.hops() - 1 - step);
            match has_explicit_keys(reply.version) {
                true => scratch.payload_keys[row].copy_from_slice(key),
                false => {
                    scratch.short_keys[0].copy_from_slice(key);
                    let derived = &mut scratch.payload_keys[row..=row];
                    (self.kernels.payload_keys)(&scratch.short_keys[..1], derived);
                }
            }
        }
        let keys = &scratch.payload_keys[..rows.len()];
        let mut payloads: ArrayVec<&mut [u8], BATCH_MAX> =
            rows.iter_mut().map(|(_, packet)| &mut packet[HEADER..]).collect();
        (self.kernels.lioness_encrypt)(keys, &mut payloads);
    }
}
