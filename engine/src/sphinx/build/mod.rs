//! Sphinx packets made in batches, for clients and load tests.
//!
//! [`Builder::build`] does what sphinx-packet 0.8.0's builder does, byte for byte: with the same
//! initial secret and the same padding the packets are equal. Randomness is an argument here, so
//! both are part of the [`Request`].
//!
//! The work runs through the kernels in the order of the hops: agreement on keys from the first
//! hop to the last (`keys`), then header and payload from the last layer to the first (`header`,
//! `payload`). A packet of n hops takes n + 1 scalar multiplications, five on Nym's usual path of
//! four hops.

mod header;
mod keys;
mod payload;
mod reply;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use core::cmp::Reverse;
use core::error::Error;
use core::fmt;
use core::ops::Range;

use arrayvec::ArrayVec;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{EXPLICIT_KEY_VERSION, LEGACY_VERSIONS};
use crate::crypto::{HopKeys, Kernels, PAYLOAD_KEY, wipe};
use crate::limits::BATCH_MAX;
use crate::secret::InitialSecret;
use crate::units::Span;
use crate::wire::geometry::{ADDRESS, BETA_LEN, HOP_STRIDE, K, MAX_HOPS, PacketSize, STREAM_LEN};

pub use self::reply::{Reply, hop_key_len};

/// What the last hop reads for itself: flag 1, version 3, destination 32, identifier 16.
const FINAL_INFO: usize = 1 + 3 + ADDRESS + K;

/// Bytes of padding for a route of one hop, which has room for the most.
pub const PADDING_MAX: usize = padding_len(1);

/// Bytes of padding that a packet needs whose route has `hops` hops.
///
/// # Panics
/// If there is no such route.
pub const fn padding_len(hops: usize) -> usize {
    assert!(hops >= 1 && hops <= MAX_HOPS, "a route has 1 to 5 hops");
    BETA_LEN - (hops - 1) * HOP_STRIDE - FINAL_INFO
}

/// One node of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The node's address as the header carries it; see [`crate::wire::address`]. The first hop's
    /// is not part of the packet.
    pub address: [u8; ADDRESS],
    /// The node's X25519 public key for the rotation that the packet is sent in.
    pub public_key: [u8; 32],
    /// How long the node is to hold the packet. The last hop's is not part of the packet.
    pub delay: Span,
}

/// What one packet is to be.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The nodes to pass, first hop first: 1 to [`MAX_HOPS`].
    pub route: &'a [Hop],
    /// The client that the last hop hands the message to.
    pub destination: [u8; ADDRESS],
    /// Identifier of the reply block; senders of ordinary messages put zeros.
    pub identifier: [u8; K],
    /// Version for the header of every hop: 258 for explicit payload keys, 259 and later for keys
    /// derived from seeds.
    pub version: u16,
    /// 32 random bytes that no other packet is built from.
    pub secret: &'a InitialSecret,
    /// Random bytes that fill the last hop's header; the first [`padding_len`] are used.
    ///
    /// From bytes that it can predict, such as the paper's zeros, the last hop learns the length of
    /// the path (Kuhn, Beck and Strufe, "Breaking and (Partially) Fixing Provably Secure Onion
    /// Routing", 2020). sphinx-packet draws them at random, too.
    pub padding: &'a [u8; PADDING_MAX],
    /// What the last hop hands over: at most as long as the packet's size allows, any shorter
    /// length being hidden.
    pub message: &'a [u8],
}

