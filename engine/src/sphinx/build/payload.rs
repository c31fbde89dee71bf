//! The payload: the message and its frame, encrypted from the last hop's layer to the first's
//! (Sphinx paper, section 3.5).

use arrayvec::ArrayVec;

use super::{Builder, Job, longer_than};
use crate::limits::BATCH_MAX;
use crate::wire::geometry::{HEADER, K, MAX_HOPS};

/// Ends the message; see [`final_message`](crate::sphinx::final_message).
const MESSAGE_END: u8 = 1;

impl Builder {
    /// Writes the encrypted payloads into the packets.
    pub(super) fn write_payloads(&mut self, jobs: &mut [Job<'_>]) {
        for job in jobs.iter_mut() {
            write_plain(&mut job.packet[HEADER..], job.request.message);
        }
        for step in 0..MAX_HOPS {
            let rows = longer_than(jobs, step);
            self.derive_payload_keys(&jobs[..rows], step);
            let mut payloads: ArrayVec<&mut [u8], BATCH_MAX> =
                jobs[..rows].iter_mut().map(|job| &mut job.packet[HEADER..]).collect();
            (self.kernels.lioness_encrypt)(&self.scratch.payload_keys[..rows], &mut payloads);
            drop(payloads);
            if step == 0 {
                jobs.iter_mut().for_each(|job| job.keep_arrival(HEADER..job.packet.len()));
            }
        }
    }

    /// Puts the keys of the layer that `step` adds into `payload_keys`.
    fn derive_payload_keys(&mut self, jobs: &[Job<'_>], step: usize) {
        let scratch = &mut *self.scratch;
        let mut seeded = 0;
        for (row, job) in jobs.iter().enumerate().filter(|(_, job)| !job.has_explicit_keys()) {
            let keys = &scratch.keys[job.hop_of_layer(step)][row];
            scratch.short_keys[seeded] = *keys.payload_seed();
            seeded += 1;
        }
        let derived = &mut scratch.payload_keys[..seeded];
        (self.kernels.payload_keys)(&scratch.short_keys[..seeded], derived);

        // From the back, so that no key is overwritten before it has reached its row.
        for (row, job) in jobs.iter().enumerate().rev() {
            if job.has_explicit_keys() {
                let keys = &scratch.keys[job.hop_of_layer(step)][row];
                scratch.payload_keys[row].copy_from_slice(keys.payload());
            } else {
                seeded -= 1;
                scratch.payload_keys.copy_within(seeded..=seeded, row);
            }
        }
    }
}

/// k zeros, the message, the byte 1, and zeros.
pub(super) fn write_plain(payload: &mut [u8], message: &[u8]) {
    let (zeros, rest) = payload.split_at_mut(K);
    let (body, rest) = rest.split_at_mut(message.len());
    zeros.fill(0);
    body.copy_from_slice(message);
    rest.fill(0);
    rest[0] = MESSAGE_END;
}
