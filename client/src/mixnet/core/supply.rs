//! Giving reply SURBs to those who are to answer.

use phix_engine::units::Time;
use phix_proto::message::{Message, Purpose, Recipient, Repliable, ReplySurb, SenderTag};

use super::{Core, Lane, SURBS_GIVEN_MAX, To};

/// Fragments of supplies that wait for their turn, at most: what was made long ago goes through
/// keys that nodes have for a shorter time, and may not be what is needed most.
const WAITING_MAX: usize = 6;

impl Core {
    /// Keeps `recipient` supplied with so many reply SURBs under a name of their own, in as many
    /// packets as the stream has turns for. They are not given on request only: who has to ask has
    /// to wait.
    pub fn keep_supplied(
        &mut self,
        name: SenderTag,
        recipient: Recipient,
        reply_surbs: u32,
        now: Time,
    ) {
        self.stocks.keep(name, recipient, reply_surbs, now);
    }

    /// Gives no more reply SURBs under this name, which is not to be used again.
    pub fn forget_name(&mut self, name: &SenderTag) {
        self.stocks.forget(name);
    }

    /// Makes supplies where they are needed most, if few wait for their turn.
    pub(super) fn supply(&mut self, now: Time) {
        while self.outbox.waiting(Lane::Supplies) < WAITING_MAX
            && let Some(supply) = self.stocks.neediest()
        {
            let surbs = self.make_surbs(supply.amount, Some(supply.name), now);
            if surbs.is_empty() {
                break;
            }
            let message =
                Repliable { sender: supply.name, purpose: Purpose::AdditionalSurbs, surbs };
            self.post(&Message::Repliable(message), To::Client(supply.recipient), Lane::Supplies);
        }
    }

    /// Somebody who answers says that they need more reply SURBs. `name` is that of the stock whose
    /// SURB brought this, if it was one of a stock.
    pub(super) fn give_surbs(
        &mut self,
        recipient: Recipient,
        amount: u32,
        name: Option<SenderTag>,
        now: Time,
    ) {
        if let Some(name) = name {
            return self.stocks.asked(&name, now);
        }
        let Some(sender) = self.replies.known_pseudonym(&recipient) else { return };
        let surbs = self.make_surbs(amount.min(SURBS_GIVEN_MAX), None, now);
        if surbs.is_empty() {
            return;
        }
        let message = Repliable { sender, purpose: Purpose::AdditionalSurbs, surbs };
        let lane = self.own_lane();
        self.post(&Message::Repliable(message), To::Client(recipient), lane);
    }

    /// Reply SURBs that lead here, of a stock if one is named; none while there is no way.
    pub(super) fn make_surbs(
        &mut self,
        amount: u32,
        name: Option<SenderTag>,
        now: Time,
    ) -> Vec<ReplySurb> {
        let own = *self.own().gateway();
        let ways = (0..amount).map_while(|_| self.router.there(&own, &mut self.rng));
        let ways: Vec<_> = ways.collect();
        let routes: Vec<_> = ways.iter().map(|way| &way[..]).collect();
        let made = self.packer.surbs(&routes, self.router.rotation(), &mut self.rng);
        let surbs = made.expect("ways have four hops, as the builder wants");
        let first = name.and_then(|name| self.stocks.give(name, surbs.len(), now));
        self.replies.give_away(&surbs, first, now);
        surbs
    }
}
