//! `phix-node check-config`: all that `run` would need, tried without running.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use clap::{ArgMatches, Command};
use phix_client::files::words;
use phix_client::topology::PublicKey;
use phix_engine::egress::NextHops;

use crate::cli::say;
use crate::entry;
use crate::exit::policy;
use crate::fault::Fault;
use crate::keys;
use crate::machine::{self, readable};
use crate::metrics;
use crate::next_hops;
use crate::noise;
use crate::place::{self, Place};
use crate::replay_store;
use crate::rotation;
use crate::server;
use crate::settings::{Effective, Role, Settings};

const TEACH: &str = "\
Reads what `run` would read and tries what it would need: every setting from every source, the key
files and their modes, the listen address, memory, open files, the link. Prints the settings with
what gave each its value. Exit code 0 if `run` would start, 2 with a sentence if not.

Examples:
  phix-node check-config --dir /var/lib/phix
  ExecStartPre=/usr/bin/phix-node check-config --dir /var/lib/phix      (in a systemd unit)";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    place::with_settings(place::with_config(place::with_dir(command)))
        .about("Say whether a node would start, and with which settings")
        .after_help(TEACH)
}

/// Runs the command.
///
/// # Errors
/// A sentence for each thing that would keep the node from starting.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let place = Place::given(matches)?;
    let keys = keys::load(&place.keys_dir())?;
    say(table(&place.effective));
    say(format_args!("identity key  {}", keys.identity));
    say(format_args!("sphinx key    {}", keys.sphinx));
    if let Some(key) = &keys.noise {
        say(format_args!("noise key     {}", PublicKey(*key.public())));
    }
    let settings = &place.settings;
    let findings = [
        link(settings),
        kernels(settings),
        address(settings.listen),
        source(settings.source.get()),
        noise::check(&place, &keys),
        next_hops(&place),
        entry(&place),
        exit_policy(&place),
        exit_router(&place),
        metrics(settings.metrics.get()),
        memory(&place),
        disk(&place),
        rotation(&place),
        Ok(files(settings)),
    ];
    let mut wrong = Vec::new();
    for finding in findings {
        match finding {
            Ok(line) => say(line),
            // Two that look at the same setting find the same.
            Err(fault) if wrong.contains(&fault.to_string()) => {}
            Err(fault) => wrong.push(fault.to_string()),
        }
    }
    if wrong.is_empty() {
        say("The node would start.");
        return Ok(());
    }
    Err(Fault::refused(wrong.join("\nphix-node: ")))
}

fn table(settings: &[Effective]) -> String {
    let width = |text: fn(&Effective) -> &str| {
        settings.iter().map(|each| text(each).len()).max().unwrap_or_default()
    };
    let (names, values) = (width(|each| each.setting.name), width(|each| &each.text));
    let row = |Effective { setting, text, origin }: &Effective| {
        format!("{:<names$}  {text:<values$}  {origin}\n", setting.name)
    };
    settings.iter().map(row).collect()
}

fn link(settings: &Settings) -> Result<String, Fault> {
    let plan = server::link(settings)?;
    let (_, zero_copy) = phix_io::zero_copy(settings.send_zc, plan.kind)
        .map_err(|error| Fault::refused(format!("{error}.")))?;
    Ok(format!("link          {}\nsend-zc       {zero_copy}", plan.reason))
}

fn kernels(settings: &Settings) -> Result<String, Fault> {
    let kernels = server::kernels(settings.crypto)?;
    Ok(format!("kernels       {}", kernels.name))
}

/// Whether the node could listen on `address`.
///
/// # Errors
/// A sentence if it could not.
pub fn address(address: SocketAddr) -> Result<String, Fault> {
    let shown = format!("listen        {address} is free");
    TcpListener::bind(address).map(|_| shown).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "stop the program that listens there (this node, perhaps) or set another --listen"
            }
            io::ErrorKind::PermissionDenied => {
                "set --listen to a port above 1023 or give the program CAP_NET_BIND_SERVICE"
            }
            _ => "set --listen to an address of this machine",
        };
        let why = words(&error);
        Fault::refused(format!("packets cannot be taken on {address} ({why}): {remedy}."))
    })
}

/// Whether the node could connect from `address`, where one is set.
fn source(address: Option<IpAddr>) -> Result<String, Fault> {
    let Some(address) = address else { return Ok("source        left to the kernel".into()) };
    let shown = format!("source        {address} is this machine's");
    phix_io::check_source(address)
        .map(|()| shown)
        .map_err(|error| Fault::refused(format!("{error}.")))
}

