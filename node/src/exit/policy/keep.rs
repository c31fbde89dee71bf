//! Where a node's policy comes from, and keeping it up to date while the node runs.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use phix_client::files::words;
use phix_client::mixnet::dial::Url;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{OPEN, Policy, REDUCED, fetch};
use crate::fault::Fault;
use crate::place::Place;
use crate::settings::Value;

/// The copy of a fetched policy, in the state directory.
const COPY: &str = "exit-policy.txt";
/// How often the node looks which addresses its machine has.
const ADDRESSES_EVERY: Duration = Duration::from_secs(60);
/// Networks that a setting may name.
const NETWORKS_MAX: usize = 64;

/// Where the rules are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// In the program: [`REDUCED`].
    Reduced,
    /// Nowhere: [`OPEN`].
    Open,
    /// At a URL.
    Url(Url),
    /// In a file.
    File(PathBuf),
}

impl Value for PolicySource {
    fn read(text: &str) -> Option<Self> {
        match text {
            "" => None,
            "reduced" => Some(Self::Reduced),
            "open" => Some(Self::Open),
            _ if text.contains("://") => Url::parse(text, ["http", "https"]).ok().map(Self::Url),
            _ => Some(Self::File(text.into())),
        }
    }

    fn allowed() -> String {
        "\"reduced\", \"open\", a URL such as https://example.org/policy.txt or a path".into()
    }
}

/// Networks, such as `10.0.0.0/8, 192.0.2.1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl Value for Networks {
    fn read(text: &str) -> Option<Self> {
        let one = |text: &str| {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        };
        let all: Vec<IpNet> = text.split(',').map(one).collect::<Option<_>>()?;
        (all.len() <= NETWORKS_MAX).then_some(Self(all))
    }

    fn allowed() -> String {
        "networks or addresses with commas between them, such as 10.0.0.0/8,fd00::/8".into()
    }
}

/// Makes a node's policy, again and again.
#[derive(Clone, Debug)]
pub struct Keeper {
    source: PolicySource,
    copy: Option<PathBuf>,
    allowed: Vec<IpNet>,
    /// Addresses of this node that its machine need not have, behind NAT for instance.
    announced: Vec<IpAddr>,
    refresh: Duration,
}

impl Keeper {
    /// What the settings of `place` say.
    pub fn of(place: &Place) -> Self {
        let settings = &place.settings;
        let source = match settings.exit_policy.clone() {
            PolicySource::File(path) => PolicySource::File(place.resolve(&path)),
            other => other,
        };
        let announced = [settings.announce.get(), Some(settings.listen)];
        let announced = announced.into_iter().flatten().map(|address| address.ip());
        Self {
            source,
            copy: place.state_dir().map(|dir| dir.join(COPY)),
            allowed: settings.exit_private_targets.clone().get().unwrap_or_default().0,
            announced: announced.filter(|address| !address.is_unspecified()).collect(),
            refresh: settings.exit_policy_refresh.get(),
        }
    }

    /// The same with the rules of another source.
    #[must_use]
    pub fn with_source(mut self, source: PolicySource) -> Self {
        (self.source, self.copy) = (source, None);
        self
    }

    /// What `check-config` says of it, without asking any server.
    ///
    /// # Errors
    /// If the file of the policy cannot be read or is wrong.
    pub fn describe(&self) -> Result<String, Fault> {
        let (rules, from) = match &self.source {
            PolicySource::Url(url) => {
                let kept = self.kept(url).is_some();
                let copy =
                    if kept { "of which a copy is kept" } else { "of which no copy is kept" };
                return Ok(format!("from {}, {copy}", url.authority()));
            }
            PolicySource::File(path) => (self.file(path)?, path.display().to_string()),
            PolicySource::Reduced => (built_in(REDUCED), "the reduced one".into()),
            PolicySource::Open => (built_in(OPEN), "the open one".into()),
        };
        Ok(format!("{from}, {} rules", rules.rules().len()))
    }

    /// The policy. One from a URL is the copy of it if the server does not give it; `say` hears so.
    ///
    /// # Errors
    /// A sentence if there are no rules to be had, or they are wrong.
    pub async fn load(&self, say: impl FnOnce(String)) -> Result<Policy, Fault> {
        let rules = match &self.source {
            PolicySource::Reduced => built_in(REDUCED),
            PolicySource::Open => built_in(OPEN),
            PolicySource::File(path) => self.file(path)?,
            PolicySource::Url(url) => match self.fetched(url).await {
                Ok(rules) => rules,
                Err(why) => {
                    let rules = self.kept(url).ok_or_else(|| {
                        Fault::refused(format!("{why}: put it right or set another exit-policy."))
                    })?;
                    say(format!("{why}; the copy that was kept holds."));
                    rules
                }
            },
        };
        let own = self.own().map_err(|error| {
            Fault::broken(format!("the addresses of this machine are unknown ({error})."))
        })?;
        Ok(rules.allowing(self.allowed.clone()).on(own))
    }

    /// Keeps `current` up to date, for ever: this machine's addresses every minute, the rules as
    /// often as is set. Rules that cannot be had leave those that are there in place, and `say`
    /// hears why.
    pub async fn keep(self, current: watch::Sender<Arc<Policy>>, mut say: impl FnMut(String)) {
        let mut reloaded = Instant::now();
        loop {
            sleep(ADDRESSES_EVERY.min(self.refresh)).await;
            if reloaded.elapsed() >= self.refresh {
                reloaded = Instant::now();
                match self.load(&mut say).await {
                    Ok(policy) => drop(current.send_replace(Arc::new(policy))),
                    Err(fault) => say(format!("exit policy: {fault} The one before goes on.")),
                }
            } else if let Ok(own) = self.own() {
                let policy = Policy::clone(&current.borrow()).on(own);
                current.send_replace(Arc::new(policy));
            }
        }
    }

    fn file(&self, path: &Path) -> Result<Policy, Fault> {
        let shown = path.display();
        let text = fetch::read(path).map_err(|error| {
            let why = words(&error);
            Fault::refused(format!(
                "the exit policy {shown} cannot be read ({why}): set exit-policy to a file with \
                 one rule in each line, or to \"reduced\"."
            ))
        })?;
        Policy::parse(&text).map_err(|error| {
            Fault::refused(format!("{shown}, {error}: write rules such as `accept *:443`."))
        })
    }

    async fn fetched(&self, url: &Url) -> Result<Policy, String> {
        let shown = format!("the exit policy at {}{}", url.authority(), url.path);
        let text = fetch::fetch(url).await;
        let text = text.map_err(|why| format!("{shown} cannot be had ({why})"))?;
        let policy = Policy::parse(&text).map_err(|error| format!("{shown} is wrong ({error})"))?;
        if policy.rules().is_empty() {
            return Err(format!("{shown} is empty"));
        }
        if let Some(copy) = &self.copy {
            let kept = fetch::keep(copy, url, &text);
            kept.map_err(|error| format!("{} cannot be written ({error})", copy.display()))?;
        }
        Ok(policy)
    }

    /// The copy is refused like any other text if somebody changed it into no policy.
    fn kept(&self, url: &Url) -> Option<Policy> {
        let text = fetch::kept(self.copy.as_deref()?, url)?;
        Policy::parse(&text).ok()
    }

    fn own(&self) -> io::Result<Vec<IpAddr>> {
        let machine = if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip());
        Ok(machine.chain(self.announced.iter().copied()).collect())
    }
}

fn built_in(text: &str) -> Policy {
    Policy::parse(text).expect("the program's own policies are right")
}
