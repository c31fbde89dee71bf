//! A node's dealings with a directory: it says what it is, and learns who the others are and what
//! it does in the epoch.
//!
//! They go on in a thread of their own. What was learned last waits until the node takes it.
//! A directory that is away changes nothing: the node goes on with what it knows.
//!
//! A directory may be any that speaks nym-api. One that takes no registrations learns of its nodes
//! in another way; the rest is the same.

mod describe;
mod exchange;
mod news;
pub mod run;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use phix_client::files::words as cause;
use phix_client::mixnet::dial::Url;
use phix_proto::directory::epoch::KeyRotationInfo;
use phix_proto::directory::network::between;
use phix_proto::directory::nodes::{Nodes, Role, SemiSkimmed};
use phix_proto::directory::paths;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::directory::FOUNDING;
use crate::directory::desk::Registered;
use crate::fault::Fault;
use crate::rotation::{Schedule, now};

pub use self::describe::{Describer, Offer};
use self::exchange::Directory;
pub use self::news::{News, words};

/// The least and the greatest time between two visits.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(300));
/// How long after a failure to try again, at first; twice as long each time after.
const RETRY: Duration = Duration::from_secs(1);
/// How a node says how many nodes it has learned of, before the number.
pub(crate) const LISTS: &str = "the directory lists ";
/// How often the same trouble is said, at most.
const SAID: Duration = Duration::from_secs(60);

/// The running thread. It ends when it is dropped.
#[derive(Debug)]
pub struct Announcer {
    news: Arc<Mutex<Option<News>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Announcer {
    /// Announces the node of `describer` to the directory at `url`, asking from `source` if that is
    /// given. What goes wrong is said by `say`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        url: Url,
        source: Option<std::net::IpAddr>,
        describer: Describer,
        say: fn(String),
    ) -> Result<Self, Fault> {
        let news = Arc::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let directory = Directory { url, source };
        let visits = Visits {
            directory,
            describer,
            news: Arc::clone(&news),
            registers: true,
            say,
            said: None,
        };
        let no_thread = |error: std::io::Error| {
            let why = cause(&error);
            Fault::refused(format!("there is no thread to be had for the directory ({why})."))
        };
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(no_thread)?;
        let thread = Builder::new().name("phix-announce".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = visits.go_on() => {}
                    // Stopped, or dropped without a word: either is the end.
                    _ = stopped => {}
                }
            });
            // A name that is being looked up does not hold up the end.
            runtime.shutdown_background();
        });
        Ok(Self { news, stop: Some(stop), thread: Some(thread.map_err(no_thread)?) })
    }

    /// What was learned since the last call, if anything was.
    pub fn news(&self) -> Option<News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

struct Visits {
    directory: Directory,
    describer: Describer,
    news: Arc<Mutex<Option<News>>>,
    /// Whether the directory takes registrations, as far as is known.
    registers: bool,
    say: fn(String),
    said: Option<Instant>,
}

impl Visits {
    async fn go_on(mut self) {
        let (least, greatest) = BETWEEN;
        let mut failures = 0;
        loop {
            let next = match self.visit().await {
                Ok(next) => {
                    failures = 0;
                    next
                }
                Err(what) => {
                    self.say(&what);
                    failures += 1;
                    RETRY.saturating_mul(1 << failures.min(6)) / 2
                }
            };
            sleep(next.clamp(least, greatest)).await;
        }
    }

    /// Registers, and learns; says when to come again.
    async fn visit(&mut self) -> Result<Duration, String> {
        let probes = if self.registers { self.register().await? } else { None };
        let info: KeyRotationInfo = self.directory.get(paths::KEY_ROTATION_INFO).await?;
        let list = self.directory.list(paths::SEMI_SKIMMED).await?;
        if list.metadata.absolute_epoch_id != info.current_absolute_epoch_id {
            let mut other = list.metadata;
            other.absolute_epoch_id = info.current_absolute_epoch_id;
            return Err(between(&list.metadata, &other).to_string());
        }
        let at = now();
        if let Some(what) = self.describer.schedule().and_then(|own| differs(own, &info, at)) {
            self.say(&what);
        }
        let news = News::of(&list, self.describer.identity(), probes.map(|one| one.probes));
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
        let next = until_next(&info, at);
        Ok(if is_routable(&list) { next } else { next.min(FOUNDING) })
    }

    /// Says what this node is; nothing if the directory does not want to know.
    async fn register(&mut self) -> Result<Option<Registered>, String> {
        let signed = self.describer.describe(now()).map_err(|fault| fault.to_string())?;
        let body = serde_json::to_vec(&signed).expect("a description has a JSON form");
        match self.directory.post(paths::REGISTER, body).await? {
            Ok(registered) => Ok(Some(registered)),
            Err((StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _)) => {
                self.registers = false;
                let who = self.directory.url.authority();
                (self.say)(format!(
                    "the directory {who} takes no registrations: it is only asked."
                ));
                Ok(None)
            }
            Err((status, why)) => {
                let who = self.directory.url.authority();
                Err(format!("the directory {who} refuses this node ({status}): {why}"))
            }
        }
    }

    fn say(&mut self, what: &str) {
        if self.said.is_none_or(|said| said.elapsed() >= SAID) {
            self.said = Some(Instant::now());
            (self.say)(what.to_owned());
        }
    }
}

/// When to come again: a few times in an epoch, and soon after the next one has begun.
fn until_next(info: &KeyRotationInfo, now: Duration) -> Duration {
    let length = info.epoch_duration;
    let start = Duration::try_from(info.current_epoch_start - time::OffsetDateTime::UNIX_EPOCH);
    let end = start.unwrap_or_default().saturating_add(length);
    // Not all nodes come at the same moment: that of each follows from when it started.
    let late = length / 50;
    (length / 4).min(end.saturating_sub(now).saturating_add(late))
}

/// Whether packets find a way through the nodes of `list`.
fn is_routable(list: &Nodes<SemiSkimmed>) -> bool {
    let has = |role| list.nodes.data.iter().any(|node| node.basic.role == role);
    has(Role::EntryGateway) && (1..=3).all(|layer| has(Role::Mixnode { layer }))
}

/// What is wrong if this node changes its keys at other times than the directory says.
fn differs(own: Schedule, info: &KeyRotationInfo, now: Duration) -> Option<String> {
    let (number, theirs) = (own.number(now), info.progress.current_key_rotation_id);
    let length = info.rotation_length();
    // Where a rotation has just begun, one of two clocks may be late.
    let apart = number.abs_diff(theirs) > 1 || length != own.length;
    apart.then(|| {
        format!(
            "this node changes its keys every {} s and is in rotation {number}, the directory \
             every {} s and is in rotation {theirs}: set rotation to what the directory has.",
            own.length.as_secs_f32(),
            length.as_secs_f32(),
        )
    })
}
