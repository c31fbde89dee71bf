//! `phix-node exit-policy check`: what the policy says about a target, and why.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};

use super::{Keeper, Policy, PolicySource};
use crate::cli::say;
use crate::exit::resolve::{ResolveError, Resolver};
use crate::fault::Fault;
use crate::place::{self, Place};
use crate::settings::Settings;

const TEACH: &str = "\
Says whether an exit would connect to a target for its clients, and which rule or which property of
the address decides. A name is looked up as the exit would do it, and each of its addresses is
judged. Without --dir, --config and --policy the policy is the one that a new node has.

Exit code 0 if the exit would connect, 1 if not, 2 if the question or the policy is wrong.

Examples:
  phix-node exit-policy check example.org:443
  phix-node exit-policy check [2001:db8::1]:25 --policy policy.txt
  phix-node exit-policy check 10.0.0.1:22 --dir /var/lib/phix";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    let target = Arg::new("target").value_name("HOST:PORT").required(true);
    let policy = Arg::new("policy")
        .long("policy")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::FilePath)
        .help("Judge by the policy in this file, not by the node's");
    let check = place::with_config(place::with_dir(Command::new("check")))
        .about("Say whether the exit connects to a target, and why")
        .after_help(TEACH)
        .arg(target.help("A name or an IP address, and a port; IPv6 addresses in brackets"))
        .arg(policy);
    command
        .about("Ask what the exit policy says")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(check)
}

/// Runs the command.
///
/// # Errors
/// With exit code 1 if the target is refused, with 2 if the question cannot be answered.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let (_, matches) = matches.subcommand().expect("clap asks for a command");
    let (host, port) = target(matches.get_one::<String>("target").expect("clap asks for it"))?;
    let place = if place::is_given(matches) { Place::configured(matches)? } else { Place::new()? };
    let keeper = Keeper::of(&place);
    let keeper = match matches.get_one::<PathBuf>("policy") {
        Some(path) => keeper.with_source(PolicySource::File(path.clone())),
        None => keeper,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Fault::refused(format!("no timers or sockets ({error}).")))?;
    runtime.block_on(async {
        let policy = keeper.load(say).await?;
        ask(&policy, &place.settings, host, port).await
    })
}

async fn ask(policy: &Policy, settings: &Settings, host: &str, port: u16) -> Result<(), Fault> {
    let nameservers = settings.exit_nameservers.clone().get();
    let resolver = Resolver::new(nameservers.as_ref())?;
    let verdicts = match resolver.verdicts(policy, host, port).await {
        Ok(verdicts) => verdicts,
        Err(ResolveError::NotAName) => return Err(not_a_target(host)),
        Err(error) => return Err(Fault::refused(format!("{host}: {error}."))),
    };
    verdicts.iter().for_each(say);
    if verdicts.iter().any(|verdict| verdict.accepted()) {
        return Ok(());
    }
    Err(Fault::no(format!("the exit would not connect to {host}, port {port}.")))
}

/// Host and port of what was asked.
fn target(text: &str) -> Result<(&str, u16), Fault> {
    let split = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let (host, port) = split.ok_or_else(|| not_a_target(text))?;
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    let port = port.parse().ok().filter(|_| !bare_v6).ok_or_else(|| not_a_target(text))?;
    Ok((host, port))
}

fn not_a_target(text: &str) -> Fault {
    Fault::refused(format!(
        "{text:?} is not a target: give a name or an address and a port, such as example.org:443 \
         or [2001:db8::1]:443."
    ))
}
