//! Agreement on keys with every hop, and alpha.
//!
//! Hop i shares `b_(i-1) * (.. (b_0 * (x * Y_i)) ..)` with the sender: Y_i is its public key, x the
//! initial secret, b_j the blinding factor of hop j, and every `*` an X25519 with its own clamping
//! (Sphinx paper, section 3.2). Computed like that, four hops take ten multiplications of points,
//! and alpha one more. Here the scalars are multiplied instead, so that there is one multiplication
//! of a point per hop and one for alpha.

use curve25519_dalek::scalar::{Scalar, clamp_integer};
use subtle::{Choice, ConditionallySelectable};
use zeroize::Zeroize;

use super::{Builder, Job, longer_than};
use crate::wire::geometry::{ALPHA, MAX_HOPS};

/// The u-coordinate of X25519's base point (RFC 7748, section 4.1).
pub(super) const BASE_POINT: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 9;
    point
};

impl Builder {
    /// Writes alpha into the packets and leaves what each hop derives in `keys`.
    pub(super) fn agree(&mut self, jobs: &mut [Job<'_>]) {
        let (kernels, scratch) = (self.kernels, &mut *self.scratch);
        for (row, job) in jobs.iter().enumerate() {
            scratch.scalars[row] = *job.request.secret.as_bytes();
            scratch.points[row] = BASE_POINT;
        }
        let rows = jobs.len();
        let alphas = &mut scratch.products[..rows];
        kernels.multiply(&scratch.scalars[..rows], &scratch.points[..rows], alphas);
        for (job, alpha) in jobs.iter_mut().zip(&*alphas) {
            job.packet[ALPHA].copy_from_slice(alpha);
        }

        for hop in 0..MAX_HOPS {
            let rows = longer_than(jobs, hop);
            for (row, job) in jobs[..rows].iter().enumerate() {
                if let Some(before) = hop.checked_sub(1) {
                    blind(&mut scratch.scalars[row], scratch.keys[before][row].blinding());
                }
                scratch.points[row] = job.request.route[hop].public_key;
            }
            let shared = &mut scratch.products[..rows];
            kernels.multiply(&scratch.scalars[..rows], &scratch.points[..rows], shared);
            (kernels.expand)(shared, &mut scratch.keys[hop][..rows]);
        }
        if jobs.iter().any(|job| job.arrival.is_some()) {
            self.write_last_alphas(jobs);
        }
    }

    /// Writes into the arrivals the alpha that the last hop receives. What `agree` left in the
    /// scalars is the initial secret times the blinding factors of all hops before the last.
    fn write_last_alphas(&mut self, jobs: &mut [Job<'_>]) {
        let (kernels, scratch, rows) = (self.kernels, &mut *self.scratch, jobs.len());
        scratch.points[..rows].fill(BASE_POINT);
        let alphas = &mut scratch.products[..rows];
        (kernels.x25519)(&scratch.scalars[..rows], &scratch.points[..rows], alphas);
        for (job, alpha) in jobs.iter_mut().zip(&*alphas) {
            if let Some(arrival) = &mut job.arrival {
                arrival[ALPHA].copy_from_slice(alpha);
            }
        }
    }
}

/// Makes `scalar` one with which X25519 gives what X25519 with `factor` makes of the result of
/// X25519 with `scalar`, for every point on the curve.
///
/// Both scalars are clamped here, so both are multiples of 8, and the curve has 8l points with l a
/// prime: only the product modulo 8l matters, and that is 8 times a product modulo l. X25519 sets
/// bit 254 and clears bit 255 of its scalar, which the product must therefore have set and clear
/// already. As u-coordinates have no sign, the negative of the product does as well, and one of the
/// two has these bits: l is so close to 2^252 that neither has them for less than one in 2^126 of
/// the products.
///
/// The curve's twist has another number of points, hence other products.
pub(super) fn blind(scalar: &mut [u8; 32], factor: &[u8; 32]) {
    *scalar = clamp_integer(*scalar);
    divide_by_8(scalar);
    let mut eighth = Scalar::from_bytes_mod_order(*scalar);
    let mut by = Scalar::from_bytes_mod_order(clamp_integer(*factor));
    let mut product = eighth * by;
    let mut negative = -product;
    let high = Choice::from(product.as_bytes()[31] >> 3 & 1);
    product.conditional_assign(&negative, !high);
    *scalar = product.to_bytes();
    multiply_by_8(scalar);
    for secret in [&mut eighth, &mut by, &mut product, &mut negative] {
        secret.zeroize();
    }
}

/// The number in little-endian `bytes`, a multiple of 8, becomes its eighth.
fn divide_by_8(bytes: &mut [u8; 32]) {
    let mut above = 0;
    for byte in bytes.iter_mut().rev() {
        (*byte, above) = (*byte >> 3 | above << 5, *byte);
    }
}

/// The number in little-endian `bytes`, less than 2^253, becomes eight times itself.
fn multiply_by_8(bytes: &mut [u8; 32]) {
    let mut below = 0;
    for byte in bytes {
        (*byte, below) = (*byte << 3 | below >> 5, *byte);
    }
}
