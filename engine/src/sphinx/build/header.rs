//! Beta and its MAC, from the last hop's to the first's (Sphinx paper, section 3.2).

use arrayvec::ArrayVec;

use super::{Builder, FINAL_INFO, Job, longer_than};
use crate::limits::BATCH_MAX;
use crate::sphinx::open::{AFTER_PLACE, FINAL, FORWARD, PLACE, VERSION, beta};
use crate::wire::geometry::{
    ADDRESS, BETA, BETA_LEN, HEADER, HOP_INFO, HOP_STRIDE, K, MAC, MAX_HOPS, STREAM_LEN,
};

impl Builder {
    /// Writes MAC and beta into the packets.
    pub(super) fn write_headers(&mut self, jobs: &mut [Job<'_>]) {
        self.derive_streams(jobs);
        let streams = &self.scratch.streams;
        for (row, job) in jobs.iter_mut().enumerate() {
            write_last_beta(job, |hop| &streams[hop][row]);
        }
        self.authenticate(jobs, 0);
        jobs.iter_mut().for_each(|job| job.keep_arrival(MAC.start..HEADER));
        for step in 1..MAX_HOPS {
            let rows = longer_than(jobs, step);
            let streams = &self.scratch.streams;
            for (row, job) in jobs[..rows].iter_mut().enumerate() {
                let hop = job.hop_of_layer(step);
                write_beta(job, hop, &streams[hop][row]);
            }
            self.authenticate(&mut jobs[..rows], step);
        }
    }

    /// Puts the header's key stream of each hop into `streams`.
    fn derive_streams(&mut self, jobs: &[Job<'_>]) {
        let scratch = &mut *self.scratch;
        for hop in 0..MAX_HOPS {
            let rows = longer_than(jobs, hop);
            for (short, keys) in scratch.short_keys.iter_mut().zip(&scratch.keys[hop][..rows]) {
                *short = *keys.stream();
            }
            let streams = &mut scratch.streams[hop][..rows];
            streams.as_flattened_mut().fill(0);
            (self.kernels.header_stream)(&scratch.short_keys[..rows], streams);
        }
    }

    /// Writes the MACs of the betas that `step` has left in the packets.
    fn authenticate(&mut self, jobs: &mut [Job<'_>], step: usize) {
        let (scratch, rows) = (&mut *self.scratch, jobs.len());
        for (row, job) in jobs.iter().enumerate() {
            scratch.short_keys[row] = *scratch.keys[job.hop_of_layer(step)][row].mac();
        }
        let betas: ArrayVec<&[u8; BETA_LEN], BATCH_MAX> =
            jobs.iter().map(|job| beta(job.packet)).collect();
        let macs = &mut scratch.macs[..rows];
        (self.kernels.header_macs)(&scratch.short_keys[..rows], &betas, macs);
        drop(betas);
        for (job, mac) in jobs.iter_mut().zip(&*macs) {
            job.packet[MAC].copy_from_slice(mac);
        }
    }
}

/// The last hop's beta: what it reads, the padding, and the filler, which is what the hops before
/// it will have made of the zeros that each of them appends.
fn write_last_beta<'s>(job: &mut Job<'_>, stream: impl Fn(usize) -> &'s [u8; STREAM_LEN]) {
    let (request, last) = (job.request, job.hops() - 1);
    let beta = &mut job.packet[BETA];
    let (own, filler) = beta.split_at_mut(BETA_LEN - last * HOP_STRIDE);
    write_start(own, FINAL, request.version, &request.destination);
    own[AFTER_PLACE..FINAL_INFO].copy_from_slice(&request.identifier);
    let padding = &mut own[FINAL_INFO..];
    padding.copy_from_slice(&request.padding[..padding.len()]);
    xor(own, stream(last));

    filler.fill(0);
    for hop in 0..last {
        let len = (hop + 1) * HOP_STRIDE;
        xor(&mut filler[..len], &stream(hop)[STREAM_LEN - len..]);
    }
}

/// The beta of `hop` around the MAC and the beta of the hop after it, whose end falls off: the
/// hop's stream restores that.
fn write_beta(job: &mut Job<'_>, hop: usize, stream: &[u8; STREAM_LEN]) {
    let (route, packet) = (job.request.route, &mut *job.packet);
    packet.copy_within(MAC.start..HEADER - HOP_STRIDE, MAC.start + HOP_STRIDE);
    let beta = &mut packet[BETA];
    write_start(beta, FORWARD, job.request.version, &route[hop + 1].address);
    let delay = route[hop].delay.as_nanos().to_be_bytes();
    beta[AFTER_PLACE..HOP_INFO].copy_from_slice(&delay);
    xor(beta, stream);
}

/// Flag, version (of three bytes, the first being zero) and address or destination.
fn write_start(block: &mut [u8], flag: u8, version: u16, place: &[u8; ADDRESS]) {
    block[..VERSION].copy_from_slice(&[flag, 0]);
    block[VERSION..PLACE].copy_from_slice(&version.to_be_bytes());
    block[PLACE..AFTER_PLACE].copy_from_slice(place);
}

/// Xors the start of `stream` onto `bytes`.
fn xor(bytes: &mut [u8], stream: &[u8]) {
    bytes.iter_mut().zip(stream).for_each(|(byte, stream)| *byte ^= stream);
}

const _: () = assert!(AFTER_PLACE + K == FINAL_INFO);
