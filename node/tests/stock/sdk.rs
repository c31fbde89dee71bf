//! A client of the stock SDK in a process of its own; see `engine/interop/sdk`.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::within;

pub(crate) struct Sdk {
    child: Child,
    input: ChildStdin,
    /// The lines that it says, all that there are: if they waited in the pipe, the program would
    /// wait for its reader while that waits for it to take a message.
    output: UnboundedReceiver<String>,
    pub(crate) address: String,
}

/// A message that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// By what name to answer its sender.
    pub(crate) tag: Option<String>,
    pub(crate) data: Vec<u8>,
}

impl Sdk {
    /// A client of the network that the directory at `url` describes. One with `--storage` and a
    /// place is the same when it comes back; one with `--through` and a gateway's identity has a
    /// topology provider of its own, of a network with that one gateway.
    pub(crate) async fn start(url: &str, how: &[&str]) -> Self {
        let program =
            std::env::var_os("PHIX_STOCK").expect("`cargo xtask interop` sets PHIX_STOCK");
        let mut command = Command::new(program);
        command.arg(url).args(how).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the program can be run");
        let input = child.stdin.take().expect("it is piped");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (said, output) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        let mut sdk = Self { child, input, output, address: String::new() };
        let line = within(sdk.output.recv()).await.expect("it starts");
        sdk.address = line.strip_prefix("address ").expect("it says where it is").to_owned();
        sdk
    }

    /// Sends with so many reply blocks.
    pub(crate) async fn send(&mut self, to: &str, surbs: u32, data: &[u8]) {
        self.say(&format!("send {to} {surbs} {}\n", hex(data))).await;
    }

    pub(crate) async fn reply(&mut self, tag: &str, data: &[u8]) {
        self.say(&format!("reply {tag} {}\n", hex(data))).await;
    }

    async fn say(&mut self, line: &str) {
        within(self.input.write_all(line.as_bytes())).await.expect("it is there");
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Message {
        let line = self.output.recv().await.expect("it is there");
        let words: Vec<&str> = line.split(' ').collect();
        let ["message", tag, data] = words[..] else { panic!("{line}") };
        let digits = |at| u8::from_str_radix(&data[at..at + 2], 16).unwrap();
        let data = (0..data.len()).step_by(2).map(digits).collect();
        Message { tag: (tag != "-").then(|| tag.to_owned()), data }
    }

    /// Ends it as its user would.
    pub(crate) async fn stop(self) {
        let Self { mut child, input, .. } = self;
        drop(input);
        assert!(within(child.wait()).await.unwrap().success());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
