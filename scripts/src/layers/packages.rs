//! Dependencies between the packages of the workspace, and what the engine is built from.

use crate::metadata::{Dependency, Package};
use crate::report::Finding;

use super::{ENGINE_DEPENDENCIES, PACKAGES};

pub(super) fn check(members: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in members {
        let mut note = |message: String| {
            findings.push(Finding::new(&format!("{}/Cargo.toml", package.dir), 0, message));
        };
        let Some(rule) = PACKAGES.iter().find(|rule| rule.name == package.name) else {
            note(format!("add package `{}` to the table in scripts/src/layers.rs", package.name));
            continue;
        };
        for seen in package.dependencies.iter().filter(|dependency| dependency.local) {
            let name = seen.name.as_str();
            if rule.sees.contains(&name) || seen.dev && rule.tests_see.contains(&name) {
                continue;
            }
            let place = if seen.dev { "in its tests" } else { "" };
            note(format!("{} may not depend on {name} {place}", rule.name).trim_end().to_owned());
        }
        if package.name == "phix-engine" {
            let outside = package.dependencies.iter().filter(|one| !one.dev && !one.local);
            outside.filter_map(engine_dependency).for_each(&mut note);
        }
    }
    findings
}

/// What is wrong with a dependency of the engine, if anything is.
fn engine_dependency(dependency: &Dependency) -> Option<String> {
    let name = &dependency.name;
    if !ENGINE_DEPENDENCIES.contains(&name.as_str()) {
        return Some(format!(
            "phix-engine may not depend on {name}: not among the engine's crates in \
             scripts/src/layers.rs"
        ));
    }
    if dependency.default_features {
        return Some(format!("phix-engine must take {name} without its default features"));
    }
    let std = dependency.features.iter().any(|feature| feature == "std");
    std.then(|| format!("phix-engine must take {name} without its feature `std`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(name: &str) -> Dependency {
        Dependency { name: name.to_owned(), ..Dependency::default() }
    }

    fn local(name: &str, dev: bool) -> Dependency {
        Dependency { name: name.to_owned(), dev, local: true, ..Dependency::default() }
    }

    fn findings(name: &str, dependencies: Vec<Dependency>) -> Vec<String> {
        let package = Package { name: name.to_owned(), dependencies, ..Package::default() };
        check(&[package]).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn the_client_does_not_depend_on_the_node() {
        assert_eq!(findings("phix-node", vec![local("phix-client", false)]), [""; 0]);
        let found = findings("phix-client", vec![local("phix-node", false)]);
        assert_eq!(found, ["phix-client may not depend on phix-node"]);
    }

    #[test]
    fn what_tests_may_use_is_not_for_the_package_itself() {
        assert_eq!(findings("phix-interop", vec![local("phix-node", true)]), [""; 0]);
        assert_eq!(findings("phix-interop", vec![local("phix-node", false)]).len(), 1);
        assert_eq!(findings("phix-engine", vec![local("phix-sim", true)]).len(), 1);
    }

    #[test]
    fn nothing_depends_on_benchmarks_or_tools() {
        for package in ["phix-engine", "phix-io", "phix-sim", "phix-client", "phix-node"] {
            assert_eq!(findings(package, vec![local("phix-bench", true)]).len(), 1);
            assert_eq!(findings(package, vec![local("xtask", true)]).len(), 1);
        }
    }

    #[test]
    fn an_unknown_package_is_a_finding() {
        assert_eq!(findings("phix-new", vec![]).len(), 1);
    }

    #[test]
    fn the_engine_takes_listed_crates_without_std() {
        assert_eq!(findings("phix-engine", vec![outside("subtle")]), [""; 0]);
        assert_eq!(findings("phix-engine", vec![outside("rand")]).len(), 1);
        let in_tests = Dependency { dev: true, ..outside("rand") };
        assert_eq!(findings("phix-engine", vec![in_tests]), [""; 0]);
        let default = Dependency { default_features: true, ..outside("subtle") };
        assert_eq!(findings("phix-engine", vec![default]).len(), 1);
        let std = Dependency { features: vec!["std".to_owned()], ..outside("subtle") };
        assert_eq!(findings("phix-engine", vec![std]).len(), 1);
    }
}
