//! Loops of a function: blocks, what dominates what, and back edges.

use std::collections::{BTreeMap, BTreeSet};

use super::listing::{Instruction, Line};

/// A run of instructions that is entered at its start only.
#[derive(Debug, Default)]
struct Block<'a> {
    instructions: Vec<&'a Instruction>,
    next: BTreeSet<usize>,
}

/// The innermost loops of a function, each as its instructions.
///
/// A loop is what its back edge makes of it: an edge to a block that every path to the edge has
/// passed, and all blocks from which the edge can be reached without passing that one again. So a
/// block that panics is no part of the loop that jumps to it, wherever it stands in the listing.
pub(super) fn innermost_loops(lines: &[Line]) -> Vec<Vec<&Instruction>> {
    let blocks = blocks(lines);
    let dominators = dominators(&blocks);
    let mut loops: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, block) in blocks.iter().enumerate() {
        for &head in block.next.iter().filter(|head| dominators[from].contains(head)) {
            loops.entry(head).or_default().extend(body(&blocks, head, from));
        }
    }
    let is_innermost = |head: usize| {
        let others = loops.keys().filter(|other| **other != head);
        !others.into_iter().any(|other| loops[&head].contains(other))
    };
    loops
        .iter()
        .filter(|(head, _)| is_innermost(**head))
        .map(|(_, body)| {
            body.iter().flat_map(|&b| blocks[b].instructions.iter().copied()).collect()
        })
        .collect()
}

/// Cuts at labels and behind jumps.
fn blocks(lines: &[Line]) -> Vec<Block<'_>> {
    let mut blocks = vec![Block::default()];
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut jumped = false;
    for line in lines {
        let open = blocks.last().is_some_and(|block| !block.instructions.is_empty());
        match line {
            Line::Label(name) => {
                if open {
                    blocks.push(Block::default());
                }
                places.insert(name, blocks.len() - 1);
                jumped = false;
            }
            Line::Instruction(instruction) => {
                if jumped {
                    blocks.push(Block::default());
                }
                jumped = instruction.is_jump() || instruction.ends_flow();
                blocks.last_mut().expect("there is one").instructions.push(instruction);
            }
        }
    }
    link(&mut blocks, &places);
    blocks
}

fn link(blocks: &mut [Block<'_>], places: &BTreeMap<&str, usize>) {
    let count = blocks.len();
    for (at, block) in blocks.iter_mut().enumerate() {
        let last = block.instructions.last().copied();
        if at + 1 < count && !last.is_some_and(Instruction::ends_flow) {
            block.next.insert(at + 1);
        }
        if let Some(jump) = last.filter(|last| last.is_jump()) {
            let target = jump.operands.first().and_then(|name| places.get(name.as_str()));
            block.next.extend(target);
        }
    }
}

/// For each block, the blocks that every path from the entry to it passes, itself included.
/// Of blocks that no path reaches, all are said to.
fn dominators(blocks: &[Block<'_>]) -> Vec<BTreeSet<usize>> {
    let mut before = vec![Vec::new(); blocks.len()];
    for (from, block) in blocks.iter().enumerate() {
        block.next.iter().for_each(|&to| before[to].push(from));
    }
    let all: BTreeSet<usize> = (0..blocks.len()).collect();
    let mut found = vec![all; blocks.len()];
    found[0] = BTreeSet::from([0]);
    let mut changed = true;
    while changed {
        changed = false;
        for at in 1..blocks.len() {
            let common = before[at].iter().map(|&from| found[from].clone());
            let common = common.reduce(|one, other| &one & &other);
            let Some(mut common) = common else { continue };
            common.insert(at);
            changed |= common != found[at];
            found[at] = common;
        }
    }
    found
}

/// The blocks of the loop that the edge from `from` to `head` closes.
fn body(blocks: &[Block<'_>], head: usize, from: usize) -> BTreeSet<usize> {
    let mut body = BTreeSet::from([head]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if body.insert(at) {
            open.extend((0..blocks.len()).filter(|&other| blocks[other].next.contains(&at)));
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::listing::functions;
    use super::*;

    fn loops(body: &str) -> Vec<Vec<String>> {
        let text = format!("f:\n{body}.Lfunc_end0:\n");
        let functions = functions(&text);
        let loops = innermost_loops(&functions["f"]);
        let name = |it: &&Instruction| it.mnemonic.clone();
        loops.iter().map(|instructions| instructions.iter().map(name).collect()).collect()
    }

    #[test]
    fn straight_code_has_no_loop() {
        assert!(loops("\tnop\n\tje\t.L1\n\tnop\n.L1:\n\tretq\n").is_empty());
    }

    #[test]
    fn of_nested_loops_the_inner_one_counts() {
        let found = loops(
            "\tnop\n.L1:\n\tinc\t%rax\n.L2:\n\tdec\t%rbx\n\tjne\t.L2\n\tdec\t%rax\n\tjne\t.L1\n\
             \tretq\n",
        );
        assert_eq!(found, [["dec", "jne"]]);
    }

    /// The panic stands between the loop's start and its end, but no path leads back from it.
    #[test]
    fn a_block_that_does_not_return_is_no_part_of_the_loop() {
        let found = loops(
            "\tjmp\t.L1\n.L3:\n\tcallq\tpanic\n\tud2\n.L1:\n\tcmp\t%rax, %rbx\n\tjae\t.L3\n\
             \tinc\t%rax\n\tjmp\t.L1\n",
        );
        assert_eq!(found, [["cmp", "jae", "inc", "jmp"]]);
    }

    #[test]
    fn a_loop_entered_in_its_middle_is_whole() {
        let found = loops(
            "\tjmp\t.L2\n.L1:\n\tinc\t%rax\n.L2:\n\tdec\t%rbx\n\tje\t.L3\n\tadd\t%rax, %rcx\n\
             \tjmp\t.L1\n.L3:\n\tretq\n",
        );
        assert_eq!(found, [["inc", "dec", "je", "add", "jmp"]]);
    }
}
