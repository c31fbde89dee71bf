//! `cargo xtask asm`: what the compiler made of the kernels. The table of bounds is in `kernels`.

mod flow;
mod kernels;
mod listing;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use self::kernels::{KERNELS, Kernel};
use self::listing::{Instruction, Line};
use crate::report::{self, Finding};

/// Where the listing goes, below the root.
const LISTING: &str = "target/asm/phix-engine.s";

/// Loops of fewer instructions are not where the time goes: they copy or wipe.
const HOT: usize = 48;

/// Where the functions are that handle secrets.
const ROOM: &str = "phix_engine::crypto::";

/// Builds the engine, looks at its kernels and prints a table; true if nothing was found.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    if cfg!(not(target_arch = "x86_64")) {
        println!("asm: skipped, the kernels to look at are those of x86-64");
        return Ok(true);
    }
    compile(root)?;
    let text = fs::read_to_string(root.join(LISTING))
        .map_err(|error| format!("cannot read {LISTING}: {error}"))?;
    let functions = listing::functions(&text);
    print!("{}", table(KERNELS, &functions));
    let looked_at = format!("{} kernels in {} functions", KERNELS.len(), functions.len());
    Ok(report::print("asm", &looked_at, check(KERNELS, &functions)))
}

/// Has the engine compiled as one unit and without the linker's help, which would turn it into
/// code only at the end of the program's build.
fn compile(root: &Path) -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let emit = format!("asm={LISTING}");
    let status = Command::new(cargo)
        .args(["rustc", "--quiet", "--profile", "asm", "--package", "phix-engine", "--lib", "--"])
        .args(["-C", "symbol-mangling-version=v0", "--emit", &emit])
        .current_dir(root)
        // The listing lies below the root, and what cargo takes for built must lie beside it.
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err("the engine does not compile".to_owned()) }
}

type Functions = BTreeMap<String, Vec<Line>>;

/// What is in the hot part of a kernel: its inner loops, or all of it where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    loops: usize,
    instructions: usize,
    calls: usize,
    /// Jumps to computed addresses: what they are computed from may be secret.
    indirect: usize,
    spills: usize,
    reloads: usize,
}

fn count(lines: &[Line]) -> Counts {
    let framed = listing::is_framed(lines);
    let mut hot = flow::innermost_loops(lines);
    hot.retain(|instructions| instructions.len() >= HOT);
    let loops = hot.len();
    if hot.is_empty() {
        hot.push(instructions(lines).collect());
    }
    let hot: Vec<&Instruction> = hot.into_iter().flatten().collect();
    let number = |holds: &dyn Fn(&Instruction) -> bool| hot.iter().filter(|it| holds(it)).count();
    Counts {
        loops,
        instructions: hot.len(),
        calls: number(&Instruction::is_call),
        indirect: number(&Instruction::is_indirect_jump),
        spills: number(&|it| it.is_spill(framed)),
        reloads: number(&|it| it.is_reload(framed)),
    }
}

fn instructions(lines: &[Line]) -> impl Iterator<Item = &Instruction> {
    lines.iter().filter_map(|line| match line {
        Line::Instruction(instruction) => Some(instruction),
        Line::Label(_) => None,
    })
}

fn divisions(lines: &[Line]) -> usize {
    instructions(lines).filter(|instruction| instruction.is_division()).count()
}

fn check(kernels: &[Kernel], functions: &Functions) -> Vec<Finding> {
    let mut findings = Vec::new();
    for kernel in kernels {
        let name = format!("{ROOM}{}", kernel.name);
        let mut find = |message: String| findings.push(Finding::new(LISTING, 0, message));
        let Some(lines) = functions.get(&name) else {
            find(format!("{name} is not there: renamed, or inlined into its caller"));
            continue;
        };
        let counts = count(lines);
        if counts.calls > 0 {
            find(format!("{name} calls {} functions in its inner loops", counts.calls));
        }
        if counts.indirect > 0 {
            find(format!("{name} jumps to a computed address in its inner loops"));
        }
        for (what, found, bound) in
            [("spills", counts.spills, kernel.spills), ("reloads", counts.reloads, kernel.reloads)]
        {
            if found > bound {
                find(format!("{name} has {found} {what}; at most {bound} ({})", kernel.reason));
            }
        }
    }
    let divides = functions.iter().filter(|(name, lines)| handles(name) && divisions(lines) > 0);
    findings.extend(divides.map(|(name, _)| {
        Finding::new(LISTING, 0, format!("{name} divides, which takes longer for some numbers"))
    }));
    findings
}

