//! Settings: their one table, and where their values come from.
//!
//! A setting has one name. `replay-capacity` is the key in `phix-node.toml`, `--replay-capacity`
//! the flag and `PHIX_REPLAY_CAPACITY` the environment variable. A flag wins over the environment,
//! the environment over the file, the file over the default.

mod file;
mod nearest;
mod source;
mod table;
mod template;
mod value;

pub use nearest::nearest;
pub use source::{Effective, Origin, Sources, VARIABLES, resolve};
pub use table::{Settings, TABLE};
pub use template::template;
pub use value::{Crypto, Frames, NoisePattern, NoiseUse, Or, Role, Span, Value, alternatives};

/// One row of the table: all that is known about a setting except its type, which is in
/// [`Settings`].
#[derive(Debug)]
pub struct Setting {
    /// Its name: the key in the file, the flag without its hyphens.
    pub name: &'static str,
    /// Its value where none is given.
    pub default: &'static str,
    /// The explanation, as written in the table.
    help: &'static str,
    allowed: fn() -> String,
    accepts: fn(&str) -> bool,
}

impl Setting {
    /// The environment variable of the same name.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// The explanation: one paragraph, in one line.
    pub fn help(&self) -> String {
        self.help.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The accepted values, in words that continue "must be".
    pub fn allowed(&self) -> String {
        (self.allowed)()
    }

    /// Whether `text` is an accepted value.
    pub fn accepts(&self, text: &str) -> bool {
        (self.accepts)(text)
    }
}

/// What the environment variables of this program begin with.
pub const PREFIX: &str = "PHIX_";

/// The setting called `name`.
pub fn find(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.name == name)
}
