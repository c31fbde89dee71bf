//! How many reply SURBs others hold of this client, where it keeps them supplied.
//!
//! A stock is known by the name that its SURBs bear. Who holds SURBs uses the oldest first, as
//! stock clients and this one do; so the youngest that came back tells how many are left, also
//! after packets were lost on the way.

use std::collections::HashMap;

use phix_engine::units::{Span, Time};
use phix_proto::message::{Recipient, SenderTag};

/// SURBs that are given at a time: they fill three packets.
const BATCH: u64 = 10;

/// Stocks, at most.
const STOCKS_MAX: usize = 4096;

/// Who asks for more, and was given none for so long, has lost what this client thinks is there.
const LOST_AFTER: Span = Span::from_millis(5_000);

/// A SURB of a stock: whose, and how many were given before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: SenderTag,
    pub(super) number: u64,
}

struct Stock {
    recipient: Recipient,
    wanted: u64,
    given: u64,
    used: u64,
    given_at: Time,
}

impl Stock {
    /// How many the recipient holds, or has not got yet.
    const fn held(&self) -> u64 {
        self.given - self.used
    }

    const fn lacks(&self) -> u64 {
        self.wanted.saturating_sub(self.held())
    }

    /// How many to give it now. Single ones would waste packets, so it waits until half are used,
    /// or a batch.
    fn missing(&self) -> Option<u64> {
        let missing = self.lacks();
        (missing > 0 && missing >= BATCH.min(self.wanted / 2)).then(|| missing.min(BATCH))
    }
}

/// What is to be given to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supply {
    pub(super) name: SenderTag,
    pub(super) recipient: Recipient,
    pub(super) amount: u32,
}

#[derive(Default)]
pub(super) struct Stocks(HashMap<SenderTag, Stock>);

impl Stocks {
    /// Says that `recipient` is to hold so many SURBs of this name from now on; a number that is
    /// lower than before takes none away.
    pub(super) fn keep(&mut self, name: SenderTag, recipient: Recipient, wanted: u32, now: Time) {
        if let Some(stock) = self.0.get_mut(&name) {
            stock.wanted = wanted.into();
        } else if self.0.len() < STOCKS_MAX {
            let stock =
                Stock { recipient, wanted: wanted.into(), given: 0, used: 0, given_at: now };
            self.0.insert(name, stock);
        }
    }

    /// Whether there is a stock of this name.
    pub(super) fn has(&self, name: &SenderTag) -> bool {
        self.0.contains_key(name)
    }

    /// How many SURBs of this name are wanted and not held.
    pub(super) fn lacks(&self, name: &SenderTag) -> u32 {
        let lacks = self.0.get(name).map_or(0, Stock::lacks);
        u32::try_from(lacks).unwrap_or(u32::MAX)
    }

    /// Gives no more SURBs of this name. It is not to be used again.
    pub(super) fn forget(&mut self, name: &SenderTag) {
        self.0.remove(name);
    }

    /// Counts SURBs that are given; where the first of them stands, if there is such a stock.
    pub(super) fn give(&mut self, name: SenderTag, count: usize, now: Time) -> Option<Place> {
        let stock = self.0.get_mut(&name)?;
        let number = stock.given;
        stock.given += count as u64;
        stock.given_at = now;
        Some(Place { name, number })
    }

    /// A packet came back by this SURB; those given before it are used, too.
    pub(super) fn came_back(&mut self, place: Place) {
        if let Some(stock) = self.0.get_mut(&place.name) {
            stock.used = stock.used.max(place.number + 1);
        }
    }

    /// Whoever holds SURBs of this name says that they are too few. They know better, unless more
    /// are on the way.
    pub(super) fn asked(&mut self, name: &SenderTag, now: Time) {
        if let Some(stock) = self.0.get_mut(name)
            && now.since(stock.given_at) >= LOST_AFTER
        {
            stock.used = stock.given;
        }
    }

    /// All SURBs are old: nodes will forget the keys of their routes.
    pub(super) fn renew(&mut self) {
        self.0.values_mut().for_each(|stock| stock.used = stock.given);
    }