impl Request<'_> {
    /// Whether a packet of `size` can be what this asks for.
    fn check(&self, size: PacketSize) -> Result<(), Fault> {
        self.check_header()?;
        if self.message.len() > size.message_len() {
            return Err(Fault::MessageTooLong);
        }
        Ok(())
    }

    /// Whether there can be a header such as this asks for.
    fn check_header(&self) -> Result<(), Fault> {
        if self.route.is_empty() || self.route.len() > MAX_HOPS {
            return Err(Fault::RouteLength);
        }
        if LEGACY_VERSIONS.contains(&self.version) {
            return Err(Fault::LegacyVersion);
        }
        Ok(())
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("hops", &self.route.len())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Why a batch was not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbuildable {
    /// Position in the batch of the first request that has a fault.
    pub lane: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The route has no hop, or more than [`MAX_HOPS`].
    RouteLength,
    /// The message does not fit into a packet of this size.
    MessageTooLong,
    /// Version 1 or 257, which nodes refuse.
    LegacyVersion,
}

impl fmt::Display for Unbuildable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet {} of the batch: ", self.lane)?;
        match self.fault {
            Fault::RouteLength => write!(f, "a route has 1 to {MAX_HOPS} hops"),
            Fault::MessageTooLong => f.write_str("the message is too long for the packet's size"),
            Fault::LegacyVersion => f.write_str("Sphinx versions 1 and 257 are no longer in use"),
        }
    }
}

impl Error for Unbuildable {}

/// Builds the packets of a batch. Allocates once, when it is made.
pub struct Builder {
    kernels: Kernels,
    scratch: Box<Scratch>,
}

impl Builder {
    /// A builder that computes with `kernels`.
    pub fn new(kernels: Kernels) -> Self {
        Self { kernels, scratch: Box::new(Scratch::empty()) }
    }

    /// Fills each of `packets` with the Sphinx packet that the request at the same place asks for;
    /// its length is its size. All working rows are wiped before this returns.
    ///
    /// The public keys must be those of private keys. Whatever else one holds, the packet is still
    /// well formed; it equals sphinx-packet's unless the key is on the curve's twist, in which case
    /// no node can open it either way.
    ///
    /// # Errors
    /// If a request has one of the faults listed; then no packet of the batch is written to.
    ///
    /// # Panics
    /// If the slices differ in length or hold more than [`BATCH_MAX`] packets, or if a packet has
    /// none of the five sizes.
    pub fn build(
        &mut self,
        requests: &[Request<'_>],
        packets: &mut [&mut [u8]],
    ) -> Result<(), Unbuildable> {
        check(requests, packets)?;
        let jobs = requests.iter().zip(packets);
        let jobs = jobs.map(|(request, packet)| Job { request, packet, arrival: None, keys: None });
        self.run(jobs.collect());
        Ok(())
    }

    /// As [`Builder::build`], and fills each of `arrivals` with the packet as its last hop will
    /// receive it, every hop before that having taken its layer off. So a load test that is the
    /// last hop itself knows each byte that must come back. That takes one scalar multiplication
    /// more.
    ///
    /// # Errors
    /// As [`Builder::build`]; then nothing is written to.
    ///
    /// # Panics
    /// As [`Builder::build`], or if an arrival is not as long as its packet.
    pub fn build_with_arrivals(
        &mut self,
        requests: &[Request<'_>],
        packets: &mut [&mut [u8]],
        arrivals: &mut [&mut [u8]],
    ) -> Result<(), Unbuildable> {
        let lengths = packets.iter().map(|packet| packet.len());
        assert!(lengths.eq(arrivals.iter().map(|arrival| arrival.len())));
        check(requests, packets)?;
        let jobs = requests.iter().zip(packets).zip(arrivals);
        let jobs = jobs.map(|((request, packet), arrival)| Job {
            request,
            packet,
            arrival: Some(arrival),
            keys: None,
        });
        self.run(jobs.collect());
        Ok(())
    }

    fn run(&mut self, mut jobs: Jobs<'_>) {
        sort(&mut jobs);
        self.agree(&mut jobs);
        self.write_headers(&mut jobs);
        self.write_payloads(&mut jobs);
        self.scratch.wipe_rows(&jobs);
    }
}

/// Puts the packets that still have a hop, or a layer, to go at the front, whatever the hop.
fn sort(jobs: &mut Jobs<'_>) {
    jobs.sort_unstable_by_key(|job| (Reverse(job.hops()), job.packet.len()));
}

/// Whether every packet can be what its request asks for.
fn check(requests: &[Request<'_>], packets: &[&mut [u8]]) -> Result<(), Unbuildable> {
    assert!(requests.len() == packets.len() && packets.len() <= BATCH_MAX);
    for (lane, (request, packet)) in requests.iter().zip(packets).enumerate() {
        let size = PacketSize::from_packet_len(packet.len());
        let size = size.expect("a packet has one of the five sizes");
        request.check(size).map_err(|fault| Unbuildable { lane, fault })?;
    }
    Ok(())
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("kernels", &self.kernels.name).finish_non_exhaustive()
    }
}

/// A request and what is to be written for it.
struct Job<'a> {
    request: &'a Request<'a>,
    /// The packet, or only the header of a reply block.
    packet: &'a mut [u8],
    /// The packet as it will reach its last hop, if that is wanted.
    arrival: Option<&'a mut [u8]>,
    /// The payload keys of all hops, if it is a reply block.
    keys: Option<&'a mut [u8]>,
}

impl Job<'_> {
    fn hops(&self) -> usize {
        self.request.route.len()
    }

