//! Draws who does what in an epoch, by lot.
//!
//! As stock directories do: a node's weight is its saturation times the twentieth power of its
//! performance; entries are drawn first, then exits, then mix nodes, which go round the layers in
//! random order, then those that stand by. There is no stake here, so that every node's saturation
//! is 1.
//!
//! Where there are fewer nodes than places, a node that could do several things is not given to
//! the first of them: each kind has its share of such nodes.

use phix_proto::directory::epoch::RewardedSet;
use phix_proto::directory::nodes::SupportedRoles;
use phix_proto::directory::{NodeId, Performance};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// How strongly the weight of a node depends on its performance.
const EXPONENT: i32 = 20;
/// Mix layers.
const LAYERS: usize = 3;

/// Places in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Entry gateways.
    pub entries: usize,
    /// Exit gateways.
    pub exits: usize,
    /// Mix nodes, all layers together.
    pub mixnodes: usize,
    /// Nodes that stand by.
    pub standby: usize,
}

/// A node that may be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// What it is able to do now.
    pub roles: SupportedRoles,
    /// How well it does it.
    pub performance: Performance,
}

impl Candidate {
    fn weight(&self) -> f64 {
        self.performance.share().powi(EXPONENT)
    }
}

/// A kind of place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Entry,
    Exit,
    Mix,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Entry, Self::Exit, Self::Mix];

    const fn suits(self, roles: SupportedRoles) -> bool {
        match self {
            Self::Entry => roles.entry,
            Self::Exit => roles.exit(),
            Self::Mix => roles.mixnode,
        }
    }

    const fn places(self, sizes: &Sizes) -> usize {
        match self {
            Self::Entry => sizes.entries,
            Self::Exit => sizes.exits,
            Self::Mix => sizes.mixnodes,
        }
    }

    /// Without so many there is no way through the network.
    const fn least(self) -> usize {
        match self {
            Self::Entry | Self::Exit => 1,
            Self::Mix => LAYERS,
        }
    }
}

/// Draws the set of `epoch`. Nodes whose weight is 0 are in none.
pub fn draw(
    epoch: u32,
    candidates: &[Candidate],
    sizes: &Sizes,
    rng: &mut (impl Rng + ?Sized),
) -> RewardedSet {
    let mut left: Vec<Candidate> =
        candidates.iter().filter(|one| one.weight() > 0.0).copied().collect();
    let whole = left.len();
    let [entry, exit, mut mixes] = Kind::ALL.map(|kind| {
        let chosen = choose(kind, &left, whole, sizes, rng);
        left.retain(|one| !chosen.contains(&one.node));
        chosen
    });
    let mut standby = ordered(&left, rng);
    standby.truncate(sizes.standby);
    mixes.shuffle(rng);
    let layer = |number: usize| mixes.iter().skip(number).step_by(LAYERS).copied().collect();
    let mut set = RewardedSet {
        epoch_id: epoch,
        entry_gateways: entry,
        exit_gateways: exit,
        layer1: layer(0),
        layer2: layer(1),
        layer3: layer(2),
        standby: standby.iter().map(|one| one.node).collect(),
    };
    let all = [
        &mut set.entry_gateways,
        &mut set.exit_gateways,
        &mut set.layer1,
        &mut set.layer2,
        &mut set.layer3,
        &mut set.standby,
    ];
    all.into_iter().for_each(|nodes| nodes.sort_unstable());
    set
}

/// Draws the nodes of one kind from those that are `left` of the `whole`.
fn choose(
    kind: Kind,
    left: &[Candidate],
    whole: usize,
    sizes: &Sizes,
    rng: &mut (impl Rng + ?Sized),
) -> Vec<NodeId> {
    let places = kind.places(sizes);
    let able: Vec<Candidate> = left.iter().filter(|one| kind.suits(one.roles)).copied().collect();
    let later = |roles| Kind::ALL.iter().any(|&other| after(other, kind) && other.suits(roles));
    let only_this = able.iter().filter(|one| !later(one.roles)).count();
    let mut others_take = quota(kind, whole, sizes).saturating_sub(only_this);
    let mut chosen = Vec::new();
    for one in ordered(&able, rng) {
        if chosen.len() == places {
            break;
        }
        if later(one.roles) {
            if others_take == 0 {
                continue;
            }
            others_take -= 1;
        }
        chosen.push(one.node);
    }
    chosen
}

/// Whether `other` is drawn after `kind`.
fn after(other: Kind, kind: Kind) -> bool {
    let place = |of| Kind::ALL.iter().position(|&one| one == of);
    place(other) > place(kind)
}

/// How many of a kind `whole` nodes have room for, if they could all do everything.
fn quota(kind: Kind, whole: usize, sizes: &Sizes) -> usize {
    // Packets need each layer and an entry; where there are no more, nothing leaves the network.
    if kind == Kind::Exit && whole < Kind::ALL.iter().map(|kind| kind.least()).sum() {
        return 0;
    }
    let places: usize = Kind::ALL.iter().map(|kind| kind.places(sizes)).sum();
    let share = (kind.places(sizes) * whole).checked_div(places).unwrap_or(0);
    share.max(kind.least()).min(kind.places(sizes))
}

