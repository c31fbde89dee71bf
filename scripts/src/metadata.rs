//! What `cargo metadata` says about packages and their dependencies.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One package.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Directory relative to the workspace; empty for packages from elsewhere.
    pub(crate) dir: String,
    /// Crate roots (libraries, binaries, tests, benchmarks, examples), relative to the workspace.
    pub(crate) roots: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) license: Option<String>,
    /// Registry or repository; nothing for packages of the workspace.
    pub(crate) source: Option<String>,
}

/// One line under `[dependencies]` and its kin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) dev: bool,
    pub(crate) requirement: String,
    pub(crate) default_features: bool,
    pub(crate) features: Vec<String>,
    /// True for a package of the workspace.
    pub(crate) local: bool,
}

/// The packages of the workspace alone; needs no network.
pub(crate) fn members(root: &Path) -> Result<Vec<Package>, String> {
    read(root, &["--no-deps"])
}

/// All packages that end up in the workspace's lock file and are built on this machine.
pub(crate) fn all(root: &Path) -> Result<Vec<Package>, String> {
    read(root, &["--locked", "--filter-platform", &host()?])
}

fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("cannot run rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

fn read(root: &Path, arguments: &[&str]) -> Result<Vec<Package>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("cargo metadata failed: {}", said.trim()));
    }
    let value = serde_json::from_slice(&output.stdout);
    let value: Value = value.map_err(|error| format!("cargo metadata is not JSON: {error}"))?;
    let base = format!("{}/", string(&value["workspace_root"]));
    Ok(list(&value["packages"]).iter().map(|package| read_package(package, &base)).collect())
}

fn read_package(value: &Value, base: &str) -> Package {
    let relative = |path: &Value| string(path).strip_prefix(base).map(str::to_owned);
    let manifest = relative(&value["manifest_path"]).unwrap_or_default();
    let targets = list(&value["targets"]).iter();
    Package {
        name: string(&value["name"]),
        version: string(&value["version"]),
        dir: manifest.strip_suffix("/Cargo.toml").unwrap_or_default().to_owned(),
        roots: targets.filter_map(|target| relative(&target["src_path"])).collect(),
        dependencies: list(&value["dependencies"]).iter().map(read_dependency).collect(),
        license: value["license"].as_str().map(str::to_owned),
        source: value["source"].as_str().map(str::to_owned),
    }
}

fn read_dependency(value: &Value) -> Dependency {
    Dependency {
        name: string(&value["name"]),
        dev: value["kind"] == "dev",
        requirement: string(&value["req"]),
        default_features: value["uses_default_features"] == true,
        features: list(&value["features"]).iter().map(string).collect(),
        local: value["source"].is_null(),
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_with_paths_relative_to_the_workspace() {
        let value = serde_json::json!({
            "name": "a", "version": "1.2.3", "license": null, "source": null,
            "manifest_path": "/x/y/a/Cargo.toml",
            "targets": [{ "src_path": "/x/y/a/src/lib.rs" }],
            "dependencies": [{ "name": "b", "kind": "dev", "req": "^1", "source": "registry+z",
                "uses_default_features": false, "features": ["std"] }],
        });
        let package = read_package(&value, "/x/y/");
        assert_eq!((package.dir.as_str(), package.license), ("a", None));
        assert_eq!(package.roots, ["a/src/lib.rs"]);
        let dependency = &package.dependencies[0];
        assert!(dependency.dev && !dependency.local && !dependency.default_features);
        assert_eq!(
            (dependency.requirement.as_str(), &dependency.features[..]),
            ("^1", &["std".to_owned()][..])
        );
    }
}
