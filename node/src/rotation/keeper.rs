//! Does what the plan says: files, filters and, when a time has come, the keys of all shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use phix_client::files::words;
use phix_engine::counters::{Counters, DropReason};
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Keys, NodeKey};
use phix_engine::wire::frame::KeyRotation;
use phix_io::Server;

use super::FIXED;
use super::keyring::Keyring;
use super::plan::{Action, Schedule, Serving, State, plan};
use super::sizing::{RateFile, Rates};
use crate::fault::Fault;
use crate::machine;
use crate::replay_store::Store;

/// The least time between two attempts at what failed.
const RETRY: Duration = Duration::from_secs(60);

/// What says how many packets a filter is made for.
pub(super) enum Sizing {
    /// The settings.
    Fixed(usize),
    /// What the node has measured, and where that is kept.
    Measured(Rates, RateFile),
}

/// The rotating keys of a running node.
pub struct Keeper {
    schedule: Schedule,
    keyring: Keyring,
    store: Arc<Store>,
    sizing: Sizing,
    open: BTreeMap<u32, NodeKey>,
    opening: Option<(u32, JoinHandle<Result<NodeKey, Fault>>)>,
    serving: Option<Serving>,
    say: fn(String),
    /// Until when nothing is tried again, after a failure.
    rests: Option<Instant>,
}

impl Keeper {
    /// Makes the keys that are missing, and the filters of those that are needed at `now`; gives
    /// the keys to start with.
    ///
    /// # Errors
    /// If a key cannot be made or read, or memory or disk are too small.
    pub(super) fn start(
        schedule: Schedule,
        now: Duration,
        keyring: Keyring,
        store: Arc<Store>,
        sizing: Sizing,
        say: fn(String),
    ) -> Result<(Self, Keys), Fault> {
        let (open, opening, serving, rests) = (BTreeMap::new(), None, None, None);
        let mut keeper =
            Self { schedule, keyring, store, sizing, open, opening, serving, say, rests };
        // What a node that was stopped just then has left of keys that it had destroyed.
        let keys = keeper.keyring.numbers()?;
        let gone = |number: &u32| *number != FIXED && !keys.contains(number);
        keeper
            .store
            .numbers()
            .into_iter()
            .filter(gone)
            .try_for_each(|key| keeper.store.forget(key))?;
        // Each round makes a key or a filter, of which few are wanted.
        loop {
            let actions = plan(schedule, now, &keeper.state()?);
            let next = actions.iter().find(|action| !matches!(action, Action::Serve(_)));
            match next {
                Some(&Action::Make(number)) => keeper.keyring.make(number)?,
                Some(&Action::Open(number)) => {
                    let key = keeper.opener(number, now)()?;
                    keeper.open.insert(number, key);
                }
                _ => break,
            }
        }
        let first = plan(schedule, now, &keeper.state()?).into_iter().find_map(|action| {
            if let Action::Serve(serving) = action { Some(serving) } else { None }
        });
        let serving = first.expect("a node with a filter for the present key serves it");
        keeper.serving = Some(serving);
        let keys = keeper.keys(serving);
        Ok((keeper, keys))
    }

    /// Whether nothing is being made in the background.
    pub const fn is_idle(&self) -> bool {
        self.opening.is_none()
    }

    /// Does what is to be done at `now`. What fails is said and tried again after a while; the keys
    /// that are served stay so.
    pub fn tick(&mut self, now: Duration, server: &Server) {
        self.measure(now, &server.counters());
        if self.rests.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.rests = None;
        if let Err(fault) = self.act(now, server) {
            self.rests = Some(Instant::now() + RETRY);
            (self.say)(format!("the change of keys waits: {fault}"));
        }
    }

    /// Takes note of how many packets there are to remember.
    fn measure(&mut self, now: Duration, counters: &Counters) {
        let Sizing::Measured(rates, file) = &mut self.sizing else { return };
        if rates.note(now, to_remember(counters))
            && let Err(error) = file.save(rates)
        {
            (self.say)(format!(
                "the measured rate cannot be saved ({}): after a restart the node makes room for \
                 as many packets as it did before.",
                words(&error)
            ));
        }
    }

