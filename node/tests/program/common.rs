//! The program as a person would run it, and what a refusal must look like.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// More than any refusal takes, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program with these arguments and an empty environment.
pub(crate) fn phix(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phix-node"));
    command.args(args).env_clear();
    command
}

/// A directory with a node in it that listens on a port of the kernel's choice and is small.
pub(crate) struct Node {
    _above: TempDir,
    pub(crate) dir: PathBuf,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// One with these settings as well.
    pub(crate) fn with(settings: &[&str]) -> Self {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("node");
        let small = ["--shards", "1", "--capacity", "256", "--replay-capacity", "1000"];
        let mut args = vec!["init", "--dir", dir.to_str().unwrap(), "--capacity-extended", "1"];
        args.extend(small);
        if !settings.contains(&"--listen") {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        args.extend(settings);
        done(&phix(&args).output().unwrap());
        Self { _above: above, dir }
    }

    pub(crate) fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// The program with a command and its arguments for this node.
    pub(crate) fn phix(&self, command: &str, args: &[&str]) -> Command {
        let mut all = vec![command, "--dir", self.path()];
        all.extend(args);
        phix(&all)
    }

    /// Adds lines to the configuration file.
    pub(crate) fn append(&self, lines: &str) {
        let path = self.dir.join("phix-node.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text + lines).unwrap();
    }

    /// Gives one setting another value in the configuration file, as a TOML literal.
    pub(crate) fn set(&self, name: &str, literal: &str) {
        let path = self.dir.join("phix-node.toml");
        let begin = format!("{name} = ");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().any(|line| line.starts_with(&begin)), "{name} is in the file");
        let line = |line: &str| match line.starts_with(&begin) {
            true => format!("{begin}{literal}\n"),
            false => format!("{line}\n"),
        };
        fs::write(path, text.lines().map(line).collect::<String>()).unwrap();
    }
}

/// The output of a command that must have worked.
pub(crate) fn done(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert_eq!(errors, "", "nothing to say on standard error");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Asserts that the command was refused with exit code 2 and one sentence that holds `parts`.
pub(crate) fn refused(command: &mut Command, parts: &[&str]) {
    let output = ended(command);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{command:?}: {errors}");
    assert_eq!(errors.lines().count(), 1, "{command:?}: one sentence: {errors}");
    let sentence = errors.trim_end();
    assert!(sentence.starts_with("phix-node: "), "{sentence}");
    assert!(sentence.ends_with(['.', '?']), "{sentence}");
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in: {sentence}");
    }
}

/// The output of a command that must end by itself; a node that starts instead is killed.
fn ended(command: &mut Command) -> Output {
    let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{command:?} did not end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Everything below `dir`, with its bytes.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, Vec::new());
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// A running node; killed if a test gives up on it.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) out: BufReader<ChildStdout>,
    /// What it said before it was ready.
    pub(crate) before: String,
    pub(crate) first: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (mut before, mut first) = (String::new(), String::new());
        while out.read_line(&mut first).unwrap() > 0 && !first.starts_with("phix-node ") {
            before += &std::mem::take(&mut first);
        }
        Self { child, out, before, first }
    }

    /// Ends it as the kernel would for lack of memory: at once, and without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let (_, rest) = self.first.split_once("mixing on ").expect("the first line says where");
        rest.split(';').next().unwrap().parse().unwrap()
    }

    /// The rest of what this node and all that took its place have said, once the last of them, a
    /// process with this number, has ended.
    pub(crate) fn stop_last(self, process: u32) -> String {
        self.end(Pid::from_raw(process.try_into().unwrap()).unwrap(), Signal::TERM)
    }

    /// Sends `signal`; the rest of the output, once the node has ended with exit code 0.
    pub(crate) fn stop(self, signal: Signal) -> String {
        let process = Pid::from_child(&self.child);
        self.end(process, signal)
    }

    fn end(mut self, process: Pid, signal: Signal) -> String {
        kill_process(process, signal).unwrap();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{errors}");
        assert_eq!(errors, "");
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this machine has the link; says aloud if not. The test harness keeps what a test prints
/// to itself, and what is written past it does not get lost.
pub(crate) fn has(link: &str) -> bool {
    let output = Node::new().phix("check-config", &["--link", link]).output().unwrap();
    let works = output.status.success();
    if !works {
        assert_eq!(link, "io_uring", "epoll works everywhere");
        aloud(&format!("NOT TESTED over {link}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    works
}

/// Prints a line where people see it also if the test passes.
pub(crate) fn aloud(line: &str) {
    io::stderr().write_all(format!("{}\n", line.trim_end()).as_bytes()).unwrap();
}