/// Whether it is known where packets may go.
fn next_hops(place: &Place) -> Result<String, Fault> {
    Ok(match next_hops::load(place)? {
        NextHops::Any => "next hops     any address that a packet names".into(),
        NextHops::Only(known) => format!("next hops     {} addresses, no others", known.len()),
    })
}

/// Whether clients could be served, where they are to be.
fn entry(place: &Place) -> Result<String, Fault> {
    let Some(address) = place.settings.entry.get() else { return Ok("entry         off".into()) };
    entry::dir(place)?;
    entry::listen(address)?;
    let bandwidth = if place.settings.free_bandwidth { "for nothing" } else { "none to be had" };
    Ok(format!("entry         {address} is free; bandwidth {bandwidth}"))
}

/// Whether it is known what the exit connects to, where there is one.
fn exit_policy(place: &Place) -> Result<String, Fault> {
    if !place.settings.roles.has(Role::Exit) {
        return Ok("exit policy   not needed: the node is no exit".into());
    }
    Ok(format!("exit policy   {}", policy::Keeper::of(place).describe()?))
}

/// Whether the exit has an IP packet router.
fn exit_router(place: &Place) -> Result<String, Fault> {
    let settings = &place.settings;
    let device = settings.exit_router.clone().get().filter(|_| settings.roles.has(Role::Exit));
    let Some(device) = device else { return Ok("exit router   off".into()) };
    entry::dir(place)?;
    let addresses = settings.exit_router_addresses;
    Ok(format!("exit router   device {device}, addresses {addresses}"))
}

/// Whether metrics could be shown on `address`, where one is set.
fn metrics(address: Option<SocketAddr>) -> Result<String, Fault> {
    let Some(address) = address else { return Ok("metrics       off".into()) };
    metrics::listen(address)?;
    let warning = metrics::warning(address);
    let warning = warning.map_or_else(String::new, |warning| format!("\n{warning}"));
    Ok(format!("metrics       {address} is free{warning}"))
}

/// Whether the machine has the memory that the settings lead to.
///
/// # Errors
/// A sentence if it has not.
pub fn memory(place: &Place) -> Result<String, Fault> {
    let memory = machine::memory(&place.settings, rotation::remembered(place, rotation::now())?);
    let (packets, replay) = (readable(memory.packets), readable(memory.replay));
    let needed = format!("up to {packets} for packets held and {replay} for packets remembered");
    match machine::memory_available() {
        Some(available) if available < memory.total() => Err(Fault::refused(format!(
            "the settings lead to {needed}, and {} are available: lower replay-capacity, capacity \
             or shards.",
            readable(available),
        ))),
        Some(available) => Ok(format!("memory        {needed}, of {}", readable(available))),
        None => Ok(format!("memory        {needed}; what is available is not known")),
    }
}

/// Whether the machine has the memory for the packets of a node beside the one that it replaces,
/// whose memory of packets seen it goes on with.
///
/// # Errors
/// A sentence if it has not.
pub fn memory_beside(settings: &Settings) -> Result<(), Fault> {
    let packets = machine::memory(settings, 0).packets;
    match machine::memory_available() {
        Some(available) if available < packets => Err(Fault::refused(format!(
            "the settings lead to {} for packets held, and {} are available beside the running \
             node: lower capacity, or stop the node and start it again.",
            readable(packets),
            readable(available),
        ))),
        _ => Ok(()),
    }
}

/// Whether the keys can change as is set.
fn rotation(place: &Place) -> Result<String, Fault> {
    let Some(schedule) = rotation::schedule(&place.settings)? else {
        return Ok("rotation      off: the key is used for ever".into());
    };
    let number = schedule.number(rotation::now());
    let keys = rotation::Keyring::new(place.keys_dir()).numbers()?;
    let there = if keys.contains(&number) { "is there" } else { "will be made" };
    Ok(format!("rotation      {number}, whose key {there}"))
}

/// Whether the disk has room for what the node must still know after a restart.
fn disk(place: &Place) -> Result<String, Fault> {
    let Some(dir) = place.state_dir() else {
        return Ok("disk          not used: what has passed is forgotten at a restart".into());
    };
    let packets = rotation::remembered(place, rotation::now())?;
    let packets = packets.saturating_mul(machine::filters(&place.settings));
    replay_store::disk(&dir, usize::try_from(packets).unwrap_or(usize::MAX))
}

fn files(settings: &Settings) -> String {
    let (needed, available) = (machine::files(settings), machine::files_available());
    let shown = format!("open files    {needed} at most, {available} allowed");
    if needed <= available {
        return shown;
    }
    format!(
        "{shown}: connections beyond that will be refused; raise it (LimitNOFILE in systemd) \
         or lower connections-max or entry-connections"
    )
}
