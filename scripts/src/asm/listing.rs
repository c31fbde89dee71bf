//! A compiler's listing (x86-64, GNU syntax) as functions of labels and instructions.

use std::collections::BTreeMap;

/// One line of a function that means something to the CPU, or that it can jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Label(String),
    Instruction(Instruction),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) mnemonic: String,
    /// Sources first, as this syntax has it; what is written stands last.
    pub(super) operands: Vec<String>,
}

/// The functions of `text` by their demangled names.
pub(super) fn functions(text: &str) -> BTreeMap<String, Vec<Line>> {
    let mut functions = BTreeMap::new();
    let mut open: Option<(String, Vec<Line>)> = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let label = line.strip_suffix(':').filter(|label| !label.contains([' ', '\t']));
        match (label, &mut open) {
            (Some(label), _) if label.starts_with(".Lfunc_end") => functions.extend(open.take()),
            (Some(label), Some((_, lines))) if label.starts_with(".L") => {
                lines.push(Line::Label(label.to_owned()));
            }
            (Some(label), _) if !label.starts_with(".L") => {
                open = Some((format!("{:#}", rustc_demangle::demangle(label)), Vec::new()));
            }
            (None, Some((_, lines))) => lines.extend(instruction(line).map(Line::Instruction)),
            _ => {}
        }
    }
    functions
}

/// The instruction on a line, if there is one. Several in a line of inline assembly are not split.
fn instruction(line: &str) -> Option<Instruction> {
    let text = line.trim_start();
    if text.is_empty() || text.starts_with('.') || text == line {
        return None;
    }
    let (mnemonic, rest) = text.split_once(|c: char| c.is_whitespace()).unwrap_or((text, ""));
    Some(Instruction { mnemonic: mnemonic.to_owned(), operands: split(rest) })
}

/// Cuts at commas outside of parentheses.
fn split(operands: &str) -> Vec<String> {
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in operands.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part.trim().to_owned());
    parts.retain(|part| !part.is_empty());
    parts
}

impl Instruction {
    /// Whether control goes somewhere else from here, or may.
    pub(super) fn is_jump(&self) -> bool {
        self.mnemonic.starts_with('j')
    }

    /// Whether the next instruction is not reached by falling through to it.
    pub(super) fn ends_flow(&self) -> bool {
        ["jmp", "jmpq", "ret", "retq", "ud2"].contains(&self.mnemonic.as_str())
    }

    /// Whether it jumps to an address that was computed.
    pub(super) fn is_indirect_jump(&self) -> bool {
        self.is_jump() && self.operands.iter().any(|operand| operand.starts_with('*'))
    }

    pub(super) fn is_call(&self) -> bool {
        self.mnemonic.starts_with("call")
    }

    /// Whether its time depends on what it works on.
    pub(super) fn is_division(&self) -> bool {
        let stems = ["div", "idiv", "vdiv", "fdiv", "sqrt", "vsqrt"];
        stems.iter().any(|stem| self.mnemonic.starts_with(stem))
    }

    /// Whether it stores a vector register to the stack; `framed` says that RBP points there too.
    pub(super) fn is_spill(&self, framed: bool) -> bool {
        self.has_vector() && self.operands.last().is_some_and(|last| is_stack(last, framed))
    }

    /// Whether it reads the stack into a vector register, or straight into a vector operation.
    pub(super) fn is_reload(&self, framed: bool) -> bool {
        let Some((_, sources)) = self.operands.split_last() else { return false };
        self.has_vector() && sources.iter().any(|source| is_stack(source, framed))
    }

    fn has_vector(&self) -> bool {
        let vector = |operand: &String| {
            ["%xmm", "%ymm", "%zmm"].iter().any(|name| operand.starts_with(name))
        };
        self.operands.iter().any(vector)
    }
}

fn is_stack(operand: &str, framed: bool) -> bool {
    operand.contains("(%rsp") || (framed && operand.contains("(%rbp"))
}

/// Whether the function keeps its frame in RBP.
pub(super) fn is_framed(lines: &[Line]) -> bool {
    let frame = |line: &Line| match line {
        Line::Instruction(it) => it.mnemonic == "movq" && it.operands == ["%rsp", "%rbp"],
        Line::Label(_) => false,
    };
    lines.iter().any(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Instruction {
        instruction(text).expect("an instruction")
    }

    #[test]
    fn functions_are_told_apart_and_demangled() {
        let text = "\t.text\n_RNvC1a1f:\n\t.cfi_startproc\n\tpushq\t%rbp # saved\n.LBB0_1:\n\
                    \tretq\n.Lfunc_end0:\n\t.size x\nplain:\n\tud2\n.Lfunc_end1:\n";
        let found = functions(text);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a::f", "plain"]);
        let lines = &found["a::f"];
        assert_eq!(lines[0], Line::Instruction(only("\tpushq\t%rbp")));
        assert_eq!(lines[1], Line::Label(".LBB0_1".to_owned()));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn spills_and_reloads_are_vectors_on_the_stack() {
        let spill = only("\tvmovdqa\t%ymm3, 32(%rsp)");
        assert!(spill.is_spill(false) && !spill.is_reload(false));
        let folded = only("\tvpaddq\t96(%rsp,%rax), %zmm1, %zmm2 {%k1}");
        assert!(folded.is_reload(false) && !folded.is_spill(false));
        let heap = only("\tvmovdqu\t%ymm3, (%rdi)");
        assert!(!heap.is_spill(true) && !heap.is_reload(true));
        let scalar = only("\tmovq\t%rax, 8(%rsp)");
        assert!(!scalar.is_spill(false) && !scalar.is_reload(false));
        let frame = only("\tvmovaps\t-64(%rbp), %xmm0");
        assert!(frame.is_reload(true) && !frame.is_reload(false));
    }

    #[test]
    fn divisions_and_jumps_are_known() {
        assert!(only("\tdivl\t%ecx").is_division() && only("\tidivq\t8(%rsp)").is_division());
        assert!(only("\tvdivpd\t%ymm1, %ymm2, %ymm3").is_division());
        assert!(!only("\tvpaddq\t%ymm1, %ymm2, %ymm3").is_division());
        assert!(only("\tjmpq\t*%rax").is_indirect_jump() && !only("\tjne\t.L1").is_indirect_jump());
        assert!(only("\tcallq\t*memcpy@GOTPCREL(%rip)").is_call());
    }
}
