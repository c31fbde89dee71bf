//! Which epoch it is: a matter of the clock and two lengths.
//!
//! Epochs are counted from 1970, so that a directory which was away goes on where it would be, and
//! so that rotations have the numbers that nodes give them ([`crate::rotation`]).

use std::time::Duration;

use phix_proto::directory::epoch::{KeyRotationInfo, KeyRotationState};
use time::OffsetDateTime;

/// Epochs of a rotation that does not end. A century of them at one hour each; numbers beyond would
/// lead stock clients out of the calendar.
const FOR_EVER: u32 = 1_000_000;

/// The course of epochs and rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    length: Duration,
    rotation: KeyRotationState,
}

impl Epochs {
    /// Epochs of this length, `validity` of which make a rotation; without it there is one rotation
    /// from epoch `first` on, number 0, under which keys of all rotations are as good.
    ///
    /// # Panics
    /// If a length is 0.
    pub fn new(length: Duration, validity: Option<u32>, first: u32) -> Self {
        assert!(!length.is_zero() && validity != Some(0), "epochs and rotations take time");
        let rotation = match validity {
            Some(validity_epochs) => KeyRotationState { validity_epochs, initial_epoch_id: 0 },
            None => KeyRotationState { validity_epochs: FOR_EVER, initial_epoch_id: first },
        };
        Self { length, rotation }
    }

    /// How long each lasts.
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// The epoch at `now`, a time since the Unix epoch.
    pub const fn at(&self, now: Duration) -> u32 {
        // 32 bits last for 136 years of epochs of one second.
        (now.as_nanos() / self.length.as_nanos()) as u32
    }

    /// When `epoch` begins.
    pub fn start(&self, epoch: u32) -> Duration {
        self.length.saturating_mul(epoch)
    }

    /// The rotation of keys in `epoch`.
    pub fn rotation(&self, epoch: u32) -> u32 {
        self.rotation.rotation(epoch)
    }

    /// What is said of `epoch`.
    pub fn info(&self, epoch: u32) -> KeyRotationInfo {
        KeyRotationInfo::new(self.rotation, epoch, instant(self.start(epoch)), self.length)
    }
}

/// A time since the Unix epoch as a point in the calendar.
pub(super) fn instant(since: Duration) -> OffsetDateTime {
    let nanos = i128::try_from(since.as_nanos()).unwrap_or(0);
    // What lies beyond the calendar lies beyond this program.
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotation::Schedule;

    #[test]
    fn rotations_have_the_numbers_that_nodes_give_them() {
        let epochs = Epochs::new(Duration::from_secs(3600), Some(24), 5);
        let overlap = Duration::from_secs(3600);
        let schedule = Schedule { length: Duration::from_secs(86_400), overlap };
        for now in [0, 3_599, 86_399, 86_400, 1_795_558_500].map(Duration::from_secs) {
            assert_eq!(epochs.rotation(epochs.at(now)), schedule.number(now), "{now:?}");
        }
        let info = epochs.info(498_766);
        assert_eq!(info.rotation_length(), schedule.length);
        assert_eq!(info.current_epoch_start.unix_timestamp(), 498_766 * 3600);
    }

    #[test]
    fn without_rotation_the_number_is_0() {
        let epochs = Epochs::new(Duration::from_secs(1), None, 1_795_558_500);
        for later in [0, 1, 500_000] {
            assert_eq!(epochs.rotation(1_795_558_500 + later), 0);
        }
    }
}
