//! `cargo xtask ci`: every check in turn, stopping at the first that fails.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{asm, layers, licences, perf, tidy};

/// One step.
struct Step {
    name: &'static str,
    what: &'static str,
    action: Action,
}

enum Action {
    /// A check of this program.
    Own(fn(&Path) -> Result<bool, String>),
    /// A run of cargo, its output passed through untouched.
    Cargo(&'static [&'static str]),
    /// The same, if cargo has this subcommand; skipped aloud otherwise.
    IfInstalled(&'static [&'static str]),
}

const fn step(name: &'static str, what: &'static str, action: Action) -> Step {
    Step { name, what, action }
}

/// All steps, quick ones first.
const STEPS: &[Step] = &[
    step("fmt", "cargo fmt --all --check", Action::Cargo(&["fmt", "--all", "--check"])),
    step("layers", "cargo xtask layers", Action::Own(layers::run)),
    step("tidy", "cargo xtask tidy", Action::Own(tidy::run)),
    step("licences", "cargo xtask licences", Action::Own(licences::run)),
    step(
        "deny",
        "cargo deny check bans licenses sources, where cargo-deny is installed",
        Action::IfInstalled(&["deny", "check", "bans", "licenses", "sources"]),
    ),
    step(
        "clippy",
        "cargo clippy --workspace --all-targets -- -D warnings",
        Action::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ),
    step("asm", "cargo xtask asm", Action::Own(asm::run)),
    step("perf", "the tests of the scripts in perf/", Action::Own(perf::run)),
    step("test", "cargo test --workspace", Action::Cargo(&["test", "--workspace"])),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Skipped,
    Failed,
}

/// What `cargo xtask ci --help` says.
pub(crate) fn help() -> String {
    let mut text = "Runs all checks in this order and stops at the first that fails.\n\n\
                    Usage: cargo xtask ci [STEP]...\n\nSteps (all, if none is named):\n"
        .to_owned();
    for step in STEPS {
        text += &format!("  {:<10} {}\n", step.name, step.what);
    }
    text + "\nExit code: 0 if all is well, 1 if a step failed, 2 if it could not be run."
}

/// Runs the steps named in `names`, or all; true if none failed.
pub(crate) fn run(root: &Path, names: &[&str]) -> Result<bool, String> {
    let steps = select(names)?;
    let mut done: Vec<(&str, Outcome, Duration)> = Vec::new();
    let mut stopped = None;
    for step in steps {
        println!("ci: {}: {}", step.name, step.what);
        let start = Instant::now();
        let result = perform(step, root);
        let outcome = result.as_ref().copied().unwrap_or(Outcome::Failed);
        done.push((step.name, outcome, start.elapsed()));
        if outcome == Outcome::Failed {
            stopped = Some((step, result.err()));
            break;
        }
    }
    print!("{}", table(&done));
    match stopped {
        None => println!("ci: all steps passed"),
        Some((step, None)) => println!("ci: stopped at step `{0}`: {1}", step.name, step.what),
        Some((step, Some(why))) => println!("ci: stopped at step `{0}`: {why}", step.name),
    }
    Ok(done.iter().all(|(_, outcome, _)| *outcome != Outcome::Failed))
}

fn select(names: &[&str]) -> Result<Vec<&'static Step>, String> {
    for name in names {
        if !STEPS.iter().any(|step| step.name == *name) {
            let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            return Err(format!("there is no step `{name}`; the steps are {}", known.join(", ")));
        }
    }
    let wanted = |step: &&Step| names.is_empty() || names.contains(&step.name);
    Ok(STEPS.iter().filter(wanted).collect())
}

fn perform(step: &Step, root: &Path) -> Result<Outcome, String> {
    let good = match step.action {
        Action::Own(check) => check(root)?,
        Action::Cargo(arguments) => cargo(root, arguments)?,
        Action::IfInstalled(arguments) => {
            if !is_installed(arguments[0]) {
                println!("ci: skipped, cargo-{} is not installed", arguments[0]);
                return Ok(Outcome::Skipped);
            }
            cargo(root, arguments)?
        }
    };
    Ok(if good { Outcome::Passed } else { Outcome::Failed })
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<bool, String> {
    let status = Command::new(program()).args(arguments).current_dir(root).status();
    status.map(|status| status.success()).map_err(|error| format!("cannot run cargo: {error}"))
}

fn is_installed(subcommand: &str) -> bool {
    let mut asked = Command::new(program());
    asked.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

fn program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn table(done: &[(&str, Outcome, Duration)]) -> String {
    let mut text = format!("\n{:<10} {:<8} {:>9}\n", "step", "outcome", "seconds");
    for (name, outcome, time) in done {
        let outcome = match outcome {
            Outcome::Passed => "passed",
            Outcome::Skipped => "skipped",
            Outcome::Failed => "FAILED",
        };
        text += &format!("{name:<10} {outcome:<8} {:>9.1}\n", time.as_secs_f64());
    }
    let total: Duration = done.iter().map(|(_, _, time)| *time).sum();
    text + &format!("{:<10} {:<8} {:>9.1}\n\n", "total", "", total.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_selected_by_name_and_run_in_order() {
        let names = |names: &[&str]| -> Vec<&str> {
            select(names).unwrap().iter().map(|step| step.name).collect()
        };
        assert_eq!(names(&["clippy", "fmt"]), ["fmt", "clippy"]);
        assert_eq!(names(&[]).len(), STEPS.len());
        assert!(select(&["fmt", "nothing"]).is_err_and(|why| why.contains("`nothing`")));
    }

    #[test]
    fn an_own_check_decides_its_step() {
        let outcome = |check: fn(&Path) -> Result<bool, String>| {
            perform(&step("a", "b", Action::Own(check)), Path::new("."))
        };
        assert_eq!(outcome(|_| Ok(true)), Ok(Outcome::Passed));
        assert_eq!(outcome(|_| Ok(false)), Ok(Outcome::Failed));
        assert_eq!(outcome(|_| Err("why".to_owned())), Err("why".to_owned()));
    }

    #[test]
    fn a_missing_tool_is_skipped_aloud() {
        let absent = step("a", "b", Action::IfInstalled(&["no-such-subcommand"]));
        assert_eq!(perform(&absent, Path::new(".")), Ok(Outcome::Skipped));
    }

    #[test]
    fn the_table_names_each_step_and_the_total() {
        let text = table(&[
            ("fmt", Outcome::Passed, Duration::from_millis(1250)),
            ("clippy", Outcome::Failed, Duration::from_secs(2)),
        ]);
        let rows: Vec<Vec<&str>> =
            text.trim().lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["fmt", "passed", "1.2"]);
        assert_eq!(rows[2], ["clippy", "FAILED", "2.0"]);
        assert_eq!(rows[3], ["total", "3.2"]);
    }
}
