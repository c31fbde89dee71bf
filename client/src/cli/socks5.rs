//! `phix-client socks5`: applications reach the internet through the mixnet and an exit.

use std::fs;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use rand::seq::SliceRandom;

use super::place::{Stop, runtime};
use super::run::watch;
use super::{Ended, Refusal, note, say, values};
use crate::files::words;
use crate::mixnet::core::os_rng;
use crate::mixnet::{Builder, Client, Recipient, Settings, network_requesters, settings};
use crate::socks5::login::Login;
use crate::socks5::{Rules, Server, Stats, Tunnel};

/// How long an exit may take to say what it is.
const GREETING: Duration = Duration::from_secs(60);

/// How often the table is shown where a person watches, and elsewhere.
const WATCHED: Duration = Duration::from_secs(1);
const UNWATCHED: Duration = Duration::from_secs(30);

/// Exits that are tried, at most.
const EXITS_TRIED: usize = 3;

/// Where the exit that was chosen is kept, in the client's directory.
const EXIT_FILE: &str = "exit";

/// Lead applications' connections through the mixnet and an exit, as a SOCKS5 server.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("client").required(true).args(["dir", "directory", "topology"])))]
#[command(after_help = "\
Examples:
  phix-client socks5 --dir alice
  curl --socks5-hostname 127.0.0.1:1080 http://example.org/

