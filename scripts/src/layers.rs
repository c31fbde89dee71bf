//! `cargo xtask layers`: who may import whom. The three tables below are the architecture.

mod packages;
mod rooms;
mod unsafety;

use std::path::Path;

use crate::metadata;
use crate::report;
use crate::tree::Tree;

/// A package of the workspace and the packages that it may depend on.
struct PackageRule {
    name: &'static str,
    sees: &'static [&'static str],
    /// What its tests and benchmarks may use beyond that.
    tests_see: &'static [&'static str],
}

const fn package(
    name: &'static str,
    sees: &'static [&'static str],
    tests_see: &'static [&'static str],
) -> PackageRule {
    PackageRule { name, sees, tests_see }
}

/// Packages. Nothing depends on the benchmarks or on xtask, and the client not on the node.
const PACKAGES: &[PackageRule] = &[
    package("phix-engine", &[], &[]),
    package("phix-io", &["phix-engine"], &[]),
    package("phix-proto", &["phix-engine"], &[]),
    package("phix-sim", &["phix-engine"], &[]),
    package(
        "phix-interop",
        &["phix-engine"],
        &["phix-proto", "phix-io", "phix-client", "phix-node"],
    ),
    package("phix-client", &["phix-engine", "phix-proto", "phix-io"], &[]),
    package("phix-node", &["phix-engine", "phix-proto", "phix-io", "phix-client"], &[]),
    package(
        "phix-bench",
        &["phix-engine", "phix-io", "phix-sim", "phix-interop", "phix-client", "phix-node"],
        &[],
    ),
    package("phix-runtimes", &["phix-engine", "phix-io"], &[]),
    package("xtask", &[], &[]),
];

/// What the engine may be built from: crates that work without std and read no clock.
const ENGINE_DEPENDENCIES: &[&str] = &[
    "aes",
    "arrayvec",
    "blake2",
    "blake3",
    "chacha20",
    "cpufeatures",
    "ctr",
    "curve25519-dalek",
    "hkdf",
    "hmac",
    "rand_core",
    "sha2",
    "subtle",
    "x25519-dalek",
    "zeroize",
];

/// A room of the engine (a module directly under its root, or a part of one that is stricter than
/// the whole) and the rooms that it may see besides itself.
struct Room {
    name: &'static str,
    sees: &'static [&'static str],
}

const fn room(name: &'static str, sees: &'static [&'static str]) -> Room {
    Room { name, sees }
}

/// Where the engine lives.
const ENGINE: &str = "engine/src";

/// Rooms of the engine, lowest first: a room sees only rooms further up in this list.
const ROOMS: &[Room] = &[
    room("units", &[]),
    room("wire::geometry", &["units"]),
    room("limits", &["units", "wire::geometry"]),
    room("histogram", &["units", "limits"]),
    room("cpu", &[]),
    room("secret", &[]),
    room("counters", &["units"]),
    room("wire", &["units", "limits", "cpu", "secret"]),
    room("crypto", &["units", "limits", "cpu", "secret", "wire"]),
    room("sphinx", &["units", "limits", "cpu", "secret", "wire", "crypto"]),
    room("atomic", &[]),
    room("pool", &["units", "limits", "wire", "atomic"]),
    room("intake", &["units", "limits", "counters", "wire", "pool"]),
    room("replay", &["units", "limits"]),
    room("wheel", &["units", "limits", "counters", "wire", "pool"]),
    room("berth", &["atomic"]),
    room("egress", &["units", "limits", "counters", "wire", "pool"]),
    room(
        "shard",
        &[
            "units",
            "limits",
            "histogram",
            "cpu",
            "secret",
            "counters",
            "wire",
            "crypto",
            "sphinx",
            "pool",
            "intake",
            "replay",
            "wheel",
            "berth",
            "egress",
        ],
    ),
];

/// The only files in which `unsafe` may stand.
const UNSAFE_ROOMS: &[&str] = &[
    "engine/src/pool/memory.rs",
    "engine/src/crypto/**/aes_ni.rs",
    "engine/src/crypto/**/avx*.rs",
    "engine/src/crypto/lanes/avx512/interleaved/*.rs",
    "engine/src/crypto/**/sha_ni.rs",
    "engine/src/crypto/**/vaes.rs",
    "engine/src/crypto/x25519/avx512/steps.rs",
    "engine/io/src/crypto.rs",
    "engine/io/src/memory.rs",
    "engine/io/src/uring/**",
];

/// Runs all layer checks; true if nothing was found.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let tree = Tree::load(root)?;
    let members = metadata::members(root)?;
    let mut findings = packages::check(&members);
    findings.extend(rooms::check(&tree));
    findings.extend(unsafety::check(&tree));
    let looked_at = format!("{} packages, {} rooms", members.len(), ROOMS.len());
    Ok(report::print("layers", &looked_at, findings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_see_only_rooms_above_them() {
        for (at, room) in ROOMS.iter().enumerate() {
            for seen in room.sees {
                let rank = ROOMS.iter().position(|other| other.name == *seen);
                assert!(rank.is_some_and(|rank| rank < at), "{} sees {seen}", room.name);
            }
        }
    }

    #[test]
    fn packages_see_only_packages_of_the_table() {
        for package in PACKAGES {
            for seen in package.sees.iter().chain(package.tests_see) {
                assert!(PACKAGES.iter().any(|other| other.name == *seen), "{seen}");
            }
        }
    }
}
