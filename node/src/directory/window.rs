//! What the last probes of a node came to.

use std::collections::VecDeque;

use phix_proto::directory::Performance;

/// Rounds that are remembered of a node.
pub const ROUNDS: usize = 30;
/// Rounds after which a node that let none through is held for dead.
const PATIENCE: usize = 2;

/// One round of probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Packets sent to the node.
    pub sent: u32,
    /// Those that came back as they should.
    pub delivered: u32,
    /// Whether clients can connect to it; nothing if that is not known, as of a node that lets
    /// clients in only where that is its role.
    pub entry: Option<bool>,
}

/// The last rounds, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window(VecDeque<Round>);

impl Window {
    /// Adds what a round came to.
    pub fn push(&mut self, round: Round) {
        if self.0.len() == ROUNDS {
            self.0.pop_front();
        }
        self.0.push_back(round);
    }

    /// Whether there was no round yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The share that was delivered of all that is remembered.
    pub fn performance(&self) -> Performance {
        let sum = |of: fn(&Round) -> u32| self.0.iter().map(|round| u64::from(of(round))).sum();
        Performance::of(sum(|round| round.delivered), sum(|round| round.sent))
    }

    /// Whether it ever passed a packet on that was encrypted to the key that it announced.
    pub fn proven(&self) -> bool {
        self.0.iter().any(|round| round.delivered > 0)
    }

    /// Whether it did so lately.
    pub fn alive(&self) -> bool {
        self.0.iter().rev().take(PATIENCE).any(|round| round.delivered > 0)
    }

    /// Whether clients could connect to it when that was last known, if it is.
    pub fn lets_clients_in(&self) -> Option<bool> {
        self.0.iter().rev().find_map(|round| round.entry)
    }
}

impl FromIterator<Round> for Window {
    fn from_iter<I: IntoIterator<Item = Round>>(rounds: I) -> Self {
        let mut window = Self::default();
        rounds.into_iter().for_each(|round| window.push(round));
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_lives_until_two_rounds_bring_nothing() {
        let round = |delivered| Round { sent: 4, delivered, entry: None };
        let mut window = Window::default();
        assert!(!window.proven() && !window.alive());
        window.push(round(3));
        assert!(window.proven() && window.alive());
        window.push(round(0));
        assert!(window.alive());
        window.push(round(0));
        assert!(window.proven() && !window.alive());
        assert_eq!(window.performance(), Performance::of(3, 12));
        window.push(round(1));
        assert!(window.alive());
    }

    #[test]
    fn old_rounds_are_forgotten() {
        let good = Round { sent: 4, delivered: 4, entry: Some(true) };
        let bad = Round { delivered: 0, ..good };
        let unknown = Round { entry: None, ..bad };
        let rounds = [good; 5].into_iter().chain([bad; ROUNDS]).chain([unknown; 3]);
        let window: Window = rounds.collect();
        assert_eq!(window.performance(), Performance::NONE);
        assert!(!window.proven() && window.lets_clients_in() == Some(true));
    }
}
