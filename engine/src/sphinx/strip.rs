//! Second step, for packets that passed the replay check: blinding and payload.

use arrayvec::ArrayVec;

use super::{EXPLICIT_KEY_VERSION, Lanes, Opened, Peeler, Route};
use crate::limits::BATCH_MAX;
use crate::wire::geometry::{ALPHA, HEADER};

impl Peeler {
    /// Finishes the packets of the last [`Peeler::open`] for which `keep` holds, and wipes the keys
    /// of all of them. `packets` must be the same packets in the same order.
    ///
    /// A packet with [`Route::Forward`] is then what the next hop is to receive. Of one with
    /// [`Route::Final`] the payload has lost its layer and the header is as it came.
    ///
    /// # Panics
    /// If `packets` or `keep` differ in length from the last batch, if `keep` holds for a packet
    /// that `open` rejected, or if the batch has been stripped already.
    pub fn strip(&mut self, packets: &mut [&mut [u8]], keep: &[bool]) {
        assert!(self.armed, "strip follows open, once");
        assert!(packets.len() == keep.len() && packets.len() == self.results.len());
        let allowed = keep.iter().zip(&self.results).all(|(&keep, found)| !keep || found.is_ok());
        assert!(allowed, "a rejected packet cannot be kept");

        self.blind(packets, keep);
        self.decrypt_payloads(packets, keep);
        self.scratch.wipe_stripped(packets.len());
        self.disarm();
    }

    /// Multiplies alpha with the blinding factor, for packets that go on.
    fn blind(&mut self, packets: &mut [&mut [u8]], keep: &[bool]) {
        let goes_on = |&lane: &usize| {
            keep[lane]
                && matches!(self.results[lane], Ok(Opened { route: Route::Forward { .. }, .. }))
        };
        let lanes: Lanes = (0..packets.len()).filter(goes_on).collect();
        let scratch = &mut *self.scratch;
        for &lane in &lanes {
            scratch.scalars[lane] = *scratch.kept[lane].blinding();
        }
        let products = &mut scratch.products[..packets.len()];
        let scalars = &scratch.scalars[..packets.len()];
        self.kernels.multiply_again(scalars, &lanes, &self.alphas, products);
        for lane in lanes {
            packets[lane][ALPHA].copy_from_slice(&products[lane]);
        }
    }

    /// Takes the layer off the payloads. Packets whose key is derived from a seed come first, so
    /// that no derivation is wasted on the others; within both parts, equal lengths stand together.
    fn decrypt_payloads(&mut self, packets: &mut [&mut [u8]], keep: &[bool]) {
        let explicit = |lane: usize| {
            matches!(self.results[lane], Ok(Opened { version: EXPLICIT_KEY_VERSION, .. }))
        };
        let mut jobs: ArrayVec<(usize, &mut [u8]), BATCH_MAX> = packets
            .iter_mut()
            .enumerate()
            .filter(|(lane, _)| keep[*lane])
            .map(|(lane, packet)| (lane, &mut packet[HEADER..]))
            .collect();
        jobs.sort_unstable_by_key(|(lane, payload)| (explicit(*lane), payload.len()));

        let scratch = &mut *self.scratch;
        let seeded = jobs.partition_point(|(lane, _)| !explicit(*lane));
        for (row, (lane, _)) in jobs.iter().enumerate() {
            if row < seeded {
                scratch.short_keys[row] = *scratch.kept[*lane].payload_seed();
            } else {
                scratch.payload_keys[row] = *scratch.kept[*lane].payload();
            }
        }
        let keys = &mut scratch.payload_keys[..jobs.len()];
        (self.kernels.payload_keys)(&scratch.short_keys[..seeded], &mut keys[..seeded]);
        let mut payloads: ArrayVec<&mut [u8], BATCH_MAX> =
            jobs.into_iter().map(|(_, payload)| payload).collect();
        (self.kernels.lioness_decrypt)(keys, &mut payloads);
    }
}
