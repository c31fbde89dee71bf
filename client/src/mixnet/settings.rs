//! What a person may change about a client, with the defaults of stock clients
//! (nym-client-core-config-types 2.0.0), and the file that holds it.
//!
//! Times are written with their unit, such as `20ms`; a setting that is left out has its default.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phix_engine::units::Span;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::files::words;

/// Name of the file in a client's directory.
pub const FILE: &str = "phix-client.toml";

/// Fragments that a client may be told to hold at most: about 110 MB of messages.
const QUEUE_LIMIT: usize = 1 << 16;

/// Reply SURBs that a message may carry at most.
pub const REPLY_SURBS_MAX: u32 = 100;

/// A length of time that a person wrote with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(Duration);

impl Length {
    /// A length of so many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A length of so many microseconds.
    pub const fn micros(micros: u64) -> Self {
        Self(Duration::from_micros(micros))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// As the engine has it.
    pub fn span(self) -> Span {
        Span::from_nanos(u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Reads a number and its unit.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let units = [("ms", 1e-3), ("us", 1e-6), ("min", 60.0), ("s", 1.0)];
        let split = |(unit, seconds)| Some((text.strip_suffix(unit)?.trim_end(), seconds));
        let parsed = units.into_iter().find_map(split).and_then(|(number, seconds)| {
            Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
        });
        parsed
            .map(Self)
            .ok_or_else(|| "give a number and a unit, such as 20ms, 1.5s or 5min".into())
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros.is_multiple_of(60_000_000) && micros > 0 {
            write!(f, "{}min", micros / 60_000_000)
        } else if micros.is_multiple_of(1_000_000) {
            write!(f, "{}s", micros / 1_000_000)
        } else if micros.is_multiple_of(1000) {
            write!(f, "{}ms", micros / 1000)
        } else {
            write!(f, "{micros}us")
        }
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Base URL of a directory that speaks nym-api. This or `topology`.
    pub directory: Option<String>,
    /// A topology file, instead of a directory; read again at each refresh.
    pub topology: Option<PathBuf>,
    /// Mean time between packets of the main stream: a fragment that waits, or else loop cover.
    pub main_stream: Length,
    /// Whether the main stream sends cover where nothing waits. Without, an observer of the link
    /// sees when there is something to send: for services that many use at once, not for people.
    pub main_cover: bool,
    /// Mean time between packets of the loop cover stream; 0s switches it off.
    pub loop_cover: Length,
    /// Mean delay that a packet asks of each mix.
    pub hop_delay: Length,
    /// Mean delay that an acknowledgement asks of each mix.
    pub ack_delay: Length,
    /// How many times the expected round trip is waited for an acknowledgement.
    pub ack_wait_factor: f64,
    /// How much longer than that is waited.
    pub ack_wait_extra: Length,
    /// How often a fragment is sent again at most; none: until it is acknowledged.
    pub retransmissions: Option<u32>,
    /// Fragments that wait or are under way, at most; a sender waits for room beyond that.
    pub queue: usize,
    /// Reply SURBs that go with each message to which an answer is wanted.
    pub reply_surbs: u32,
    /// Performance in per cent below which mix nodes are passed by, where a layer has better ones.
    pub mix_performance: u8,
    /// The same for the gateway that is drawn for a new client.
    pub gateway_performance: u8,
    /// How often the topology is fetched.
    pub topology_refresh: Length,
    /// How long an answer of the directory may take.
    pub topology_timeout: Length,
    /// How long the gateway may take to connect, or to answer in the handshake.
    pub gateway_timeout: Length,
    /// Longest pause between two attempts to reach the gateway.
    pub reconnect_max: Length,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: None,
            topology: None,
            main_stream: Length::millis(20),
            main_cover: true,
            loop_cover: Length::millis(200),
            hop_delay: Length::millis(15),
            ack_delay: Length::millis(15),
            ack_wait_factor: 1.5,
            ack_wait_extra: Length::millis(1500),
            retransmissions: None,
            queue: 8192,
            reply_surbs: 10,
            mix_performance: 50,
            gateway_performance: 50,
            topology_refresh: Length::millis(300_000),
            topology_timeout: Length::millis(5000),
            gateway_timeout: Length::millis(10_000),
            reconnect_max: Length::millis(60_000),
        }
    }
}

/// Why settings cannot be used. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Reads a settings file and checks it. A relative `topology` starts at the file's directory.
    ///
    /// # Errors
    /// If the file cannot be read, is not of this form, or says what cannot be.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let path = path.display();
            SettingsError(match error.kind() {
                std::io::ErrorKind::NotFound => format!(
                    "there is no client here: {path} is missing; make one by \
                     `phix-client init --dir DIR`"
                ),
                _ => {
                    format!("{path} cannot be read: {}; see that it belongs to you", words(&error))
                }
            })
        })?;
        let mut settings: Self = toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or("", |span| &text[..span.start]);
            let line = before.matches('\n').count() + 1;
            let what = error.message().replace('\n', " ");
            SettingsError(format!("{}, line {line}: {what}", path.display()))
        })?;
        if let (Some(topology), Some(folder)) = (&mut settings.topology, path.parent()) {
            *topology = folder.join(&*topology);
        }
        settings
            .check()
            .map_err(|SettingsError(what)| SettingsError(format!("{}: {what}", path.display())))?;
        Ok(settings)
    }

    /// Whether a client can run with these.
    ///
    /// # Errors
    /// The first setting that says what cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        let second = Length::millis(1000);
        let bounded = [
            (
                "main-stream",
                self.main_stream,
                Length(Duration::from_micros(100)),
                Length::millis(60_000),
            ),
            ("hop-delay", self.hop_delay, Length::millis(0), Length::millis(10_000)),
            ("ack-delay", self.ack_delay, Length::millis(0), Length::millis(10_000)),
            ("loop-cover", self.loop_cover, Length::millis(0), Length::millis(600_000)),
            ("ack-wait-extra", self.ack_wait_extra, Length::millis(10), Length::millis(600_000)),
            ("topology-refresh", self.topology_refresh, second, Length::millis(86_400_000)),
            (
                "topology-timeout",
                self.topology_timeout,
                Length::millis(100),
                Length::millis(300_000),
            ),
            ("gateway-timeout", self.gateway_timeout, Length::millis(100), Length::millis(300_000)),
            ("reconnect-max", self.reconnect_max, Length::millis(100), Length::millis(3_600_000)),
        ];
        for (name, length, least, most) in bounded {
            if length < least || length > most {
                let what = format!("{name} is {length}; give a time from {least} to {most}");
                return Err(SettingsError(what));
            }
        }
        let refuse = |what: &str| Err(SettingsError(what.to_owned()));
        if !self.loop_cover.0.is_zero() && self.loop_cover.0 < Duration::from_millis(1) {
            return refuse("loop-cover is below 1ms; give a longer time, or 0s to switch it off");
        }
        if !(1.0..=100.0).contains(&self.ack_wait_factor) {
            return refuse("ack-wait-factor is not a number from 1 to 100");
        }
        if !(1..=QUEUE_LIMIT).contains(&self.queue) {
            return refuse("queue is not a number of fragments from 1 to 65536");
        }
        if self.reply_surbs > REPLY_SURBS_MAX {
            return refuse("reply-surbs is more than 100");
        }
        if self.mix_performance > 100 || self.gateway_performance > 100 {
            return refuse("mix-performance and gateway-performance are per cent, 100 at most");
        }
        match (&self.directory, &self.topology) {
            (Some(_), Some(_)) => refuse("both directory and topology are set; leave one out"),
            (None, None) => refuse("neither directory nor topology is set; set one of them"),
            _ => Ok(()),
        }
    }

    /// The text of a settings file in which every setting is explained.
    pub(super) fn template(&self) -> String {
        let mut text = String::from(
            "# Settings of a phix-client. Times have a unit: us, ms, s or min. A line that is \
             taken out\n# gives the setting its default.\n",
        );
        let source = [
            ("directory", self.directory.clone()),
            ("topology", self.topology.as_ref().map(|path| path.display().to_string())),
        ];
        text.push_str(
            "\n# Where the network is learnt from: the base URL of a directory that speaks \
                       nym-api, or else a\n# topology file.\n",
        );
        for (name, value) in source {
            if let Some(value) = value {
                text.push_str(&format!("{name} = {}\n", toml::Value::String(value)));
            }
        }
        for (name, value, help) in self.rows() {
            text.push_str(&format!("\n# {help}\n{name} = {value}\n"));
        }
        text.push_str(
            "\n# How often a fragment is sent again at most; without this line, until it is \
                       acknowledged.\n",
        );
        match self.retransmissions {
            Some(count) => text.push_str(&format!("retransmissions = {count}\n")),
            None => text.push_str("# retransmissions = 20\n"),
        }
        text
    }

    fn rows(&self) -> Vec<(&'static str, String, &'static str)> {
        let quoted = |length: Length| format!("\"{length}\"");
        vec![
            ("main-stream", quoted(self.main_stream), MAIN_STREAM_HELP),
            ("main-cover", self.main_cover.to_string(), MAIN_COVER_HELP),
            ("loop-cover", quoted(self.loop_cover), LOOP_COVER_HELP),
            ("hop-delay", quoted(self.hop_delay), "Mean delay that a packet asks of each mix."),
            ("ack-delay", quoted(self.ack_delay), "The same for acknowledgements."),
            ("ack-wait-factor", format!("{:?}", self.ack_wait_factor), ACK_WAIT_HELP),
            ("ack-wait-extra", quoted(self.ack_wait_extra), "And so much longer."),
            ("queue", self.queue.to_string(), QUEUE_HELP),
            ("reply-surbs", self.reply_surbs.to_string(), REPLY_SURBS_HELP),
            ("mix-performance", self.mix_performance.to_string(), MIX_PERFORMANCE_HELP),
            ("gateway-performance", self.gateway_performance.to_string(), GATEWAY_PERFORMANCE_HELP),
            (
                "topology-refresh",
                quoted(self.topology_refresh),
                "How often the topology is fetched.",
            ),
            ("topology-timeout", quoted(self.topology_timeout), TOPOLOGY_TIMEOUT_HELP),
            ("gateway-timeout", quoted(self.gateway_timeout), GATEWAY_TIMEOUT_HELP),
            ("reconnect-max", quoted(self.reconnect_max), RECONNECT_HELP),
        ]
    }
}

