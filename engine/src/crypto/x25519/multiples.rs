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
    pub(crate) multiply: MultiplyAgain,
}

/// `out[i] = clamp(scalars[i]) * points[i]` for those points about which something was worked out
/// and that are wanted; other rows of `out` may be written too.
///
/// Arguments: scalars, the wanted points (bit i for point i), points, out.
pub(crate) type MultiplyAgain = fn(&[[u8; 32]], u64, &Multiples, &mut [[u8; 32]]);

/// Vectors of points.
pub(super) const VECTORS: usize = BATCH_MAX / LANES_MAX;

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
    /// Parts of `count` points, the last may have fewer, each with the number of its first point
    /// and the rows of its vectors.
    pub(super) fn parts_mut(
        &mut self,
        count: usize,
    ) -> impl Iterator<Item = (usize, &[[u8; 32]], &mut [[Row; ROWS]])> {
        let points = self.points[..self.len].chunks(count);
        let rows = self.rows.chunks_mut(count.div_ceil(LANES_MAX));
        points.zip(rows).enumerate().map(move |(i, (points, rows))| (i * count, points, rows))
    }

    /// The rows of all vectors that have a point.
    pub(super) fn used_rows_mut(&mut self) -> &mut [[Row; ROWS]] {
        &mut self.rows[..self.len.div_ceil(LANES_MAX)]
    }

    /// Vectors of `width` points in which there is one of those `wanted`: their numbers, scalars,
    /// and what has been worked out.
    pub(super) fn vectors<'a>(
        &'a self,
        width: usize,
        scalars: &'a [[u8; 32]],
        wanted: u64,
    ) -> impl Iterator<Item = (usize, &'a [[u8; 32]], &'a [Row; ROWS])> {
        assert!(scalars.len() == self.len);
        let all = scalars.chunks(width).zip(&self.rows).enumerate();
        all.filter(move |(i, _)| wanted >> (i * width) & first(width) != 0)
            .map(|(i, (scalars, rows))| (i, scalars, rows))
    }

    /// Remembers about which points nothing has been worked out, one bit each; those beyond the
    /// last count for nothing.
    pub(super) fn set_plain(&mut self, plain: u64) {
        self.plain = plain & first(self.len);
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
