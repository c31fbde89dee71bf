//! First step: key agreement, key derivation, header check, header stream.

use arrayvec::ArrayVec;
use subtle::ConstantTimeEq;

use super::{KeyChoice, LEGACY_VERSIONS, Lanes, Opened, Peeler, Rejected, Route};
use crate::limits::BATCH_MAX;
use crate::secret::NodeSecret;
use crate::units::Span;
use crate::wire::geometry::{
    ADDRESS, ALPHA, BETA, BETA_LEN, HEADER, HOP_INFO, K, MAC, PacketSize, STREAM_LEN,
};

/// Routing flag of a packet that goes to another node.
pub(super) const FORWARD: u8 = 1;
/// Routing flag of a packet that has reached its end.
pub(super) const FINAL: u8 = 2;

/// Where a decrypted header block holds the version. The byte before it belongs to the field, is
/// zero, and is ignored by every hop.
pub(super) const VERSION: usize = 2;
/// Where it holds the next hop's address or the destination.
pub(super) const PLACE: usize = 4;
/// Where it holds the delay, or for a final hop the identifier.
pub(super) const AFTER_PLACE: usize = PLACE + ADDRESS;

impl Peeler {
    /// Opens the headers of `packets`, the key of `packets[i]` being among `keys[i]`. Result `i`
    /// is about packet `i`.
    ///
    /// A packet with [`Route::Forward`] gets the next hop's MAC and beta at once; its alpha waits
    /// for [`Peeler::strip`]. All other packets are left as they are.
    ///
    /// The keys that `strip` will need are held until it has run or the next `open` begins. All
    /// other secrets are wiped before this returns.
    ///
    /// # Panics
    /// If the slices differ in length or hold more than [`BATCH_MAX`] packets, or if a packet has
    /// none of the five sizes.
    pub fn open(
        &mut self,
        packets: &mut [&mut [u8]],
        keys: &[KeyChoice<'_>],
    ) -> &[Result<Opened, Rejected>] {
        assert!(packets.len() == keys.len() && packets.len() <= BATCH_MAX);
        assert!(packets.iter().all(|packet| PacketSize::from_packet_len(packet.len()).is_some()));
        self.disarm();
        self.results.clear();
        self.results.resize(packets.len(), Err(Rejected::Mac));

        self.kernels.prepare(packets.iter().map(|packet| alpha(packet)), &mut self.alphas);
        let all: Lanes = (0..packets.len()).collect();
        let (mut fitting, failed) = self.agree(packets, &all, |lane| keys[lane].first);
        let retry: Lanes = failed.into_iter().filter(|&i| keys[i].second.is_some()).collect();
        let second = |lane: usize| keys[lane].second.expect("these lanes have a second key");
        let (rescued, _) = self.agree(packets, &retry, second);

        let firsts = fitting.len();
        fitting.extend(rescued);
        self.decrypt_headers(packets, &fitting, firsts);
        self.scratch.wipe_opened(packets.len());
        self.armed = true;
        &self.results
    }

    /// Derives the keys that the packets in `lanes` share with the node and checks their MACs.
    /// Returns the lanes that fit, whose keys are then in `kept`, and those that do not.
    fn agree<'k>(
        &mut self,
        packets: &[&mut [u8]],
        lanes: &Lanes,
        key: impl Fn(usize) -> &'k NodeSecret,
    ) -> (Lanes, Lanes) {
        let (scratch, count) = (&mut *self.scratch, lanes.len());
        for &lane in lanes {
            scratch.scalars[lane] = *key(lane).as_bytes();
        }
        let products = &mut scratch.products[..packets.len()];
        let scalars = &scratch.scalars[..packets.len()];
        self.kernels.multiply_again(scalars, lanes, &self.alphas, products);
        for (row, &lane) in lanes.iter().enumerate() {
            // Rows are no later than their lanes, which are in ascending order.
            products[row] = products[lane];
        }
        (self.kernels.expand)(&products[..count], &mut scratch.derived[..count]);

        let derived = &scratch.derived[..count];
        for (short, keys) in scratch.short_keys.iter_mut().zip(derived) {
            *short = *keys.mac();
        }
        let betas: ArrayVec<&[u8; BETA_LEN], BATCH_MAX> =
            lanes.iter().map(|&lane| beta(packets[lane])).collect();
        let macs = &mut scratch.macs[..count];
        (self.kernels.header_macs)(&scratch.short_keys[..count], &betas, macs);

        let (mut fitting, mut failed) = (Lanes::new(), Lanes::new());
        for ((&lane, mac), keys) in lanes.iter().zip(&*macs).zip(derived) {
            if bool::from(mac[..].ct_eq(&packets[lane][MAC])) {
                scratch.kept[lane].copy_from(keys);
                fitting.push(lane);
            } else {
                failed.push(lane);
            }
        }
        (fitting, failed)
    }

