//! `cargo xtask licences`: licences and sources of all dependencies, against deny.toml.

mod expression;

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::metadata::{self, Package};
use crate::report::{self, Finding};

/// The parts of deny.toml that are checked here.
#[derive(Debug, Default)]
struct Policy {
    allow: Vec<String>,
    /// Licences that are allowed for one crate only.
    exceptions: Vec<(String, Vec<String>)>,
    registries: Vec<String>,
}

/// Runs the check; true if nothing was found.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let text = fs::read_to_string(root.join("deny.toml"));
    let policy = Policy::read(&text.map_err(|error| format!("cannot read deny.toml: {error}"))?)?;
    let packages = metadata::all(root)?;
    let findings = packages.iter().flat_map(|package| check(&policy, package)).collect();
    Ok(report::print("licences", &format!("{} packages", packages.len()), findings))
}

impl Policy {
    fn read(text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error| format!("deny.toml: {error}"))?;
        let licences = table.get("licenses").ok_or("deny.toml has no section [licenses]")?;
        let exceptions = licences.get("exceptions").and_then(Value::as_array);
        let exception = |value: &Value| {
            let name = value.get("crate").or(value.get("name")).and_then(Value::as_str)?;
            Some((name.to_owned(), strings(value.get("allow"))))
        };
        let sources = table.get("sources").ok_or("deny.toml has no section [sources]")?;
        Ok(Self {
            allow: strings(licences.get("allow")),
            exceptions: exceptions.into_iter().flatten().filter_map(exception).collect(),
            registries: strings(sources.get("allow-registry")),
        })
    }

    fn allows(&self, package: &str, licence: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|allowed| allowed == licence);
        let of_package = |(name, list): &(String, Vec<String>)| name == package && named(list);
        named(&self.allow) || self.exceptions.iter().any(of_package)
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn check(policy: &Policy, package: &Package) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |message: String| {
        let name = format!("{} {}", package.name, package.version);
        findings.push(Finding::new(&name, 0, message));
    };
    match &package.license {
        None => note("names no licence".to_owned()),
        Some(text) => {
            match expression::satisfied(text, &|licence| policy.allows(&package.name, licence)) {
                Ok(true) => {}
                Ok(false) => note(format!("licence `{text}` is not allowed by deny.toml")),
                Err(why) => note(format!("licence `{text}` cannot be read: {why}")),
            }
        }
    }
    if let Some(source) = &package.source {
        let registry = source.strip_prefix("registry+").or(source.strip_prefix("sparse+"));
        if !registry.is_some_and(|it| policy.registries.iter().any(|allowed| allowed == it)) {
            note(format!("comes from {source}, which deny.toml does not allow"));
        }
    } else {
        for wild in package.dependencies.iter().filter(|it| !it.local && it.requirement == "*") {
            note(format!("takes any version of {}: name one", wild.name));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    const POLICY: &str = "
        [licenses]
        allow = ['MIT']
        exceptions = [{ crate = 'odd', allow = ['MPL-2.0'] }]
        [sources]
        allow-registry = ['https://example.org/index']
    ";

    fn package(name: &str, license: Option<&str>) -> Package {
        let (license, source) = (license.map(str::to_owned), "registry+https://example.org/index");
        Package {
            name: name.to_owned(),
            license,
            source: Some(source.to_owned()),
            ..Package::default()
        }
    }

    fn count(package: &Package) -> usize {
        check(&Policy::read(POLICY).unwrap(), package).len()
    }

    #[test]
    fn licences_must_be_allowed() {
        assert_eq!(count(&package("a", Some("MIT OR GPL-3.0-only"))), 0);
        assert_eq!(count(&package("a", Some("GPL-3.0-only"))), 1);
        assert_eq!(count(&package("a", None)), 1);
        assert_eq!(count(&package("a", Some("MIT OR"))), 1);
    }

    #[test]
    fn exceptions_are_for_the_named_crate() {
        assert_eq!(count(&package("odd", Some("MPL-2.0"))), 0);
        assert_eq!(count(&package("a", Some("MPL-2.0"))), 1);
    }

    #[test]
    fn sources_must_be_allowed() {
        let from = |source: &str| {
            count(&Package { source: Some(source.to_owned()), ..package("a", Some("MIT")) })
        };
        assert_eq!(from("registry+https://example.org/index"), 0);
        assert_eq!(from("registry+https://example.net/index"), 1);
        assert_eq!(from("git+https://example.org/index"), 1);
    }

    #[test]
    fn our_own_packages_name_versions() {
        let wild = Dependency { requirement: "*".to_owned(), ..Dependency::default() };
        let local = Dependency { local: true, ..wild.clone() };
        let ours = Package { source: None, ..package("a", Some("MIT")) };
        assert_eq!(count(&Package { dependencies: vec![wild], ..ours.clone() }), 1);
        assert_eq!(count(&Package { dependencies: vec![local], ..ours }), 0);
    }

    #[test]
    fn a_policy_without_lists_is_refused() {
        assert!(Policy::read("[licenses]\nallow = []\n").is_err());
        assert!(Policy::read("[licenses").is_err());
    }
}
