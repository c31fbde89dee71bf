//! How a running node is asked to hand over: by SIGUSR2, or through a socket in its state
//! directory, which answers what came of it.
//!
//! A request is a line with the time that the new program gets, in milliseconds, and then the path
//! of the program, or nothing for the node's own. The answer is `ready` and the new process, or
//! `failed` and a sentence.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use phix_client::files::words;
use phix_io::UpgradeSignal;
use rustix::net::sockopt::socket_peercred;

use crate::cli::say;
use crate::fault::Fault;

/// The name of the socket in the state directory.
const NAME: &str = "control";
/// Bytes of the longest request.
const REQUEST_MAX: u64 = 8 * 1024;
/// How long whoever connects may take to say what he wants.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How long the node may take beyond what the new program gets.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long a node that ends without an answer is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(5);
/// How long to wait before that.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a new program may take to be ready, unless it is said otherwise.
pub(super) const READY_LIMIT: Duration = Duration::from_secs(30);

/// A wish for a new program.
#[derive(Debug)]
pub(super) struct Request {
    /// The program, if it is another one than the node's own.
    pub(super) binary: Option<PathBuf>,
    /// How long it may take to be ready.
    pub(super) limit: Duration,
    answer: Option<SyncSender<Result<u32, String>>>,
}

impl Request {
    /// Tells whoever asked what came of it.
    pub(super) fn answer(&self, outcome: Result<u32, String>) {
        if let Some(answer) = &self.answer {
            // Who does not wait any more does not want to know.
            let _ = answer.try_send(outcome);
        }
    }

    /// Tells whoever asked that nothing will come of it: who sent a signal reads the log.
    pub(super) fn refuse(&self, why: &str) {
        if self.answer.is_none() {
            say(format_args!("SIGUSR2 has no effect: {why}."));
        }
        self.answer(Err(why.to_owned()));
    }
}

/// The requests of a node.
pub(super) struct Requests {
    signal: UpgradeSignal,
    asked: Option<Receiver<Request>>,
}

impl Requests {
    /// Takes the signal from now on, and nothing else yet.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self { signal: UpgradeSignal::install()?, asked: None })
    }

    /// Takes requests through the socket in `dir` as well.
    pub(super) fn open(&mut self, dir: &Path) -> io::Result<()> {
        let listener = listen(dir)?;
        let (to, asked) = sync_channel(1);
        let serve = move || {
            for stream in listener.incoming() {
                // Whoever breaks off gets no answer; no place to be had is tried again.
                match stream.and_then(|stream| serve(stream, &to)) {
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                    Err(_) => thread::sleep(Duration::from_millis(50)),
                    Ok(()) => {}
                }
            }
        };
        thread::Builder::new().name("phix-control".into()).spawn(serve)?;
        self.asked = Some(asked);
        Ok(())
    }

    /// The next request, if there is one.
    pub(super) fn next(&self) -> Option<Request> {
        if self.signal.take() {
            return Some(Request { binary: None, limit: READY_LIMIT, answer: None });
        }
        self.asked.as_ref()?.try_recv().ok()
    }
}

fn listen(dir: &Path) -> io::Result<UnixListener> {
    let (_open, path) = reach(dir)?;
    // The lock of the directory says that no other node has it.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A short way to the socket in `dir`: the path of a socket can have 107 bytes.
fn reach(dir: &Path) -> io::Result<(File, PathBuf)> {
    let open = File::open(dir)?;
    let path = format!("/proc/self/fd/{}/{NAME}", open.as_raw_fd()).into();
    Ok((open, path))
}

fn serve(mut stream: UnixStream, to: &SyncSender<Request>) -> io::Result<()> {
    let asker = socket_peercred(&stream)?.uid;
    let own = rustix::process::geteuid();
    if asker != own && !asker.is_root() {
        return answer(&mut stream, &Err("only its own user can ask a node for that".to_owned()));
    }
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    stream.set_write_timeout(Some(REQUEST_LIMIT))?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut stream).take(REQUEST_MAX).read_to_end(&mut bytes)?;
    let Some((limit, binary)) = parse(&bytes) else {
        return answer(&mut stream, &Err("that is no request that this node knows".to_owned()));
    };
    let (tell, told) = sync_channel(1);
    let request = Request { binary, limit, answer: Some(tell) };
    // The main thread has ended, or the whole process does just now.
    to.send(request).map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
    let outcome = told.recv_timeout(limit + ANSWER_LIMIT);
    answer(&mut stream, &outcome.unwrap_or_else(|_| Err("the node stops".to_owned())))
}

