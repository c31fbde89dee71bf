//! What the command line says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nym_sdk::{DebugConfig, NymNetworkDetails, ValidatorDetails};

use crate::Failure;

/// How a SOCKS5 client speaks with its exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the SDK does unless it is told otherwise: the oldest form, and the client's own address.
    Addressed,
    /// The oldest form, and reply SURBs.
    Unversioned,
    /// The present form, and reply SURBs.
    Current,
}

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) directory: String,
    pub(crate) storage: Option<PathBuf>,
    pub(crate) through: Option<String>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) exit: Option<String>,
    pub(crate) form: Form,
    hop_delay: Option<Duration>,
    main_stream: Option<Duration>,
}

impl Arguments {
    pub(crate) fn given() -> Result<Self, Failure> {
        let mut given = std::env::args().skip(1);
        let directory = given.next().ok_or("the URL of a directory is missing")?;
        let mut arguments = Self {
            directory,
            storage: None,
            through: None,
            listen: None,
            exit: None,
            form: Form::Current,
            hop_delay: None,
            main_stream: None,
        };
        while let Some(flag) = given.next() {
            let value = given.next().ok_or_else(|| format!("{flag} has no value"))?;
            arguments.set(&flag, value)?;
        }
        let kinds =
            [arguments.storage.is_some(), arguments.through.is_some(), arguments.listen.is_some()];
        if kinds.into_iter().filter(|given| *given).count() > 1 {
            return Err("give one of --storage, --through and --socks5".into());
        }
        if arguments.listen.is_some() != arguments.exit.is_some() {
            return Err("--socks5 and --exit go together".into());
        }
        Ok(arguments)
    }

    fn set(&mut self, flag: &str, value: String) -> Result<(), Failure> {
        match flag {
            "--storage" => self.storage = Some(value.into()),
            "--through" => self.through = Some(value),
            "--socks5" => self.listen = Some(value.parse()?),
            "--exit" => self.exit = Some(value),
            "--hop-delay" => self.hop_delay = Some(time(&value)?),
            "--main-stream" => self.main_stream = Some(time(&value)?),
            "--form" => {
                self.form = match value.as_str() {
                    "addressed" => Form::Addressed,
                    "unversioned" => Form::Unversioned,
                    "current" => Form::Current,
                    _ => return Err(format!("{value} is no form").into()),
                }
            }
            _ => return Err(format!("{flag} is no argument").into()),
        }
        Ok(())
    }

    /// The network that the directory describes. Credentials are off, as they are in the SDK
    /// unless a program asks for them.
    pub(crate) fn network(&self) -> NymNetworkDetails {
        let endpoint = ValidatorDetails::new("http://127.0.0.1:1", Some(&self.directory), None);
        NymNetworkDetails::new_empty()
            .with_network_name("phix".into())
            .with_validator_endpoint(endpoint)
    }

    /// The SDK's settings, as it has them but for what was given.
    pub(crate) fn settings(&self) -> DebugConfig {
        let mut settings = DebugConfig::default();
        if let Some(delay) = self.hop_delay {
            settings.traffic.average_packet_delay = delay;
            settings.acknowledgements.average_ack_delay = delay;
        }
        if let Some(time) = self.main_stream {
            settings.traffic.message_sending_average_delay = time;
        }
        settings
    }
}

/// A time in milliseconds, with or without their unit.
fn time(text: &str) -> Result<Duration, Failure> {
    let number = text.strip_suffix("ms").unwrap_or(text);
    Ok(Duration::from_millis(number.parse().map_err(|_| format!("{text} is no time in ms"))?))
}
