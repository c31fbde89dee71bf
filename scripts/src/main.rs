//! The project's checks, run as `cargo xtask COMMAND`.

mod asm;
mod ci;
mod glob;
mod interop;
mod layers;
mod licences;
mod metadata;
mod modules;
mod perf;
mod report;
mod tidy;
mod tokens;
mod tree;

use std::path::Path;
use std::process::ExitCode;

const HELP: &str = "\
The project's checks.

Usage: cargo xtask COMMAND [--help]

Commands:
  layers     Who may import whom: packages, rooms of the engine, places of `unsafe`
  tidy       Lengths of files, functions and lines; dead files; comments; scripts; manifests
  licences   Licences and sources of all dependencies, against deny.toml
  interop    Programs of the stock SDK 1.21.6 in a network of ours; takes minutes
  asm        What the compiler made of the crypto kernels: calls, spills, divisions
  ci         All of these but interop, formatting, clippy and the tests, as .ci/run does

Exit code: 0 if all is well, 1 if something was found, 2 if the command could not be run.";

const LAYERS_HELP: &str = "\
Checks who may import whom.

Usage: cargo xtask layers

* Packages: which package of the workspace may depend on which, and which crates the engine may be
  built from.
* Rooms: which module of the engine may name which other one, outside of tests; and that the engine
  is without std.
* Unsafe: the only files in which `unsafe` may stand.

The tables are at the top of scripts/src/layers.rs. Change them in the commit that needs it, and say
why.";

const TIDY_HELP: &str = "\
Checks the rules of STYLE.md that a program can check.

Usage: cargo xtask tidy

* Files of at most 500 lines (tests, benchmarks and tables: 800), functions of 60 lines between
  their braces, lines of 100 characters (addresses may be longer).
* No white space at line ends, a newline at the end of each file, no tabs in Rust.
* No marks of unfinished work, no code in comments, no banners.
* No Rust file that no crate reaches.
* Every package inherits the workspace's lints; every shell script starts with `set -euo pipefail`
  and is executable.
* No absolute path of a machine, no registry but the default one.

Looks at all files that git tracks or would track.";

const LICENCES_HELP: &str = "\
Checks licences and sources of all dependencies that are built on this machine.

Usage: cargo xtask licences

Reads the lists of deny.toml, so that its verdict is that of `cargo deny check licenses sources`,
but needs neither that tool nor a network. Not checked here: advisories (`cargo deny check
advisories`).";

const ASM_HELP: &str = "\
Compiles the engine and looks at the assembly of its crypto kernels.

Usage: cargo xtask asm

* In the inner loops of each kernel of each tier, or in all of it if it has none: no call, no jump
  to a computed address, and no more spills and reloads of vector registers than its row grants it.
* In all functions of the engine's crypto: no division, whose time depends on the numbers.

The rows are in scripts/src/asm/kernels.rs, with the reason for each bound. The listing is written
to target/asm/phix-engine.s. Skipped on processors other than x86-64.";

const INTEROP_HELP: &str = "\
Runs programs of the stock SDK 1.21.6 in a network of ours: a directory and five nodes on loopback.

Usage: cargo xtask interop

* Builds engine/interop/sdk, a workspace of its own, because the SDK compiles only with the versions
  in its lock file. The first time takes minutes, and a network to fetch some 900 crates.
* Runs node/tests/stock with it: SDK to SDK, SDK to our client and back, answers by reply blocks in
  both directions, messages that wait for a program that is away.

Not part of `ci`, for the time that it takes.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(sentence) => {
            eprintln!("xtask: {sentence}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(arguments: &[&str]) -> Result<bool, String> {
    let Some((command, rest)) = arguments.split_first() else {
        return Err(format!("no command given\n\n{HELP}"));
    };
    let check: fn(&Path) -> Result<bool, String> = match *command {
        "--help" | "-h" | "help" => return Ok(say(HELP)),
        "ci" if wants_help(rest) => return Ok(say(&ci::help())),
        "ci" => return ci::run(&tree::root()?, rest),
        "asm" if wants_help(rest) => return Ok(say(ASM_HELP)),
        "layers" if wants_help(rest) => return Ok(say(LAYERS_HELP)),
        "tidy" if wants_help(rest) => return Ok(say(TIDY_HELP)),
        "licences" if wants_help(rest) => return Ok(say(LICENCES_HELP)),
        "interop" if wants_help(rest) => return Ok(say(INTEROP_HELP)),
        "asm" => asm::run,
        "layers" => layers::run,
        "tidy" => tidy::run,
        "licences" => licences::run,
        "interop" => interop::run,
        other => return Err(format!("there is no command `{other}`\n\n{HELP}")),
    };
    match rest {
        [] => check(&tree::root()?),
        [extra, ..] => Err(format!("`{command}` takes no argument, but `{extra}` was given")),
    }
}

fn wants_help(arguments: &[&str]) -> bool {
    arguments.iter().any(|argument| matches!(*argument, "--help" | "-h"))
}

fn say(text: &str) -> bool {
    println!("{text}");
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_explains_itself() {
        assert_eq!(dispatch(&["--help"]), Ok(true));
        for command in ["asm", "ci", "interop", "layers", "tidy", "licences"] {
            assert!(HELP.contains(&format!("\n  {command} ")), "{command}");
            assert_eq!(dispatch(&[command, "--help"]), Ok(true));
        }
    }

    #[test]
    fn wrong_usage_is_a_sentence() {
        assert!(dispatch(&[]).is_err());
        assert!(dispatch(&["tidi"]).unwrap_err().starts_with("there is no command `tidi`"));
        assert!(dispatch(&["tidy", "node"]).unwrap_err().contains("takes no argument"));
        assert!(dispatch(&["ci", "clipy"]).unwrap_err().contains("there is no step `clipy`"));
    }
}
