//! Where the value of each setting comes from, and the sentences about those that are wrong.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::{PREFIX, Setting, Settings, TABLE, file, find, nearest};
use crate::fault::Fault;

/// Variables that are no settings: they say where the settings are.
pub const VARIABLES: [&str; 2] = ["PHIX_DIR", "PHIX_CONFIG"];

/// What gave a setting its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing did.
    Default,
    /// The configuration file, with the line.
    File(String),
    /// The environment variable of its name.
    Environment(String),
    /// The flag of its name.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => f.write_str(place),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A setting with the value that counts.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Which setting.
    pub setting: &'static Setting,
    /// Its value, accepted by its type.
    pub text: String,
    /// What gave it.
    pub origin: Origin,
}

/// All that can give values to settings.
#[derive(Debug, Default)]
pub struct Sources {
    /// The configuration file, if there is one to read.
    pub file: Option<PathBuf>,
    /// The environment, whole.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags that were given, by name of their setting.
    pub flags: Vec<(&'static str, String)>,
}

/// Reads every source and gives the settings, typed, and by name with their origins.
///
/// # Errors
/// A sentence about the first unknown name or unacceptable value of any source, even one that a
/// stronger source would have hidden.
pub fn resolve(sources: &Sources) -> Result<(Settings, Vec<Effective>), Fault> {
    let default = |setting: &'static Setting| Effective {
        setting,
        text: setting.default.into(),
        origin: Origin::Default,
    };
    let mut all: Vec<Effective> = TABLE.iter().map(default).collect();
    let from_file = sources.file.as_deref().map(file::read).transpose()?.unwrap_or_default();
    let given = [from_file, environment(&sources.environment)?, flags(&sources.flags)?];
    for one in given.into_iter().flatten() {
        let place = all.iter_mut().find(|each| each.setting.name == one.setting.name);
        *place.expect("only settings of the table are given") = one;
    }
    let text = |name: &str| {
        let found = all.iter().find(|each| each.setting.name == name);
        found.map_or("", |each| each.text.as_str())
    };
    let settings = Settings::read(text).expect("every text was checked by its source");
    Ok((settings, all))
}

fn environment(variables: &[(OsString, OsString)]) -> Result<Vec<Effective>, Fault> {
    let mut found = Vec::new();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if VARIABLES.contains(&variable) {
            continue;
        }
        let setting = TABLE.iter().find(|setting| setting.variable() == variable);
        let setting = setting.ok_or_else(|| {
            let what = format!("Environment variable {variable}: there is no such setting");
            unknown(&what, &variable[PREFIX.len()..], |known| known.variable())
        })?;
        let value = value.to_string_lossy().into_owned();
        found.push(check(setting, value, Origin::Environment(variable.into()))?);
    }
    Ok(found)
}