const MAIN_STREAM_HELP: &str = "Mean time between two packets of the main stream, which sends what \
    waits and else cover.\n# Shorter is faster and costs more; what all clients do hides best.";
const MAIN_COVER_HELP: &str = "Whether it sends cover where nothing waits. false shows who \
    watches the link when there is\n# something to send: for services that many use at once, \
    not for people.";
const LOOP_COVER_HELP: &str =
    "Mean time between two packets of cover that come on top; \"0s\" switches them off.";
const ACK_WAIT_HELP: &str =
    "An acknowledgement is waited for this many times the expected round trip.";
const QUEUE_HELP: &str =
    "Fragments (1.6 kB each) that wait or are under way at most; beyond that, senders wait.";
const REPLY_SURBS_HELP: &str = "Reply SURBs that go with each message that wants an answer.";
const MIX_PERFORMANCE_HELP: &str = "Mix nodes of which the directory measured less (per cent) are \
    passed by, in a layer that has\n# better ones.";
const GATEWAY_PERFORMANCE_HELP: &str = "The same for the gateway that is drawn for a new client.";
const TOPOLOGY_TIMEOUT_HELP: &str = "How long an answer of the directory may take.";
const GATEWAY_TIMEOUT_HELP: &str = "How long the gateway may take to connect and to answer.";
const RECONNECT_HELP: &str = "Longest pause between two attempts to reach the gateway.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_says_what_the_settings_say() {
        let settings = Settings {
            directory: Some("http://127.0.0.1:8080/api \"quoted\"".into()),
            main_stream: Length(Duration::from_micros(1500)),
            main_cover: false,
            retransmissions: Some(7),
            mix_performance: 0,
            gateway_performance: 100,
            ..Settings::default()
        };
        assert_eq!(toml::from_str::<Settings>(&settings.template()).unwrap(), settings);
        let file = Settings { topology: Some("net.json".into()), ..Settings::default() };
        assert_eq!(toml::from_str::<Settings>(&file.template()).unwrap(), file);
        assert!(file.template().lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn lengths() {
        for (text, millis) in [("20ms", 20), ("1.5s", 1500), ("5min", 300_000), ("0s", 0)] {
            assert_eq!(Length::parse(text), Ok(Length::millis(millis)));
            assert_eq!(
                Length::parse(&Length::millis(millis).to_string()),
                Ok(Length::millis(millis))
            );
        }
        for text in ["", "5", "ms", "-1ms", "1e300s", "5 minutes"] {
            assert!(Length::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_a_sentence() {
        let good = Settings { directory: Some("http://x".into()), ..Settings::default() };
        assert_eq!(good.check(), Ok(()));
        let said = |settings: Settings, what: &str| {
            let text = settings.check().unwrap_err().to_string();
            assert!(text.contains(what), "{text}");
        };
        said(Settings::default(), "neither directory nor topology");
        said(
            Settings { topology: Some("t".into()), ..good.clone() },
            "both directory and topology",
        );
        said(Settings { main_stream: Length::millis(0), ..good.clone() }, "main-stream is 0s");
        said(Settings { ack_wait_factor: f64::NAN, ..good.clone() }, "ack-wait-factor");
        said(Settings { queue: 0, ..good.clone() }, "queue");
        said(Settings { mix_performance: 101, ..good.clone() }, "mix-performance");
        said(Settings { reply_surbs: 101, ..good }, "reply-surbs");
    }

    #[test]
    fn files_are_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        assert!(Settings::load(&path).unwrap_err().to_string().contains("there is no client here"));
        std::fs::write(&path, "topology = \"net.json\"\nmain-stream = \"5ms\"\n").unwrap();
        let settings = Settings::load(&path).unwrap();
        assert_eq!(settings.topology, Some(dir.path().join("net.json")));
        assert_eq!(settings.main_stream, Length::millis(5));
        std::fs::write(&path, "topology = \"net.json\"\nmain-steam = \"5ms\"\n").unwrap();
        let text = Settings::load(&path).unwrap_err().to_string();
        assert!(text.contains("line 2") && text.contains("main-steam"), "{text}");
        std::fs::write(&path, "topology = \"net.json\"\nmain-stream = \"5\"\n").unwrap();
        assert!(Settings::load(&path).unwrap_err().to_string().contains("such as 20ms"));
    }
}