    /// Who needs SURBs most.
    pub(super) fn neediest(&self) -> Option<Supply> {
        let due = self.0.iter().filter_map(|(name, stock)| Some((name, stock, stock.missing()?)));
        let (name, stock, amount) = due.min_by_key(|(_, stock, _)| stock.held())?;
        Some(Supply { name: *name, recipient: stock.recipient, amount: amount as u32 })
    }
}

#[cfg(test)]
mod tests {
    use phix_proto::message::ClientKeys;
    use rand::SeedableRng;

    use super::*;

    fn recipient() -> Recipient {
        let keys = ClientKeys::generate(&mut chacha20::ChaCha20Rng::seed_from_u64(1));
        keys.recipient(*keys.recipient(crate::mixnet::testing::gateway()).unwrap().identity())
            .unwrap()
    }

    const NAME: SenderTag = SenderTag::from_bytes([1; 16]);

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    /// Gives until nobody needs any; how many of this name.
    fn give_all(stocks: &mut Stocks, name: SenderTag, now: Time) -> u64 {
        let mut given = 0;
        while let Some(supply) = stocks.neediest() {
            stocks.give(supply.name, supply.amount as usize, now).unwrap();
            given += if supply.name == name { u64::from(supply.amount) } else { 0 };
        }
        given
    }

    #[test]
    fn a_stock_is_filled_up_when_half_of_it_or_a_batch_is_used() {
        let mut stocks = Stocks::default();
        stocks.keep(NAME, recipient(), 13, at(0));
        assert_eq!(give_all(&mut stocks, NAME, at(0)), 10, "three more would waste a packet");
        let back = |stocks: &mut Stocks, number| stocks.came_back(Place { name: NAME, number });
        back(&mut stocks, 1);
        assert_eq!(stocks.neediest(), None);
        // The third is lost; that the fourth came back says that it was used.
        back(&mut stocks, 3);
        assert_eq!(stocks.neediest().unwrap().amount, 7);
        back(&mut stocks, 2);
        assert_eq!(give_all(&mut stocks, NAME, at(0)), 7);
        stocks.keep(NAME, recipient(), 100, at(0));
        assert_eq!(give_all(&mut stocks, NAME, at(0)), 80, "in batches");
    }

    #[test]
    fn nothing_is_given_where_nothing_is_wanted() {
        let mut stocks = Stocks::default();
        stocks.keep(NAME, recipient(), 20, at(0));
        assert_eq!(give_all(&mut stocks, NAME, at(0)), 20);
        stocks.keep(NAME, recipient(), 0, at(1));
        stocks.came_back(Place { name: NAME, number: 19 });
        stocks.asked(&NAME, at(100));
        assert_eq!(stocks.neediest(), None);
        stocks.keep(NAME, recipient(), 2, at(1));
        assert_eq!(give_all(&mut stocks, NAME, at(1)), 2);
        stocks.forget(&NAME);
        stocks.came_back(Place { name: NAME, number: 20 });
        assert!(!stocks.has(&NAME) && stocks.give(NAME, 1, at(1)).is_none());
    }

    #[test]
    fn who_has_fewest_comes_first() {
        let mut stocks = Stocks::default();
        let other = SenderTag::from_bytes([2; 16]);
        stocks.keep(NAME, recipient(), 100, at(0));
        for _ in 0..5 {
            let supply = stocks.neediest().unwrap();
            stocks.give(supply.name, supply.amount as usize, at(0));
        }
        stocks.keep(other, recipient(), 20, at(0));
        assert_eq!(stocks.neediest().unwrap().name, other);
        assert_eq!(give_all(&mut stocks, other, at(0)), 20);
    }

    #[test]
    fn who_asks_is_believed_unless_more_are_on_the_way() {
        let mut stocks = Stocks::default();
        stocks.keep(NAME, recipient(), 20, at(0));
        give_all(&mut stocks, NAME, at(0));
        stocks.asked(&NAME, at(4));
        assert_eq!(stocks.neediest(), None);
        stocks.asked(&NAME, at(5));
        assert_eq!(give_all(&mut stocks, NAME, at(5)), 20);
        stocks.asked(&NAME, at(6));
        assert_eq!(stocks.neediest(), None);
        stocks.renew();
        assert_eq!(give_all(&mut stocks, NAME, at(6)), 20);
    }
}
