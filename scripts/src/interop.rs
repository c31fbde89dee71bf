//! `cargo xtask interop`: programs of the stock SDK in a network of ours.

use std::path::Path;
use std::process::Command;

/// Where the program of the SDK is made; a workspace of its own, with its own lock file.
const SDK: &str = "engine/interop/sdk";

/// Builds the program and runs the tests that need it.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let sdk = root.join(SDK);
    println!("interop: building the program of the stock SDK; the first time takes minutes");
    if !cargo(Command::new(program()).args(["build", "--locked"]).current_dir(&sdk))? {
        return Ok(false);
    }
    let arguments = ["test", "--package", "phix-node", "--test", "stock", "--", "--ignored"];
    let mut test = Command::new(program());
    test.args(arguments).args(["--test-threads", "1"]).current_dir(root);
    cargo(test.env("PHIX_STOCK", sdk.join("target/debug/phix-stock")))
}

fn program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo(command: &mut Command) -> Result<bool, String> {
    // The SDK keeps to its own folder for what it builds, whatever the caller has set.
    let status = command.env_remove("CARGO_TARGET_DIR").status();
    status.map(|status| status.success()).map_err(|error| format!("cargo cannot be run: {error}"))
}