Give applications the address as a SOCKS5 proxy that looks up names (socks5h://127.0.0.1:1080): a
name that is looked up on this machine tells others where you go. Interrupt it (Ctrl-C) to see the
totals. How fast it is follows from main-stream in the client's settings; see `phix-client init`.")]
pub(super) struct Arguments {
    /// Directory of the client, as `phix-client init` made it.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Instead of --dir, a new client that nothing is left of; learn the network from here.
    #[arg(long, value_name = "URL")]
    directory: Option<String>,

    /// The same with a topology file.
    #[arg(long, value_name = "FILE", requires = "exit")]
    topology: Option<PathBuf>,

    /// The exit, by the address of its network requester. Otherwise one that the directory knows
    /// is drawn and, with --dir, kept.
    #[arg(long, value_name = "ADDRESS")]
    exit: Option<Recipient>,

    /// Where applications connect. Whoever reaches this address can use the client.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1080")]
    listen: SocketAddr,

    /// Ask applications for the name and password that stand in this file, as name:password.
    #[arg(long, value_name = "FILE")]
    login: Option<PathBuf>,

    /// How long an exit may take to connect.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::time)]
    connect_timeout: Duration,

    /// Connections at a time; further ones wait.
    #[arg(long, value_name = "COUNT", default_value = "256",
        value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,

    /// Show a table of the connections, again and again.
    #[arg(long)]
    stats: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    let rules = Rules {
        login: arguments.login.as_deref().map(Login::load).transpose()?,
        connections: arguments.connections.into(),
        patience: arguments.connect_timeout,
    };
    let guarded = rules.login.is_some();
    runtime()?.block_on(async {
        let mut stop = Stop::install()?;
        let server = Server::bind(arguments.listen, rules).await?;
        let listen = server.local_addr()?;
        if !listen.ip().is_loopback() {
            note(warning(listen, guarded));
        }
        let (settings, builder) = client(arguments)?;
        let stats = Arc::new(Stats::default());
        let ended = tokio::select! {
            ended = serve(arguments, &settings, builder, &server, &stats) => ended?,
            () = stop.wanted() => Ended::Done,
        };
        for (name, count) in stats.counts() {
            note(format_args!("{name} {count}"));
        }
        Ok(ended)
    })
}

fn warning(listen: SocketAddr, guarded: bool) -> String {
    let who = if guarded {
        "passwords and whatever applications send can be read on the way"
    } else {
        "whoever reaches it can use this client; --login asks them for a password"
    };
    format!("warning: {listen} can be reached from other machines: {who}")
}

/// Serves until the client ends.
async fn serve(
    arguments: &Arguments,
    settings: &Settings,
    builder: Builder,
    server: &Server,
    stats: &Arc<Stats>,
) -> Result<Ended, Refusal> {
    let exits = exits(arguments, settings).await?;
    let (sender, mut receiver) = builder.connect().await?.split();
    for exit in exits {
        let tunnel = Arc::new(Tunnel::new(sender.clone(), exit, stats.clone()));
        let running = tunnel.run(&mut receiver);
        tokio::pin!(running);
        let answers = tokio::select! {
            answers = tunnel.greet(GREETING) => answers?,
            () = &mut running => return Ok(Ended::Failed),
        };
        if !answers {
            note(format_args!("the exit {exit} does not answer"));
            continue;
        }
        if let (Some(dir), None) = (&arguments.dir, arguments.exit) {
            keep(dir, &exit)?;
        }
        let listen = server.local_addr()?;
        say(format_args!("socks5h://{listen}"));
        note(format_args!("applications connect there; the exit is {exit}"));
        let mut watched = sender;
        tokio::select! {
            () = running => {}
            () = server.run(&tunnel) => {}
            () = watch(&mut watched) => {}
            () = show(stats), if arguments.stats => {}
        }
        return Ok(Ended::Failed);
    }
    Err(Refusal("no exit answers; try again later, or name another one by --exit".into()))
}

/// The settings of the client, and how it is started.
fn client(arguments: &Arguments) -> Result<(Settings, Builder), Refusal> {
    if let Some(dir) = &arguments.dir {
        let settings = Settings::load(&dir.join(settings::FILE))?;
        return Ok((settings, Client::builder().dir(dir)));
    }
    let (directory, topology) = (arguments.directory.clone(), arguments.topology.clone());
    let settings = Settings { directory, topology, ..Settings::default() };
    Ok((settings.clone(), Client::builder().settings(settings)))
}

/// Exits in the order in which they are tried: the one that is named, or a few that the directory
/// knows, in random order after the one that was kept.
async fn exits(arguments: &Arguments, settings: &Settings) -> Result<Vec<Recipient>, Refusal> {
    if let Some(exit) = arguments.exit {
        return Ok(vec![exit]);
    }
    let mut known = network_requesters(settings).await?;
    known.shuffle(&mut os_rng());
    if let Some(kept) = arguments.dir.as_deref().map(kept).transpose()?.flatten() {
        // A sort that is stable leaves the others in their order.
        known.sort_by_key(|exit| *exit != kept);
    }
    known.truncate(EXITS_TRIED);
    if known.is_empty() {
        return Err(Refusal(
            "the directory knows no exit with a network requester; name one by --exit".into(),
        ));
    }
    Ok(known)
}

/// The exit that was drawn before.
fn kept(dir: &Path) -> Result<Option<Recipient>, Refusal> {
    let path = dir.join(EXIT_FILE);
    let here = path.display();
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            Refusal(format!("{here} is no address of an exit; remove it, and one is drawn"))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Refusal(format!(
            "{here} cannot be read: {}; remove it, and an exit is drawn",
            words(&error)
        ))),
    }
}

fn keep(dir: &Path, exit: &Recipient) -> Result<(), Refusal> {
    let path = dir.join(EXIT_FILE);
    fs::write(&path, format!("{exit}\n")).map_err(|error| {
        Refusal(format!("{} cannot be written: {}", path.display(), words(&error)))
    })
}

/// Shows the table for as long as it is polled.
async fn show(stats: &Stats) {
    let watched = io::stderr().is_terminal();
    // Clears the screen and begins at its top.
    let before = if watched { "\x1b[2J\x1b[H" } else { "" };
    loop {
        tokio::time::sleep(if watched { WATCHED } else { UNWATCHED }).await;
        note(format_args!("{before}{}", stats.table()));
    }
}
