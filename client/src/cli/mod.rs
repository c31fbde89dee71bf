//! The command line: its commands, its help, and how a command ends.

mod address;
mod init;
mod keygen;
mod listen;
mod load;
mod place;
mod post;
mod receive;
mod run;
mod send;
mod socks5;
mod values;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

const TEACH: &str = "\
Things to try, with the directory or a topology file of a network that runs:

  Be a client, and talk to another one; `run` offers a client to other programs:
    phix-client init --dir alice --directory http://127.0.0.1:8080/api
    phix-client send --dir alice --to ADDRESS --message 'hello'
    phix-client listen --dir bob

  Browse through the mixnet, as applications do that know SOCKS5:
    phix-client socks5 --dir alice
    curl --socks5-hostname 127.0.0.1:1080 http://example.org/

  Hand a packet to its first hop directly, without a client:
    phix-client send --topology topology.json --to ADDRESS --message 'hello'

  Send 1000 test messages, 50 a second, in packets of 16 KiB:
    phix-client send --topology topology.json --to ADDRESS --count 1000 --rate 50 --size ext16

  Be a last hop yourself, with a key of your own, and see what arrives:
    phix-client keygen gateway.key
    phix-client receive --key gateway.key --listen 127.0.0.1:1789

  Offer 10,000 packets a second to one node and account for each of them:
    phix-client load --node 127.0.0.1:1789 --key BASE58 --rate 10000

Exit codes: 0 done, 1 something could not be sent or an objective was missed, 2 refused: the
sentence on standard error says what to put right.";

/// Sends and receives messages through a Sphinx mixnet that speaks the Nym wire protocol.
#[derive(Debug, Parser)]
#[command(name = "phix-client", version, after_help = TEACH, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Arguments),
    Run(run::Arguments),
    Socks5(socks5::Arguments),
    Send(send::Arguments),
    Listen(listen::Arguments),
    Address(address::Arguments),
    Receive(receive::Arguments),
    Load(Box<load::Arguments>),
    Keygen(keygen::Arguments),
}

/// Why a command was refused: one sentence that says what to do.
#[derive(Debug)]
struct Refusal(String);

impl<E: Display> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// How a command that was not refused ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All is well.
    Done,
    /// Some of it failed, as the command has said.
    Failed,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let ended = match Arguments::try_parse().map(|arguments| arguments.command) {
        Ok(Command::Init(arguments)) => init::run(&arguments),
        Ok(Command::Run(arguments)) => run::run(&arguments),
        Ok(Command::Socks5(arguments)) => socks5::run(&arguments),
        Ok(Command::Send(arguments)) => send::run(&arguments),
        Ok(Command::Listen(arguments)) => listen::run(&arguments),
        Ok(Command::Address(arguments)) => address::run(&arguments),
        Ok(Command::Receive(arguments)) => receive::run(&arguments),
        Ok(Command::Load(arguments)) => load::run(&arguments),
        Ok(Command::Keygen(arguments)) => keygen::run(&arguments),
        Err(text) if is_help(text.kind()) => text.exit(),
        Err(error) => Err(Refusal(sentence(&error.to_string()))),
    };
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Failed) => ExitCode::FAILURE,
        Err(Refusal(sentence)) => {
            note(format_args!("phix-client: {sentence}"));
            ExitCode::from(2)
        }
    }
}

/// Help and version, asked for or shown where nothing else was said.
const fn is_help(kind: ErrorKind) -> bool {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(kind, DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
}

/// What clap found wrong, without the usage that it prints below.
fn sentence(complaint: &str) -> String {
    let what = complaint.split("\n\nUsage:").next().unwrap_or(complaint);
    let what = what.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = if what.contains("--help") { "" } else { "; --help explains the arguments" };
    format!("{}{hint}", what.trim_end_matches('.'))
}

/// Prints a line of results. What cannot be printed is passed over: the exit code still tells.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a line for the person who watches.
fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |line: &str| Arguments::try_parse_from(line.split(' ')).is_err();
        let send = "phix-client send --topology t --to a";
        assert!(!refused(&format!("{send} --message x")));
        assert!(!refused(&format!("{send} --count 3 --rate 2.5")));
        assert!(refused(send));
        assert!(refused(&format!("{send} --message x --file y")));
        assert!(refused(&format!("{send} --message x --count 3")));
        assert!(refused(&format!("{send} --message x --rate 3")));
        assert!(refused(&format!("{send} --message x --size huge")));
        assert!(refused(&format!("{send} --message x --mean-delay 5")));
        assert!(refused(&format!("{send} --message x --sphinx-version 257")));
        assert!(refused(&format!("{send} --message x --reply-surbs 3")));
        let client = "phix-client send --dir d --to a --message x";
        assert!(!refused(client));
        assert!(!refused(&format!("{client} --reply-surbs 3 --timeout 5s")));
        assert!(refused(&format!("{client} --topology t")));
        assert!(refused(&format!("{client} --gateway 3")));
        assert!(refused(&format!("{client} --size ext8")));
        assert!(refused("phix-client send --to a --message x"));
        assert!(refused("phix-client init --dir d"));
        assert!(refused("phix-client init --dir d --directory u --topology t"));
    }
}