/// All of them in the order in which a lottery without replacement draws them: each has a time
/// that is exponential with its weight as rate, and the first comes first.
fn ordered(candidates: &[Candidate], rng: &mut (impl Rng + ?Sized)) -> Vec<Candidate> {
    let mut timed: Vec<(f64, Candidate)> = candidates
        .iter()
        .map(|one| {
            let uniform: f64 = rng.random();
            // 1 - u is never 0, whose logarithm is none.
            (-(1.0 - uniform).ln() / one.weight(), *one)
        })
        .collect();
    timed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    timed.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const STOCK: Sizes = Sizes { entries: 70, exits: 50, mixnodes: 120, standby: 0 };
    const ALL: SupportedRoles =
        SupportedRoles { mixnode: true, entry: true, exit_nr: true, exit_ipr: true };
    const NONE: SupportedRoles =
        SupportedRoles { mixnode: false, entry: false, exit_nr: false, exit_ipr: false };

    fn able(node: NodeId, roles: SupportedRoles) -> Candidate {
        Candidate { node, roles, performance: Performance::FULL }
    }

    fn counts(set: &RewardedSet) -> [usize; 6] {
        let RewardedSet { entry_gateways, exit_gateways, layer1, layer2, layer3, standby, .. } =
            set;
        [entry_gateways, exit_gateways, layer1, layer2, layer3, standby].map(Vec::len)
    }

    #[test]
    fn no_node_is_drawn_twice_and_none_beyond_its_abilities() {
        let mut rng = StdRng::seed_from_u64(1);
        let kinds = [
            ALL,
            SupportedRoles { mixnode: true, ..NONE },
            SupportedRoles { entry: true, ..NONE },
            SupportedRoles { exit_nr: true, mixnode: true, ..NONE },
        ];
        for nodes in [0, 1, 3, 5, 17, 100, 400] {
            let candidates: Vec<_> =
                (1..=nodes).map(|node| able(node, kinds[node as usize % 4])).collect();
            let set = draw(9, &candidates, &Sizes { standby: 5, ..STOCK }, &mut rng);
            let members: Vec<_> = set.members().collect();
            let distinct: BTreeSet<_> = members.iter().map(|(node, _)| *node).collect();
            assert_eq!(distinct.len(), members.len());
            let roles = |node: &NodeId| kinds[*node as usize % 4];
            assert!(set.entry_gateways.iter().all(|node| roles(node).entry));
            assert!(set.exit_gateways.iter().all(|node| roles(node).exit()));
            assert!(set.layers().into_iter().flatten().all(|node| roles(node).mixnode));
            assert_eq!(set.epoch_id, 9);
        }
    }

    #[test]
    fn few_nodes_make_a_network_all_the_same() {
        let mut rng = StdRng::seed_from_u64(2);
        for _ in 0..50 {
            let five: Vec<_> = (1..=5).map(|node| able(node, ALL)).collect();
            assert_eq!(counts(&draw(1, &five, &STOCK, &mut rng)), [1, 1, 1, 1, 1, 0]);
            assert_eq!(counts(&draw(1, &five[..4], &STOCK, &mut rng)), [1, 0, 1, 1, 1, 0]);
            let one = |node, roles| able(node, roles);
            let special = [
                one(1, SupportedRoles { entry: true, ..NONE }),
                one(2, SupportedRoles { entry: true, ..NONE }),
                one(3, SupportedRoles { exit_nr: true, ..NONE }),
                one(4, SupportedRoles { mixnode: true, ..NONE }),
                one(5, SupportedRoles { mixnode: true, ..NONE }),
                one(6, SupportedRoles { mixnode: true, ..NONE }),
            ];
            assert_eq!(counts(&draw(1, &special, &STOCK, &mut rng)), [2, 1, 1, 1, 1, 0]);
        }
    }

    #[test]
    fn many_nodes_fill_the_places() {
        let mut rng = StdRng::seed_from_u64(3);
        let many: Vec<_> = (1..=1_000).map(|node| able(node, ALL)).collect();
        let sizes = Sizes { standby: 7, ..STOCK };
        assert_eq!(counts(&draw(1, &many, &sizes, &mut rng)), [70, 50, 40, 40, 40, 7]);
    }

    /// Of two nodes that compete for one place, the one at 90 % has a chance of 0.9^20 to 1.
    #[test]
    fn lots_are_weighted_by_the_twentieth_power_of_performance() {
        let mut rng = StdRng::seed_from_u64(4);
        let sizes = Sizes { entries: 1, exits: 0, mixnodes: 0, standby: 0 };
        let roles = SupportedRoles { entry: true, ..NONE };
        let weak = Candidate { node: 2, roles, performance: Performance::of(9, 10) };
        let rounds = 20_000;
        let drawn = (0..rounds)
            .filter(|_| draw(1, &[able(1, roles), weak], &sizes, &mut rng).entry_gateways == [2])
            .count();
        let weight = 0.9_f64.powi(20);
        let expected = weight / (1.0 + weight);
        let share = drawn as f64 / f64::from(rounds);
        // Five standard deviations of the share are 0.011.
        assert!((share - expected).abs() < 0.011, "{share} instead of {expected}");
        let dead = Candidate { performance: Performance::NONE, ..weak };
        assert!(draw(1, &[dead], &sizes, &mut rng).entry_gateways.is_empty());
    }
}