/// Whether a function is the crypto room's own: by its path, or as a method of a type there.
fn handles(function: &str) -> bool {
    function.trim_start_matches('<').starts_with(ROOM)
}

fn table(kernels: &[Kernel], functions: &Functions) -> String {
    let mut text = format!(
        "{:<36} {:>5} {:>12} {:>5} {:>13} {:>13} {:>9}\n",
        "kernel", "loops", "instructions", "calls", "spills/bound", "reloads/bound", "divisions"
    );
    for kernel in kernels {
        let Some(lines) = functions.get(&format!("{ROOM}{}", kernel.name)) else { continue };
        let Counts { loops, instructions, calls, spills, reloads, .. } = count(lines);
        let spills = format!("{spills}/{}", kernel.spills);
        let reloads = format!("{reloads}/{}", kernel.reloads);
        text += &format!(
            "{:<36} {loops:>5} {instructions:>12} {calls:>5} {spills:>13} {reloads:>13} {:>9}\n",
            kernel.name,
            divisions(lines)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDED: &[Kernel] = &[Kernel { name: "k", spills: 1, reloads: 0, reason: "a test" }];

    /// A kernel that is one loop of `body` and enough else to be hot.
    fn found_in(body: &str) -> Vec<String> {
        let filler = "\tvpaddq\t%ymm0, %ymm1, %ymm1\n".repeat(HOT);
        let name = format!("{ROOM}k");
        let text = format!("{name}:\n.L0:\n{filler}{body}\tjne\t.L0\n\tretq\n.Lfunc_end0:\n");
        let found = check(BOUNDED, &listing::functions(&text));
        found.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn what_stays_within_its_bounds_passes() {
        assert_eq!(found_in(""), [""; 0]);
        assert_eq!(found_in("\tvmovdqa\t%ymm1, (%rsp)\n"), [""; 0]);
    }

    #[test]
    fn calls_spills_reloads_and_divisions_are_found() {
        let one = |body: &str, part: &str| {
            let found = found_in(body);
            assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
        };
        one("\tcallq\tmemcpy\n", "calls 1 functions");
        one("\tjmpq\t*%rax\n.L1:\n", "computed address");
        one("\tvmovdqa\t%ymm1, (%rsp)\n\tvmovdqa\t%ymm2, 32(%rsp)\n", "2 spills; at most 1");
        one("\tvpaddq\t(%rsp), %ymm1, %ymm1\n", "1 reloads; at most 0 (a test)");
        one("\tdivq\t%rcx\n", "divides");
    }

    #[test]
    fn a_kernel_without_loops_is_looked_at_as_a_whole() {
        let text = format!("{ROOM}k:\n\tcallq\tmemcpy\n\tretq\n.Lfunc_end0:\n");
        let functions = listing::functions(&text);
        assert_eq!(check(BOUNDED, &functions).len(), 1);
        let expected = Counts { instructions: 2, calls: 1, ..Counts::default() };
        assert_eq!(count(&functions[&format!("{ROOM}k")]), expected);
    }

    #[test]
    fn a_kernel_that_has_gone_is_found() {
        let found = check(BOUNDED, &Functions::new());
        assert!(found.len() == 1 && found[0].message.contains("is not there"));
    }

    #[test]
    fn a_division_elsewhere_in_the_room_is_found_and_outside_is_not() {
        let of = |name: &str| {
            let text = format!("{name}:\n\tidivl\t%ecx\n.Lfunc_end0:\n");
            check(&[], &listing::functions(&text)).len()
        };
        assert_eq!((of(&format!("{ROOM}other")), of("phix_engine::replay::len")), (1, 0));
        assert!(handles("<phix_engine::crypto::Kernels>::multiply"));
    }

    #[test]
    fn every_bound_has_a_reason_and_every_kernel_one_row() {
        for (at, kernel) in KERNELS.iter().enumerate() {
            let bounded = kernel.spills + kernel.reloads > 0;
            assert_eq!(bounded, !kernel.reason.is_empty(), "{}", kernel.name);
            assert!(KERNELS[..at].iter().all(|other| other.name != kernel.name));
        }
    }
}
