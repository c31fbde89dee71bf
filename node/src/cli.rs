//! The command line: its commands, its help, and how a command ends.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

use crate::exit::policy;
use crate::fault::{DONE, Fault, REFUSED};
use crate::settings::nearest;
use crate::{check, demo, init, localnet, mix_demo, noise, run, top, topology, upgrade};

/// One command of the program.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    /// Gives the command its arguments and its help.
    build: fn(Command) -> Command,
    run: fn(&ArgMatches) -> Result<(), Fault>,
}

/// Every command, in the order of the help.
const COMMANDS: &[Entry] = &[
    Entry { name: "demo", build: demo::command, run: demo::run },
    Entry { name: "mix-demo", build: mix_demo::command, run: mix_demo::run },
    Entry { name: "localnet", build: localnet::command, run: localnet::run },
    Entry { name: "init", build: init::command, run: init::run },
    Entry { name: "check-config", build: check::command, run: check::run },
    Entry { name: "run", build: run::command, run: run::run },
    Entry { name: "upgrade", build: upgrade::command, run: upgrade::run },
    Entry { name: "exit-policy", build: policy::check::command, run: policy::check::run },
    Entry { name: "top", build: top::command, run: top::run },
    Entry { name: "noise-key", build: noise::command, run: noise::run },
    Entry { name: "topology", build: topology::command, run: topology::run },
];

const ABOUT: &str = "A mix node of a Sphinx mixnet that speaks the Nym wire protocol";

const TEACH: &str = "\
Three ways to use it:

  See it work. A whole network on this machine, with real packets, counted one by one:
    phix-node demo

  Run a mix node. Make its keys and its configuration once, look them over, start it:
    phix-node init --dir /var/lib/phix --listen 0.0.0.0:1789
    phix-node check-config --dir /var/lib/phix
    phix-node run --dir /var/lib/phix
  Each setting is explained in phix-node.toml. Its key there, say `replay-capacity`, is also the
  flag --replay-capacity and the environment variable PHIX_REPLAY_CAPACITY. With `metrics` set,
  `phix-node top --dir /var/lib/phix` shows what it does.

  Build a network of your own. Make several nodes and the topology file that clients read, or let
  `phix-node localnet` keep one up on this machine:
    phix-node topology --layer1 a --layer2 b --layer3 c --gateway g --out topology.json

Exit codes: 0 done, 1 the node broke while it ran or the answer is no, 2 refused: the sentence on
standard error says what to put right.";

/// The program's command line, whole.
pub fn command() -> Command {
    let add = |all: Command, entry: &Entry| all.subcommand((entry.build)(Command::new(entry.name)));
    let all = Command::new("phix-node")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(TEACH)
        .max_term_width(100)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true);
    COMMANDS.iter().fold(all, add)
}

/// Runs the program.
pub fn main() -> ExitCode {
    let ended = command()
        .try_get_matches()
        .map_or_else(|error| not_understood(&error), |matches| dispatch(&matches));
    let code = ended.unwrap_or_else(|fault| {
        // Where nobody listens, the exit code still says it.
        let _ = writeln!(io::stderr(), "phix-node: {fault}");
        fault.code()
    });
    ExitCode::from(code)
}

/// Prints a line. A closed standard output stops no node, so that a failure is passed over.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn dispatch(matches: &ArgMatches) -> Result<u8, Fault> {
    let (name, matches) = matches.subcommand().expect("clap asks for a command");
    let entry = COMMANDS.iter().find(|entry| entry.name == name);
    (entry.expect("clap knows only these").run)(matches).map(|()| DONE)
}

/// Help that was asked for, or one sentence about what is wrong.
fn not_understood(error: &clap::Error) -> Result<u8, Fault> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return Ok(DONE);
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return Ok(REFUSED);
        }
        _ => {}
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join(" ");
    let what = joined.trim_start_matches("error: ").trim_end_matches('.');
    Err(Fault::refused(meant(error).map_or_else(
        || format!("{what}; `--help` after the command shows what it takes."),
        |name| format!("{what}; did you mean {name}?"),
    )))
}

/// The command or flag that was probably meant.
fn meant(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.as_str()),
        _ => None,
    };
    if let Some(wrong) = text(ContextKind::InvalidSubcommand) {
        return nearest(wrong, COMMANDS.iter().map(|entry| entry.name)).map(ToOwned::to_owned);
    }
    let (ErrorKind::UnknownArgument, Some(wrong)) = (error.kind(), text(ContextKind::InvalidArg))
    else {
        return None;
    };
    let all = command();
    let flags: Vec<String> = all
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    let wrong = wrong.split('=').next().unwrap_or_default();
    let name = nearest(wrong, flags.iter().map(String::as_str))?;
    let setting = crate::settings::find(name.trim_start_matches('-'));
    Some(
        setting
            .map_or_else(|| name.to_owned(), |setting| format!("{name} ({})", setting.allowed())),
    )
}