    /// Packets that the filter of a key is made for now. One that the machine has no memory for is
    /// made as large as it can be: the key must change all the same.
    fn capacity(&self, number: u32, now: Duration) -> usize {
        let (rates, already) = match &self.sizing {
            Sizing::Fixed(capacity) => return *capacity,
            Sizing::Measured(rates, _) => (rates, self.store.saved(number)),
        };
        let wanted = rates.capacity(number, now, already);
        let Some(available) = machine::memory_available() else { return wanted };
        let most = machine::replay_room(available / 10 * 9);
        if most < wanted {
            (self.say)(format!(
                "there is memory for {most} packets of rotation {number}, and {wanted} are \
                 expected: give this machine more memory, or packets will be dropped as \
                 replay_filter_full."
            ));
        }
        wanted.min(most.max(already))
    }

    fn act(&mut self, now: Duration, server: &Server) -> Result<(), Fault> {
        if let Some((number, thread)) = self.opening.take_if(|(_, thread)| thread.is_finished()) {
            let died = || Fault::broken("the thread that makes filters has panicked.");
            self.open.insert(number, thread.join().unwrap_or_else(|_| Err(died()))?);
        }
        // What one of them cannot have, a place for a new key, the others may not need: an old key
        // goes in its time also where the disk is full.
        let mut all = Ok(());
        for action in plan(self.schedule, now, &self.state()?) {
            let one = self.carry_out(action, now, server);
            all = all.and(one);
        }
        all
    }

    fn carry_out(&mut self, action: Action, now: Duration, server: &Server) -> Result<(), Fault> {
        match action {
            Action::Make(number) => self.keyring.make(number)?,
            Action::Open(number) => {
                let thread = thread::Builder::new().name("phix-filter".into());
                let open = self.opener(number, now);
                let thread = thread.spawn(move || {
                    machine::step_back();
                    open()
                });
                let thread = thread.map_err(|error| {
                    Fault::refused(format!("there is no thread to be had ({error})."))
                })?;
                self.opening = Some((number, thread));
            }
            Action::Serve(serving) => {
                server.set_keys(self.keys(serving));
                self.serving = Some(serving);
                (self.say)(self.words(serving));
            }
            Action::Close(number) => {
                self.open.remove(&number);
                self.store.pause(number);
            }
            // The key goes first: a journal without its key harms nobody, but a key without its
            // journal would let packets pass again.
            Action::Retire(number) => {
                self.keyring.destroy(number)?;
                self.open.remove(&number);
                self.store.forget(number)?;
            }
        }
        Ok(())
    }

    /// Makes the filter of a key, wherever it is called.
    fn opener(
        &self,
        number: u32,
        now: Duration,
    ) -> impl FnOnce() -> Result<NodeKey, Fault> + Send + use<> {
        let (keyring, store) = (self.keyring.clone(), Arc::clone(&self.store));
        let capacity = self.capacity(number, now);
        move || {
            let secret = keyring.secret(number)?;
            let replay = Arc::new(store.filter(number, &secret, capacity)?);
            let rotation = KeyRotation::from_id(number);
            Ok(NodeKey { rotation, secret: NodeSecret::clone(&secret), replay })
        }
    }

    fn state(&self) -> Result<State, Fault> {
        Ok(State {
            keys: self.keyring.numbers()?,
            open: self.open.keys().copied().collect(),
            opening: self.opening.as_ref().map(|(number, _)| *number),
            serving: self.serving,
        })
    }

    fn keys(&self, serving: Serving) -> Keys {
        let key = |number: u32| self.open[&number].clone();
        Keys { primary: key(serving.primary), secondary: serving.secondary.map(key) }
    }

    fn words(&self, Serving { primary, secondary }: Serving) -> String {
        secondary.map_or_else(
            || format!("serving the key of rotation {primary}"),
            |other| format!("serving the keys of rotations {primary} and {other}"),
        )
    }
}

/// Packets that a filter of any size would have had to remember: all but those that are forged,
/// of an unknown key, or replays.
fn to_remember(counters: &Counters) -> u64 {
    let others = [DropReason::HeaderMac, DropReason::KeyUnknown, DropReason::Replay];
    let others: u64 = others.into_iter().map(|reason| counters.dropped(reason)).sum();
    counters.received.saturating_sub(others)
}