    /// The hop that takes off the layer which is put on in `step`, the last layer being put on
    /// first.
    fn hop_of_layer(&self, step: usize) -> usize {
        self.hops() - 1 - step
    }

    /// Copies what stands in `part` of the packet before any layer but the last hop's is around it.
    fn keep_arrival(&mut self, part: Range<usize>) {
        if let Some(arrival) = &mut self.arrival {
            arrival[part.clone()].copy_from_slice(&self.packet[part]);
        }
    }

    fn has_explicit_keys(&self) -> bool {
        has_explicit_keys(self.request.version)
    }
}

/// Whether payload keys of `version` come straight from the shared secret, without a seed.
const fn has_explicit_keys(version: u16) -> bool {
    version == EXPLICIT_KEY_VERSION
}

/// The packets of a batch, longest routes first.
type Jobs<'a> = ArrayVec<Job<'a>, BATCH_MAX>;

/// How many of `jobs` have more than `hops` hops; they stand at the front.
fn longer_than(jobs: &[Job<'_>], hops: usize) -> usize {
    jobs.partition_point(|job| job.hops() > hops)
}

/// Arguments and results of the kernels. A row belongs to the job at that place; the rows of `keys`
/// and `streams` stand together by hop.
///
/// Wiped after each batch. What the crates underneath leave in their own stack frames is not.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Scratch {
    scalars: [[u8; 32]; BATCH_MAX],
    points: [[u8; 32]; BATCH_MAX],
    products: [[u8; 32]; BATCH_MAX],
    short_keys: [[u8; K]; BATCH_MAX],
    macs: [[u8; K]; BATCH_MAX],
    payload_keys: [[u8; PAYLOAD_KEY]; BATCH_MAX],
    keys: [[HopKeys; BATCH_MAX]; MAX_HOPS],
    streams: [[[u8; STREAM_LEN]; BATCH_MAX]; MAX_HOPS],
}

impl Scratch {
    fn empty() -> Self {
        Self {
            scalars: [[0; 32]; BATCH_MAX],
            points: [[0; 32]; BATCH_MAX],
            products: [[0; 32]; BATCH_MAX],
            short_keys: [[0; K]; BATCH_MAX],
            macs: [[0; K]; BATCH_MAX],
            payload_keys: [[0; PAYLOAD_KEY]; BATCH_MAX],
            keys: [const { [const { HopKeys::empty() }; BATCH_MAX] }; MAX_HOPS],
            streams: [[[0; STREAM_LEN]; BATCH_MAX]; MAX_HOPS],
        }
    }

    /// Wipes what a batch of `jobs` has used.
    fn wipe_rows(&mut self, jobs: &[Job<'_>]) {
        let rows = jobs.len();
        wipe(&mut self.scalars[..rows]);
        wipe(&mut self.points[..rows]);
        wipe(&mut self.products[..rows]);
        wipe(&mut self.short_keys[..rows]);
        wipe(&mut self.macs[..rows]);
        wipe(&mut self.payload_keys[..rows]);
        for (hop, (keys, streams)) in self.keys.iter_mut().zip(&mut self.streams).enumerate() {
            let rows = longer_than(jobs, hop);
            keys[..rows].iter_mut().for_each(Zeroize::zeroize);
            wipe(&mut streams[..rows]);
        }
    }
}
