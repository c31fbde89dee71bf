//! Does what the plan says: files, filters and, when a time has come, the keys of all shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Keys, NodeKey};
use phix_engine::wire::frame::KeyRotation;
use phix_io::Server;

use super::FIXED;
use super::keyring::Keyring;
use super::plan::{Action, Schedule, Serving, State, plan};
use crate::fault::Fault;
use crate::replay_store::Store;

/// The least time between two attempts at what failed.
const RETRY: Duration = Duration::from_secs(60);

/// The rotating keys of a running node.
pub struct Keeper {
    schedule: Schedule,
    keyring: Keyring,
    store: Arc<Store>,
    capacity: usize,
    open: BTreeMap<u32, NodeKey>,
    opening: Option<(u32, JoinHandle<Result<NodeKey, Fault>>)>,
    serving: Option<Serving>,
    say: fn(String),
    /// Until when nothing is tried again, after a failure.
    rests: Option<Instant>,
}

impl Keeper {
    /// Makes the keys that are missing, and the filters of those that are needed at `now`; gives
    /// the keys to start with. `capacity` is what each filter is made for.
    ///
    /// # Errors
    /// If a key cannot be made or read, or memory or disk are too small.
    pub fn start(
        schedule: Schedule,
        now: Duration,
        keyring: Keyring,
        store: Arc<Store>,
        capacity: usize,
        say: fn(String),
    ) -> Result<(Self, Keys), Fault> {
        let (open, opening, serving, rests) = (BTreeMap::new(), None, None, None);
        let mut keeper =
            Self { schedule, keyring, store, capacity, open, opening, serving, say, rests };
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
                    let key = keeper.opener(number)()?;
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
        if self.rests.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.rests = None;
        if let Err(fault) = self.act(now, server) {
            self.rests = Some(Instant::now() + RETRY);
            (self.say)(format!("the change of keys waits: {fault}"));
        }
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
            let one = self.carry_out(action, server);
            all = all.and(one);
        }
        all
    }

    fn carry_out(&mut self, action: Action, server: &Server) -> Result<(), Fault> {
        match action {
            Action::Make(number) => self.keyring.make(number)?,
            Action::Open(number) => {
                let thread = thread::Builder::new().name("phix-filter".into());
                let thread = thread.spawn(self.opener(number)).map_err(|error| {
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
    fn opener(&self, number: u32) -> impl FnOnce() -> Result<NodeKey, Fault> + Send + use<> {
        let (keyring, store, capacity) =
            (self.keyring.clone(), Arc::clone(&self.store), self.capacity);
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
