//! The bandwidth of clients: what is given, and what a session has left of it.
//!
//! Time is an argument: seconds since 1970.

use tokio::time::Instant;

use super::limits::{BANDWIDTH_MAX, FREE_BANDWIDTH};

const DAY: u64 = 86_400;

/// Bandwidth that a client is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// How much, in bytes.
    pub bytes: i64,
    /// From when on it is worth nothing, in seconds since 1970.
    pub expires: u64,
}

impl Credit {
    /// What is given for nothing. It is worth something until the day ends (UTC), as at stock
    /// gateways; clients then ask again.
    pub(crate) const fn free(now: u64) -> Self {
        Self { bytes: FREE_BANDWIDTH, expires: (now / DAY + 1).saturating_mul(DAY) }
    }
}

/// What a client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) available: i64,
    pub(crate) expires: u64,
}

impl Balance {
    /// What it is worth at `now`, bytes.
    pub(crate) const fn at(&self, now: u64) -> i64 {
        if now < self.expires { self.available } else { 0 }
    }

    /// With more added.
    pub(crate) fn with(&self, credit: Credit, now: u64) -> Self {
        let available = self.at(now).saturating_add(credit.bytes).min(BANDWIDTH_MAX);
        Self { available, expires: self.expires.max(credit.expires) }
    }
}

/// A session's account.
#[derive(Debug)]
pub(crate) struct Account {
    balance: Balance,
    /// What was spent that the database does not know of.
    unsaved: i64,
    saved: Instant,
}

impl Account {
    pub(crate) fn new(balance: Balance) -> Self {
        Self { balance, unsaved: 0, saved: Instant::now() }
    }

    /// What there is at `now`, bytes.
    pub(crate) const fn available(&self, now: u64) -> i64 {
        self.balance.at(now)
    }

    /// Takes so many bytes, of which there are as many; what is left.
    pub(crate) const fn spend(&mut self, bytes: i64) -> i64 {
        self.balance.available -= bytes;
        self.unsaved += bytes;
        self.balance.available
    }

    /// The database has this balance now.
    pub(crate) const fn credited(&mut self, balance: Balance) {
        self.balance = balance;
    }

    /// What was spent that the database does not know of.
    pub(crate) const fn unsaved(&self) -> i64 {
        self.unsaved
    }

    /// When the database was last told.
    pub(crate) const fn saved(&self) -> Instant {
        self.saved
    }

    /// The database is told now; of so much.
    pub(crate) fn save(&mut self) -> i64 {
        self.saved = Instant::now();
        std::mem::take(&mut self.unsaved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A noon.
    const NOON: u64 = 20_000 * DAY + DAY / 2;
    const MIDNIGHT: u64 = 20_001 * DAY;

    #[test]
    fn what_is_free_is_so_until_the_day_ends() {
        let given = Balance::default().with(Credit::free(NOON), NOON);
        assert_eq!(given, Balance { available: FREE_BANDWIDTH, expires: MIDNIGHT });
        assert_eq!((given.at(MIDNIGHT - 1), given.at(MIDNIGHT)), (FREE_BANDWIDTH, 0));
        let late = Credit::free(MIDNIGHT - 1);
        assert_eq!(late.expires, MIDNIGHT, "asked for in the last second");
        assert_eq!(Credit::free(MIDNIGHT).expires, MIDNIGHT + DAY);
    }

    #[test]
    fn what_has_expired_does_not_come_back_with_what_is_new() {
        let mut account = Account::new(Balance::default().with(Credit::free(NOON), NOON));
        assert_eq!(account.spend(1_000), FREE_BANDWIDTH - 1_000);
        assert_eq!(account.available(MIDNIGHT), 0);
        assert_eq!((account.unsaved(), account.save(), account.unsaved()), (1_000, 1_000, 0));
        account.credited(account.balance.with(Credit::free(MIDNIGHT), MIDNIGHT));
        assert_eq!(account.available(MIDNIGHT), FREE_BANDWIDTH);
    }

    #[test]
    fn what_is_worth_longer_stays_so_and_there_is_a_maximum() {
        let ticket = Credit { bytes: 200_000_000, expires: NOON + 7 * DAY };
        let mut balance = Balance::default().with(ticket, NOON).with(Credit::free(NOON), NOON);
        assert_eq!(balance.at(MIDNIGHT), ticket.bytes + FREE_BANDWIDTH);
        for _ in 0..BANDWIDTH_MAX / FREE_BANDWIDTH {
            balance = balance.with(Credit::free(NOON), NOON);
        }
        assert_eq!(balance.available, BANDWIDTH_MAX);
        assert_eq!(Credit::free(u64::MAX).expires, u64::MAX);
    }
}