fn flags(flags: &[(&'static str, String)]) -> Result<Vec<Effective>, Fault> {
    let one = |(name, value): &(&'static str, String)| {
        let setting = find(name).expect("the flags are made from the table");
        check(setting, value.clone(), Origin::Flag(name))
    };
    flags.iter().map(one).collect()
}

/// The setting with this value, if its type accepts it.
pub(super) fn check(
    setting: &'static Setting,
    text: String,
    origin: Origin,
) -> Result<Effective, Fault> {
    if setting.accepts(&text) {
        return Ok(Effective { setting, text, origin });
    }
    let (name, allowed) = (setting.name, setting.allowed());
    Err(Fault::refused(format!("{origin}: `{name}` must be {allowed}, not {text:?}.")))
}

/// The refusal of an unknown name: `what` is wrong, and which one was probably meant.
pub(super) fn unknown(what: &str, name: &str, show: impl Fn(&Setting) -> String) -> Fault {
    let names = TABLE.iter().map(|setting| setting.name);
    let hint = nearest(name, names).and_then(find).map_or_else(
        || {
            let all: Vec<String> = TABLE.iter().map(&show).collect();
            format!("the settings are {}.", all.join(", "))
        },
        |setting| format!("did you mean {} ({})?", show(setting), setting.allowed()),
    );
    Fault::refused(format!("{what}; {hint}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sources(file: Option<&str>, environment: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phix-node.toml");
        if let Some(text) = file {
            fs::write(&path, text).unwrap();
        }
        let environment = environment.iter().map(|&(k, v)| (k.into(), v.into())).collect();
        (dir, Sources { file: file.map(|_| path), environment, flags: Vec::new() })
    }

    fn refusal(file: Option<&str>, environment: &[(&str, &str)]) -> String {
        let (_dir, sources) = sources(file, environment);
        let fault = resolve(&sources).expect_err("it should have been refused");
        assert_eq!(fault.code(), crate::fault::REFUSED);
        fault.to_string()
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let file = "drain = \"1s\"\nbatch = 1\nshards = 1";
        let (_dir, mut sources) = sources(Some(file), &[("PHIX_BATCH", "2"), ("PHIX_SHARDS", "2")]);
        sources.flags = vec![("shards", "3".into())];
        let (settings, effective) = resolve(&sources).unwrap();
        let given = |name| effective.iter().find(|each| each.setting.name == name).unwrap();
        assert_eq!(given("shards").origin, Origin::Flag("shards"));
        assert_eq!(given("batch").origin, Origin::Environment("PHIX_BATCH".into()));
        assert!(given("drain").origin.to_string().ends_with("phix-node.toml, line 1"));
        assert_eq!(given("pin").origin, Origin::Default);
        let count = |name| given(name).text.parse::<u64>().unwrap();
        assert_eq!((count("shards"), count("batch")), (3, 2));
        assert_eq!(settings.shards.get().map(|count| count.get()), Some(3));
        assert_eq!(settings.drain.get().as_secs(), 1);
    }

    #[test]
    fn every_setting_can_come_from_the_environment() {
        let variables: Vec<_> =
            TABLE.iter().map(|s| (s.variable().into(), s.default.into())).collect();
        let (_dir, mut sources) = sources(None, &[]);
        sources.environment = variables;
        let (_, effective) = resolve(&sources).unwrap();
        assert!(effective.iter().all(|each| matches!(each.origin, Origin::Environment(_))));
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let said = refusal(Some("pin = true\n\nlisten-on = \"[::]:1\""), &[]);
        assert!(said.contains("line 3: there is no setting `listen-on`"), "{said}");
        assert!(said.contains("did you mean `listen` (an IP address and a port"), "{said}");
        let said = refusal(None, &[("PHIX_REPLAYCAPACITY", "5")]);
        assert!(said.contains("PHIX_REPLAYCAPACITY"), "{said}");
        assert!(said.contains("did you mean PHIX_REPLAY_CAPACITY (\"auto\" or a whole"), "{said}");
        let said = refusal(Some("[database]\nurl = 1"), &[]);
        assert!(said.contains("`database`; the settings are `roles`, `assigned-roles`"), "{said}");
    }

    #[test]
    fn other_programs_variables_are_left_alone() {
        let (_dir, sources) = sources(None, &[("PHIX_DIR", "/x"), ("PHIXES", "2"), ("LISTEN", "")]);
        assert!(resolve(&sources).is_ok());
    }

    #[test]
    fn wrong_values_are_refused_wherever_they_stand() {
        let said = refusal(Some("connections-max = \"many\""), &[]);
        assert!(said.contains("line 1: `connections-max` must be a whole number from 1"), "{said}");
        let said = refusal(Some("drain = 5"), &[("PHIX_DRAIN", "5s")]);
        assert!(said.contains("such as 5s") && said.ends_with("not \"5\"."), "{said}");
        let said = refusal(Some("listen = [\"::\"]"), &[]);
        assert!(said.contains("`listen` must be an IP address and a port"), "{said}");
        let said = refusal(None, &[("PHIX_LINK", "uring")]);
        assert!(said.contains("PHIX_LINK: `link` must be \"auto\", \"io_uring\""), "{said}");
        let said = refusal(Some("pin = yes"), &[]);
        assert!(said.contains("line 1: this is not TOML") && said.ends_with('.'), "{said}");
    }
}