fn parse(bytes: &[u8]) -> Option<(Duration, Option<PathBuf>)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (limit, path) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let binary =
        (!path.is_empty()).then(|| PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())));
    Some((Duration::from_millis(limit.parse().ok()?), binary))
}

fn answer(stream: &mut UnixStream, outcome: &Result<u32, String>) -> io::Result<()> {
    match outcome {
        Ok(process) => writeln!(stream, "ready {process}"),
        Err(why) => writeln!(stream, "failed {}", why.replace('\n', " ")),
    }
}

/// Asks the node whose state directory is `dir` to hand over; the process of the new one.
///
/// A node that has just handed over ends without an answer; the one that took its place listens
/// already, and is asked then.
///
/// # Errors
/// If there is no such node, or it goes on by itself.
pub(super) fn ask(dir: &Path, binary: Option<&Path>, limit: Duration) -> Result<u32, Fault> {
    let unreachable = |error: io::Error| {
        Fault::refused(format!(
            "no node can be reached in {} ({}): start it with `phix-node run`, as the user who \
             runs this.",
            dir.display(),
            words(&error),
        ))
    };
    let end = Instant::now() + ASKED_AGAIN;
    loop {
        let text = ask_once(dir, binary, limit).map_err(unreachable)?;
        return match text.trim_end().split_once(' ') {
            Some(("ready", process)) => process.parse().map_err(|_| no_answer()),
            Some(("failed", why)) => Err(Fault::refused(format!(
                "the node has not handed over and goes on as before: {}.",
                why.trim_end_matches('.'),
            ))),
            None if text.is_empty() && Instant::now() < end => {
                thread::sleep(PAUSE);
                continue;
            }
            _ => Err(no_answer()),
        };
    }
}

/// Asks once; what was answered, which is nothing if the node ended meanwhile.
fn ask_once(dir: &Path, binary: Option<&Path>, limit: Duration) -> io::Result<String> {
    let (_open, path) = reach(dir)?;
    let mut stream = UnixStream::connect(path)?;
    let path = binary.map_or(&[][..], |path| path.as_os_str().as_bytes());
    let request = [format!("{}\n", limit.as_millis()).as_bytes(), path].concat();
    stream.set_read_timeout(Some(limit + 2 * ANSWER_LIMIT))?;
    let mut text = String::new();
    let asked = stream
        .write_all(&request)
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .and_then(|()| stream.read_to_string(&mut text));
    match asked {
        Err(error) if !is_end(&error) => Err(error),
        _ => Ok(text),
    }
}

/// Whether this is what the end of the other side looks like.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

fn no_answer() -> Fault {
    Fault::refused("the node ended while it was asked: see what it said last.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_or_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(parse(b"1000\n"), Some((second, None)));
        assert_eq!(parse(b"1000\n/new one"), Some((second, Some("/new one".into()))));
        for wrong in [&b""[..], b"1000", b"-1\n", b"x\n/y", b"\xff\n"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_directory_may_lie_deep() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&dir).unwrap();
        let mut requests = Requests::install().unwrap();
        requests.open(&dir).unwrap();
        let limit = Duration::from_millis(100);
        thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&dir, Some(Path::new("/other")), limit));
            let request = loop {
                match requests.next() {
                    Some(request) => break request,
                    None => thread::sleep(Duration::from_millis(1)),
                }
            };
            assert_eq!(request.binary.as_deref(), Some(Path::new("/other")));
            assert_eq!(request.limit, limit);
            request.answer(Ok(77));
            assert_eq!(asking.join().unwrap().unwrap(), 77);
        });
        let error = ask(above.path(), None, limit).unwrap_err().to_string();
        assert!(error.contains("no node can be reached"), "{error}");
    }
}
