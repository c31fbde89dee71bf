//! The tests of the measuring scripts in perf/, which are Python.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// Runs them; skipped aloud where there is no Python.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let mut tests = Command::new("python3");
    tests.args(["-B", "-m", "unittest", "-q", "phixperf.tests"]);
    match tests.env("PYTHONPATH", root.join("perf")).current_dir(root).status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("ci: skipped, python3 is not installed");
            Ok(true)
        }
        Err(error) => Err(format!("cannot run python3: {error}")),
    }
}
