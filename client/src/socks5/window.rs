//! How much an exit may send for one connection: a number of packets, each of which needs a reply
//! SURB.

/// Packets that a connection starts with: the head of an answer, or a small one as a whole.
pub(super) const START: u32 = 13;

/// SURBs that an exit keeps for asking for more.
const RESERVE: u32 = 3;

/// Packets of one connection, at most. Exits keep 200 SURBs of one sender.
pub(super) const MOST: u32 = 192;

/// Packets of all connections together, about 6.5 MB; but each may have [`LEAST`].
const BUDGET: u32 = 4096;
const LEAST: u32 = 24;

/// Bytes of data that a packet carries, a little less than there is room for.
const PACKET: usize = 1500;

/// What a window may grow to while there are so many connections.
pub(super) fn share(connections: usize) -> u32 {
    let connections = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
    (BUDGET / connections).clamp(LEAST, MOST)
}

/// Bytes that all connections together may have under way to the exit without acknowledgement, and
/// one of them; but each may have the least.
const UNACKNOWLEDGED: usize = 6 << 20;
const UNACKNOWLEDGED_MOST: usize = 256 << 10;
const UNACKNOWLEDGED_LEAST: usize = 24 << 10;

/// How many bytes each may have while there are so many connections.
pub(super) fn unacknowledged_max(connections: usize) -> usize {
    (UNACKNOWLEDGED / connections.max(1)).clamp(UNACKNOWLEDGED_LEAST, UNACKNOWLEDGED_MOST)
}

/// The window of one connection. It grows by what arrives, so that short answers do not leave many
/// SURBs unused, and shrinks by what the application has not read.
#[derive(Debug)]
pub(super) struct Window {
    grown: u32,
    unread: usize,
    told: u32,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { grown: START, unread: 0, told: 0 }
    }

    /// So many bytes came in one message.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.unread += bytes;
        self.grown = self.grown.saturating_add(packets(bytes).max(1)).min(MOST);
    }

    /// The application has read so many.
    pub(super) const fn read(&mut self, bytes: usize) {
        self.unread = self.unread.saturating_sub(bytes);
    }

    /// Whether the exit is to hold none.
    pub(super) const fn is_shut(&self) -> bool {
        self.told == 0
    }

    /// How many SURBs the exit should hold, if that is news worth a word; `share` is the most.
    /// Where messages wait for one that is missing, the exit must be able to send that.
    pub(super) fn news(&mut self, share: u32, has_gap: bool) -> Option<u32> {
        let wanted = self.grown.min(share).saturating_sub(packets(self.unread));
        let wanted = if has_gap { wanted.max(START) } else { wanted };
        // Exits keep a few for asking, and use those for nothing else.
        let wanted = if wanted > 0 { wanted + RESERVE } else { 0 };
        let matters = wanted.abs_diff(self.told) >= (self.told / 8).max(4);
        let turns = (wanted == 0) != (self.told == 0);
        (matters || turns).then(|| {
            self.told = wanted;
            wanted
        })
    }
}

fn packets(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PACKET)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_by_what_arrives_and_shrinks_by_what_nobody_reads() {
        let mut window = Window::new();
        assert_eq!(window.news(MOST, false), Some(START + RESERVE));
        assert_eq!(window.news(MOST, false), None);
        window.arrived(10 * PACKET);
        assert_eq!(window.news(MOST, false), None, "ten more, and ten that are unread");
        window.read(10 * PACKET);
        assert_eq!(window.news(MOST, false), Some(START + 10 + RESERVE));
        assert_eq!(window.news(15, false), Some(15 + RESERVE), "others want something, too");
        for _ in 0..100 {
            window.arrived(10 * PACKET);
            window.read(10 * PACKET);
        }
        assert_eq!(window.news(MOST, false), Some(MOST + RESERVE));
        window.arrived(MOST as usize * PACKET);
        assert_eq!(window.news(MOST, false), Some(0));
        assert_eq!(window.news(MOST, true), Some(START + RESERVE), "one is missing");
        assert_eq!(window.news(MOST, false), Some(0));
        window.arrived(PACKET);
        assert_eq!(window.news(MOST, false), None);
        window.read(2 * PACKET);
        assert_eq!(window.news(MOST, false), Some(1 + RESERVE), "who had none gets some at once");
    }

    #[test]
    fn shares_have_a_sum() {
        for connections in [0, 1, 21, 100, 256, usize::MAX] {
            let share = share(connections);
            assert!((LEAST..=MOST).contains(&share));
            let within = share == LEAST || connections as u64 * u64::from(share) <= 4096;
            assert!(within, "{connections}");
        }
    }
}
