//! Where a node's files are, and the settings that hold there.

use std::env;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use crate::fault::Fault;
use crate::settings::{Effective, Settings, Sources, TABLE, VARIABLES, resolve};

/// Name of the configuration file in a node's directory.
pub const CONFIG: &str = "phix-node.toml";

/// The setting whose flag may be given several times, and as `--role` as well.
const ROLES: &str = "roles";

/// A node's configuration, read and checked.
#[derive(Debug)]
pub struct Place {
    /// The configuration file.
    pub config: PathBuf,
    /// The settings, typed.
    pub settings: Settings,
    /// The settings by name, with what gave each its value.
    pub effective: Vec<Effective>,
}

impl Place {
    /// The place in `dir`, as its file and nothing else describes it.
    ///
    /// # Errors
    /// If the file cannot be read or is wrong.
    pub fn of(dir: &Path) -> Result<Self, Fault> {
        let config = dir.join(CONFIG);
        let sources = Sources { file: Some(config.clone()), ..Sources::default() };
        let (settings, effective) = resolve(&sources)?;
        Ok(Self { config, settings, effective })
    }

    /// The place that flags or environment name, with all settings that count there.
    ///
    /// # Errors
    /// If none is named, or its file cannot be read, or any setting is wrong.
    pub fn given(matches: &ArgMatches) -> Result<Self, Fault> {
        let config = config_path(matches)?;
        let sources = sources(Some(config.clone()), matches);
        let (settings, effective) = resolve(&sources)?;
        Ok(Self { config, settings, effective })
    }

    /// The place that arguments or environment name, for commands that take no settings.
    ///
    /// # Errors
    /// If none is named, or its file cannot be read, or any setting is wrong.
    pub fn configured(matches: &ArgMatches) -> Result<Self, Fault> {
        let config = config_path(matches)?;
        let environment = env::vars_os().collect();
        let sources = Sources { file: Some(config.clone()), environment, flags: Vec::new() };
        let (settings, effective) = resolve(&sources)?;
        Ok(Self { config, settings, effective })
    }

    /// No place of any node: the defaults and the environment.
    ///
    /// # Errors
    /// If a setting in the environment is wrong.
    pub fn new() -> Result<Self, Fault> {
        let environment = env::vars_os().collect();
        let sources = Sources { file: None, environment, flags: Vec::new() };
        let (settings, effective) = resolve(&sources)?;
        Ok(Self { config: PathBuf::new(), settings, effective })
    }

    /// The directory of the key files.
    pub fn keys_dir(&self) -> PathBuf {
        self.resolve(&self.settings.keys_dir)
    }

    /// The directory of what must outlive the process, if the node is to have one.
    pub fn state_dir(&self) -> Option<PathBuf> {
        self.settings.state_dir.clone().get().map(|dir| self.resolve(&dir))
    }

    /// A path of a setting; a relative one starts at the directory of the configuration file.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        let base = self.config.parent().unwrap_or_else(|| Path::new(""));
        base.join(path)
    }
}

/// Whether arguments or environment say which node is meant.
pub fn is_given(matches: &ArgMatches) -> bool {
    config_path(matches).is_ok()
}

/// Environment and flags, over `file`.
pub fn sources(file: Option<PathBuf>, matches: &ArgMatches) -> Sources {
    let flag = |name: &'static str| {
        let given: Vec<&str> = matches.get_many::<String>(name)?.map(String::as_str).collect();
        Some((name, given.join(",")))
    };
    Sources {
        file,
        environment: env::vars_os().collect(),
        flags: TABLE.iter().filter_map(|setting| flag(setting.name)).collect(),
    }
}

fn config_path(matches: &ArgMatches) -> Result<PathBuf, Fault> {
    let [dir_variable, config_variable] = VARIABLES;
    let flag = |name| matches.get_one::<PathBuf>(name).cloned();
    let variable = |name| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let in_dir = |dir: PathBuf| dir.join(CONFIG);
    flag("config")
        .or_else(|| flag("dir").map(in_dir))
        .or_else(|| variable(config_variable))
        .or_else(|| variable(dir_variable).map(in_dir))
        .ok_or_else(|| {
            Fault::refused(
                "it is not said which node: give --dir with the directory that `phix-node init` \
                 made.",
            )
        })
}

/// Adds `--dir`.
pub fn with_dir(command: Command) -> Command {
    command.arg(
        Arg::new("dir")
            .long("dir")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .value_hint(ValueHint::DirPath)
            .help("The node's directory, with phix-node.toml and its keys [env: PHIX_DIR]"),
    )
}

/// Adds `--config`, the other way to say which node is meant.
pub fn with_config(command: Command) -> Command {
    command.arg(
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .conflicts_with("dir")
            .value_parser(value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .help("The configuration file, where it has another name [env: PHIX_CONFIG]"),
    )
}

/// Adds a flag for every setting.
pub fn with_settings(command: Command) -> Command {
    let flag = |setting: &'static crate::settings::Setting| {
        let help = setting.help();
        let first = help.split_inclusive(". ").next().unwrap_or_default();
        let short = first.trim_end_matches(['.', ' ']).to_owned();
        let (allowed, default, variable) = (setting.allowed(), setting.default, setting.variable());
        let several = setting.name == ROLES;
        Arg::new(setting.name)
            .long(setting.name)
            .aliases(several.then_some("role"))
            .action(if several { ArgAction::Append } else { ArgAction::Set })
            .value_name("VALUE")
            .allow_hyphen_values(true)
            .help_heading("Settings (flag over environment over file over default)")
            .help(format!("{short} [default: {default}]"))
            .long_help(format!(
                "{help}\n\nMust be {allowed}.\n[default: {default}] [env: {variable}]"
            ))
    };
    command.args(TABLE.iter().map(flag))
}
