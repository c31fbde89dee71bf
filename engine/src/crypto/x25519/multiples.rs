//! Points that are multiplied more than once, with what makes the next time cheaper.

use alloc::boxed::Box;
use core::fmt;

use super::comb::{ROWS, Row};
use super::lanes::LANES_MAX;
use crate::limits::BATCH_MAX;

/// How a tier multiplies points that are multiplied again.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// Works out what it can about the points that are set.
    pub(crate) prepare: fn(&mut Multiples),
    /// `out[i] = clamp(scalars[i]) * points[i]` for the points in `wanted` (bit i for point i)
    /// about which something was worked out; other rows of `out` may be written too.
    pub(crate) multiply: fn(&[[u8; 32]], u64, &Multiples, &mut [[u8; 32]]),
}

/// Vectors of points.
const VECTORS: usize = BATCH_MAX / LANES_MAX;

/// A batch of points, and of each what a tier has worked out about it. All of it is public: points
/// are what stands in packets. Allocates once, when it is made.
pub struct Multiples {
    pub(super) points: [[u8; 32]; BATCH_MAX],
    pub(super) len: usize,
    /// Points about which nothing has been worked out, one bit each.
    pub(super) plain: u64,
    pub(super) rows: Box<[[Row; ROWS]]>,
}

impl Multiples {
    /// No points yet, with room for [`BATCH_MAX`] of them.
    pub fn new() -> Self {
        let rows = alloc::vec![[Row([0; LANES_MAX]); ROWS]; VECTORS].into_boxed_slice();
        Self { points: [[0; 32]; BATCH_MAX], len: 0, plain: 0, rows }
    }

    /// Takes points, and knows nothing about them.
    ///
    /// # Panics
    /// If there are more than [`BATCH_MAX`].
    pub(crate) fn set(&mut self, points: impl ExactSizeIterator<Item = [u8; 32]>) {
        self.len = points.len();
        assert!(self.len <= BATCH_MAX);
        self.points.iter_mut().zip(points).for_each(|(row, point)| *row = point);
        self.plain = u64::MAX;
    }

    /// The points.
    pub fn points(&self) -> &[[u8; 32]] {
        &self.points[..self.len]
    }

    /// Points about which nothing has been worked out, one bit each.
    pub(crate) fn plain(&self) -> u64 {
        self.plain
    }
}

impl Multiples {
    /// Has `f` work out `vectors` of `width` points at a time; it returns those about which it
    /// knows nothing, one bit each.
    #[inline(always)]
    pub(super) fn prepare(
        &mut self,
        vectors: usize,
        width: usize,
        f: impl Fn(&[[u8; 32]], &mut [[Row; ROWS]]) -> u64,
    ) {
        let points = self.points[..self.len].chunks(vectors * width);
        self.plain = 0;
        for (i, (points, rows)) in points.zip(self.rows.chunks_mut(vectors)).enumerate() {
            self.plain |= f(points, rows) << (i * vectors * width);
        }
        self.plain &= first(self.len);
    }

    /// Hands `f` each vector of `width` points in which there is one of those `wanted`: its number,
    /// the scalars, and what has been worked out.
    #[inline(always)]
    pub(super) fn visit(
        &self,
        width: usize,
        scalars: &[[u8; 32]],
        wanted: u64,
        mut f: impl FnMut(usize, &[[u8; 32]], &[Row; ROWS]),
    ) {
        assert!(scalars.len() == self.len);
        for (i, (scalars, rows)) in scalars.chunks(width).zip(&self.rows).enumerate() {
            if wanted >> (i * width) & first(width) != 0 {
                f(i, scalars, rows);
            }
        }
    }
}

/// The first `count` bits.
const fn first(count: usize) -> u64 {
    if count < 64 { (1 << count) - 1 } else { u64::MAX }
}

impl Default for Multiples {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Multiples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multiples").field("len", &self.len).finish_non_exhaustive()
    }
}

const _: () = assert!(BATCH_MAX <= u64::BITS as usize && BATCH_MAX.is_multiple_of(LANES_MAX));
