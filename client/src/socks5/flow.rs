//! How far what an application sends may be ahead of what its server has taken.
//!
//! The protocol has no word for that. But a question whether the exit is there, asked under the
//! name of a connection, is answered by exits of Phix when the server has taken what had come
//! before it; others answer at once. So a client that asks now and then, and waits for the answer
//! before it sends much more, is as slow as the server.

/// Bytes that a server may not have taken yet, as far as is known. Exits hold twice as many.
const UNTAKEN: u64 = 1 << 20;

/// Bytes after which the exit is asked.
const STEP: u64 = UNTAKEN / 4;

/// One direction of a connection, in bytes since its beginning.
#[derive(Debug, Default)]
pub(super) struct Flow {
    sent: u64,
    arrived: u64,
    taken: u64,
    asked: Option<u64>,
}

impl Flow {
    pub(super) const fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// So many have arrived at the exit's gateway.
    pub(super) const fn arrived(&mut self, bytes: usize) {
        self.arrived += bytes as u64;
    }

    /// Whether the application may be read, with so many bytes under way at most. `bounded` says
    /// that the exit tells what was taken.
    pub(super) const fn has_room(&self, underway: usize, bounded: bool) -> bool {
        let taken = !bounded || self.sent - self.taken < UNTAKEN;
        self.sent - self.arrived < underway as u64 && taken
    }

    /// Whether to ask now. What has not arrived may come after the question, and is not asked for.
    pub(super) const fn ask(&mut self) -> bool {
        let due = self.asked.is_none() && self.arrived - self.taken >= STEP;
        if due {
            self.asked = Some(self.arrived);
        }
        due
    }

    /// The question is answered.
    pub(super) const fn answered(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.taken = asked;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_BYTES: usize = STEP as usize;

    #[test]
    fn what_is_neither_taken_nor_arrived_has_a_bound() {
        let mut flow = Flow::default();
        assert!(flow.has_room(1000, true));
        flow.sent(1000);
        assert!(!flow.has_room(1000, false));
        flow.arrived(1);
        assert!(flow.has_room(1000, true));
        flow.arrived(999);
        while flow.has_room(usize::MAX, true) {
            flow.sent(1000);
        }
        assert!(flow.sent >= UNTAKEN && flow.has_room(usize::MAX, false));
    }

    #[test]
    fn an_answer_is_about_what_had_arrived_before_its_question() {
        let mut flow = Flow::default();
        flow.sent(2 * STEP_BYTES);
        assert!(!flow.ask());
        flow.arrived(STEP_BYTES);
        assert!(flow.ask() && !flow.ask());
        flow.arrived(STEP_BYTES);
        assert!(!flow.ask(), "one question at a time");
        flow.answered();
        assert_eq!(flow.taken, STEP);
        assert!(flow.ask());
        flow.answered();
        // One that was not asked for says nothing.
        flow.answered();
        assert_eq!((flow.taken, flow.asked), (2 * STEP, None));
        assert!(!flow.ask());
    }
}
