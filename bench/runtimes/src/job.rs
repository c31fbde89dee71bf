//! The job that all runtimes do: frames come in over several connections, and each goes out over
//! the one that its first byte names. What the runtimes share of it stands here; it knows none of
//! them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};

use phix_engine::wire::frame::{FrameHeader, KeyRotation};
use phix_engine::wire::geometry::PacketSize;

/// Connections in, and as many out.
pub(crate) const CONNECTIONS: usize = 8;
/// The header that every frame has.
pub(crate) const HEADER: FrameHeader =
    FrameHeader::current(PacketSize::Regular, KeyRotation::Unknown);
/// Bytes of a frame's header.
pub(crate) const FRONT: usize = HEADER.encoded_len();
/// Bytes of a frame.
pub(crate) const FRAME: usize = HEADER.frame_len();
/// Bytes that one read asks for.
pub(crate) const READ: usize = 256 * 1024;
/// Bytes that may wait for a connection out before reading stops.
const LANE_MAX: usize = 1 << 20;

/// The bytes on their way to one connection out, shared by all readers of one thread.
#[derive(Default)]
struct Lane {
    bytes: RefCell<Vec<u8>>,
    writer: Cell<Option<Waker>>,
    readers: RefCell<Vec<Waker>>,
}

/// All lanes. When the last reader has ended, the writers end with what is left.
pub(crate) struct Lanes {
    lanes: [Lane; CONNECTIONS],
    readers: Cell<usize>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { lanes: std::array::from_fn(|_| Lane::default()), readers: Cell::new(CONNECTIONS) }
    }
}

impl Lanes {
    /// Puts whole frames into their lanes; says how many bytes those were.
    ///
    /// # Errors
    /// If the bytes are not frames.
    fn sort(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut head = [0; FRONT];
        HEADER.write(&mut head);
        let frames = bytes.chunks_exact(FRAME);
        for frame in frames.clone() {
            if frame[..FRONT] != head {
                return Err(io::Error::other("a frame without its header"));
            }
            let lane = &self.lanes[usize::from(frame[FRONT]) % CONNECTIONS];
            lane.bytes.borrow_mut().extend_from_slice(frame);
            if let Some(writer) = lane.writer.take() {
                writer.wake();
            }
        }
        Ok(bytes.len() - frames.remainder().len())
    }

    /// Waits until no lane is too full.
    pub(crate) async fn room(&self) {
        for lane in &self.lanes {
            poll_fn(|context| {
                if lane.bytes.borrow().len() < LANE_MAX {
                    return Poll::Ready(());
                }
                lane.readers.borrow_mut().push(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }

    /// Waits for bytes of a lane and swaps them for `empty`. False at the end.
    pub(crate) async fn take(&self, lane: usize, empty: &mut Vec<u8>) -> bool {
        let lane = &self.lanes[lane];
        empty.clear();
        poll_fn(|context| {
            let mut bytes = lane.bytes.borrow_mut();
            if bytes.is_empty() && self.readers.get() > 0 {
                lane.writer.set(Some(context.waker().clone()));
                return Poll::Pending;
            }
            std::mem::swap(&mut *bytes, empty);
            lane.readers.borrow_mut().drain(..).for_each(Waker::wake);
            Poll::Ready(!empty.is_empty())
        })
        .await
    }

    /// One reader less.
    pub(crate) fn end_reader(&self) {
        self.readers.set(self.readers.get() - 1);
        self.lanes.iter().filter_map(|lane| lane.writer.take()).for_each(Waker::wake);
    }
}

/// The bytes of one connection in, cut into frames.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The beginning of a frame.
    rest: Vec<u8>,
}

impl Splitter {
    /// Takes what one read brought.
    ///
    /// # Errors
    /// If the bytes are not frames.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], lanes: &Lanes) -> io::Result<()> {
        if !self.rest.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(FRAME - self.rest.len()));
            self.rest.extend_from_slice(head);
            bytes = tail;
            if self.rest.len() < FRAME {
                return Ok(());
            }
            lanes.sort(&self.rest)?;
            self.rest.clear();
        }
        let sorted = lanes.sort(bytes)?;
        self.rest.extend_from_slice(&bytes[sorted..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_reach_their_lanes_however_they_are_cut() {
        let frame = |to: u8| {
            let mut frame = vec![to; FRAME];
            HEADER.write(&mut frame);
            frame
        };
        let stream: Vec<u8> = [3, 1, 3, 0, 1].into_iter().flat_map(frame).collect();
        for step in [1, 1000, FRAME - 1, FRAME, FRAME + 1, stream.len()] {
            let (lanes, mut splitter) = (Lanes::default(), Splitter::default());
            stream.chunks(step).for_each(|bytes| splitter.feed(bytes, &lanes).unwrap());
            assert!(splitter.rest.is_empty());
            let lane = |at: usize| lanes.lanes[at].bytes.borrow().clone();
            assert_eq!(lane(0), frame(0));
            assert_eq!(lane(1), [frame(1), frame(1)].concat());
            assert_eq!(lane(3), [frame(3), frame(3)].concat());
        }
        assert!(Splitter::default().feed(&[9; FRAME], &Lanes::default()).is_err());
    }
}
