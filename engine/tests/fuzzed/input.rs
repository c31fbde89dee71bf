//! A fuzzer's bytes as a source of choices. When they run out it gives zeros, so that every input
//! means something.

pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// A number below `end`, which is 256 at most.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Up to `most` bytes of the input as they are.
    pub(crate) fn slice(&mut self, most: usize) -> &'a [u8] {
        let len = self.below(256).min(most).min(self.0.len());
        self.0.split_off(..len).expect("there are so many")
    }

    /// `len` bytes that follow from eight of the input: enough to fill a packet with.
    pub(crate) fn stretched(&mut self, len: usize) -> Vec<u8> {
        let mut state = u64::from_le_bytes(self.array());
        let mut bytes = vec![0; len];
        for byte in &mut bytes {
            // Knuth's constants for a linear congruential generator of 64 bits.
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (state >> 56) as u8;
        }
        bytes
    }
}