    /// Decrypts the routing information of `lanes`, of which the first `firsts` fitted their first
    /// key, and acts on it: results for all, the next hop's MAC and beta for those that go on.
    fn decrypt_headers(&mut self, packets: &mut [&mut [u8]], lanes: &Lanes, firsts: usize) {
        let (scratch, count) = (&mut *self.scratch, lanes.len());
        for (row, &lane) in lanes.iter().enumerate() {
            scratch.short_keys[row] = *scratch.kept[lane].stream();
            // The zeros become the pseudorandom end of the next hop's beta, which its MAC covers.
            let (front, end) = scratch.blocks[row].split_at_mut(BETA_LEN);
            front.copy_from_slice(beta(packets[lane]));
            end.fill(0);
        }
        let blocks = &mut scratch.blocks[..count];
        (self.kernels.header_stream)(&scratch.short_keys[..count], blocks);

        for (row, (&lane, block)) in lanes.iter().zip(&*blocks).enumerate() {
            self.results[lane] = read(block).map(|(route, version)| Opened {
                route,
                replay_tag: *scratch.kept[lane].replay_tag(),
                used_second: row >= firsts,
                version,
            });
            if let Ok(Opened { route: Route::Forward { .. }, .. }) = self.results[lane] {
                packets[lane][MAC.start..HEADER].copy_from_slice(&block[HOP_INFO..]);
            }
        }
    }
}

fn alpha(packet: &[u8]) -> [u8; ALPHA.end] {
    *packet[ALPHA].first_chunk().expect("alpha has this length")
}

pub(super) fn beta(packet: &[u8]) -> &[u8; BETA_LEN] {
    packet[BETA].first_chunk().expect("beta has this length")
}

/// Route and version in a decrypted header block.
fn read(block: &[u8; STREAM_LEN]) -> Result<(Route, u16), Rejected> {
    let version = u16::from_be_bytes(field(block, VERSION));
    let place: [u8; ADDRESS] = field(block, PLACE);
    let route = match block[0] {
        FORWARD => {
            let delay = Span::from_nanos(u64::from_be_bytes(field(block, AFTER_PLACE)));
            Route::Forward { next_hop: place, delay }
        }
        FINAL => {
            let identifier: [u8; K] = field(block, AFTER_PLACE);
            Route::Final { destination: place, identifier }
        }
        _ => return Err(Rejected::Flag),
    };
    if LEGACY_VERSIONS.contains(&version) {
        return Err(Rejected::LegacyVersion);
    }
    Ok((route, version))
}

fn field<const N: usize>(block: &[u8; STREAM_LEN], at: usize) -> [u8; N] {
    *block[at..].first_chunk().expect("every field lies within the block")
}

const _: () = assert!(AFTER_PLACE + size_of::<u64>() == HOP_INFO);
const _: () = assert!(STREAM_LEN - HOP_INFO == HEADER - MAC.start);
