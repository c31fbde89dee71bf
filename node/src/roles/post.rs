//! What a node has in order to fill its roles, and how it passes from one set of roles to another.
//!
//! A node that becomes a gateway opens its entry first and has messages delivered then. One that is
//! a gateway no longer goes on for `role-overlap`, because packets are on their way to its clients;
//! then messages that end here are dropped again, what has arrived is handed out or put into the
//! inbox, and the entry closes. Packets that the shards hold are not concerned by any of this.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phix_engine::shard::FinalHops;
use phix_io::Server;

use super::Roles;
use crate::cli::say;
use crate::directory::{self, Directory};
use crate::entry::arrivals::Arrivals;
use crate::entry::counts::Counts;
use crate::entry::{self, Entry};
use crate::exit;
use crate::fault::Fault;
use crate::keys::NodeKeys;
use crate::place::Place;
use crate::settings::Role;

/// The least time between two attempts at what failed.
const RETRY: Duration = Duration::from_secs(60);

/// The roles that the settings of `place` name: also an entry, where `entry` says where its clients
/// connect.
///
/// # Errors
/// If a role lacks a setting.
fn offered(place: &Place) -> Result<Roles, Fault> {
    let settings = &place.settings;
    match (settings.roles, settings.entry.get()) {
        (roles, Some(_)) if !roles.is_gateway() => Ok(roles.with(Role::Entry)),
        (roles, None) if roles.is_gateway() => Err(Fault::refused(format!(
            "the role {} needs an address on which clients connect: set `entry`, to 0.0.0.0:9000 \
             for instance.",
            if roles.has(Role::Entry) { "entry" } else { "exit" },
        ))),
        (roles, _) => Ok(roles),
    }
}

/// A running node at its post.
pub struct Post<'a> {
    place: &'a Place,
    keys: &'a NodeKeys,
    server: &'a Server,
    arrivals: Arrivals,
    counts: Arc<Counts>,
    exit_counts: exit::Counts,
    /// The addresses of the services behind it, if it can be an exit that has any.
    services: Option<exit::Addresses>,
    offered: Roles,
    roles: Roles,
    entry: Option<Entry>,
    others: Option<exit::Services>,
    /// When an entry that is no longer wanted closes.
    closes: Option<Instant>,
    /// When an entry that could not open is tried again.
    retries: Option<Instant>,
    _directory: Option<Directory>,
}

impl<'a> Post<'a> {
    /// Takes up the roles that the settings name, and those of a gateway only when they are
    /// assigned, if that is the setting.
    ///
    /// # Errors
    /// A sentence, if a role cannot be filled.
    pub fn take_up(
        place: &'a Place,
        keys: &'a NodeKeys,
        server: &'a Server,
        arrivals: Arrivals,
    ) -> Result<Self, Fault> {
        let offered = offered(place)?;
        let directory = offered.has(Role::Directory).then(|| directory::start::start(place));
        let directory = directory.transpose()?;
        directory.iter().for_each(|directory| say(directory::start::first_line(directory)));
        let services = if offered.has(Role::Exit) { exit::addresses(place, keys)? } else { None };
        let mut post = Self {
            place,
            keys,
            server,
            arrivals,
            counts: Arc::default(),
            exit_counts: exit::Counts::default(),
            services,
            offered,
            roles: Roles::default(),
            entry: None,
            others: None,
            closes: None,
            retries: None,
            _directory: directory,
        };
        let gives =
            place.settings.assigned_roles && place.settings.directory.clone().get().is_some();
        let first = offered.without(Role::Entry).without(Role::Exit);
        post.switch(if gives { first } else { offered }, Instant::now())?;
        Ok(post)
    }

    /// What the node can be, whatever it is at present.
    pub const fn offered(&self) -> Roles {
        self.offered
    }

    /// What it is at present.
    pub const fn roles(&self) -> Roles {
        self.roles
    }

    /// What its entry counts, now or when there is one.
    pub const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// What its services count, now or when there are any.
    pub const fn exit_counts(&self) -> &exit::Counts {
        &self.exit_counts
    }

    /// Where its services are reached, if it can have any.
    pub const fn services(&self) -> Option<&exit::Addresses> {
        self.services.as_ref()
    }

    /// Where its clients connect, if it can be a gateway.
    pub fn clients(&self) -> Option<SocketAddr> {
        let set = self.place.settings.entry.get().filter(|_| self.offered.is_gateway());
        self.entry.as_ref().map(Entry::address).or(set)
    }

    /// Passes to what a directory has assigned, of what is offered, if directories are to decide.
    /// What cannot be done now is said and tried again.
    pub fn assign(&mut self, assigned: phix_proto::directory::nodes::Role, now: Instant) {
        let wanted = self.offered.assigned(assigned);
        if self.place.settings.assigned_roles && wanted != self.roles {
            say(format_args!("roles {wanted}"));
            self.try_to(wanted, now);
        }
    }

    /// Does what has become due.
    pub fn tick(&mut self, now: Instant) {
        if self.closes.is_some_and(|at| now >= at) {
            self.close();
            say("clients are served no longer");
        }
        if self.retries.is_some_and(|at| now >= at) {
            self.try_to(self.roles, now);
        }
    }

    fn try_to(&mut self, roles: Roles, now: Instant) {
        self.retries = None;
        if let Err(fault) = self.switch(roles, now) {
            say(format_args!("the change of roles waits: {fault}"));
            self.retries = Some(now + RETRY);
        }
    }

    /// Passes to `roles`.
    fn switch(&mut self, roles: Roles, now: Instant) -> Result<(), Fault> {
        self.roles = roles;
        if !roles.is_gateway() {
            let overlap = self.place.settings.role_overlap.get();
            self.closes = self.entry.as_ref().map(|_| self.closes.unwrap_or(now + overlap));
            return Ok(());
        }
        self.closes = None;
        if self.entry.is_none() {
            let (place, keys, counts) = (self.place, self.keys, Arc::clone(&self.counts));
            let (injector, arrivals) = (self.server.injector(), self.arrivals.clone());
            let services = self.services.iter();
            let services = services.flat_map(|all| [Some(all.requester), all.router]).flatten();
            let services = services.map(|one| *one.identity()).collect();
            let entry = entry::start(place, keys, injector, arrivals, counts, services)?;
            say(format_args!("clients on ws://{}", entry.address()));
            self.entry = Some(entry);
            self.server.set_final_hops(FinalHops::Deliver);
        }
        self.serve_others(roles.has(Role::Exit))
    }

    /// Starts or ends the services behind the gateway.
    fn serve_others(&mut self, wanted: bool) -> Result<(), Fault> {
        let Some(entry) = self.entry.as_ref().filter(|_| wanted && self.services.is_some()) else {
            self.others = None;
            return Ok(());
        };
        if self.others.is_none() {
            let started = exit::start(self.place, self.keys, entry.address(), &self.exit_counts)?;
            self.others = Some(started);
        }
        Ok(())
    }

    fn close(&mut self) {
        self.closes = None;
        self.others = None;
        if let Some(entry) = self.entry.take() {
            self.server.set_final_hops(FinalHops::Drop);
            entry.stop();
        }
    }

    /// Leaves the post: what has arrived for clients is delivered or stored, and nothing more is
    /// taken. The server may be stopped afterwards.
    pub fn leave(mut self) {
        self.close();
    }
}
