//! A set of roles.

use std::fmt;

use phix_proto::directory::nodes::{Role as Assigned, SupportedRoles};

use crate::settings::{Role, Value, alternatives};

/// A set of roles, written as their words with commas between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Whether `role` is one of them.
    pub const fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// These and `role`.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// These without `role`.
    #[must_use]
    pub const fn without(self, role: Role) -> Self {
        Self(self.0 & !(1 << role as u8))
    }

    /// Whether messages end at such a node: clients connect to it, or services behind it do.
    pub const fn is_gateway(self) -> bool {
        self.has(Role::Entry) || self.has(Role::Exit)
    }

    /// Whether it is a directory and nothing else.
    pub fn is_directory_alone(self) -> bool {
        self == Self::default().with(Role::Directory)
    }

    /// Those of these that a directory gives the node for an epoch. It does not give the role
    /// directory, nor take it.
    #[must_use]
    pub fn assigned(self, assigned: Assigned) -> Self {
        let given = match assigned {
            Assigned::Mixnode { .. } => Some(Role::Mix),
            Assigned::EntryGateway => Some(Role::Entry),
            Assigned::ExitGateway => Some(Role::Exit),
            Assigned::Standby | Assigned::Inactive => None,
        };
        let kept = [given, Some(Role::Directory)].into_iter().flatten();
        kept.filter(|&role| self.has(role)).fold(Self::default(), Self::with)
    }

    /// What a node with these roles offers to a directory.
    pub const fn offered(self) -> SupportedRoles {
        SupportedRoles {
            mixnode: self.has(Role::Mix),
            entry: self.has(Role::Entry),
            exit_nr: self.has(Role::Exit),
            exit_ipr: false,
        }
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> =
            Role::ALL.iter().filter(|&&role| self.has(role)).map(|role| role.word()).collect();
        f.write_str(if words.is_empty() { "none" } else { "" })?;
        f.write_str(&words.join(","))
    }
}

impl Value for Roles {
    fn read(text: &str) -> Option<Self> {
        let add = |all: Self, word: &str| Some(all.with(Role::read(word.trim())?));
        text.split(',').try_fold(Self::default(), add)
    }

    fn allowed() -> String {
        let words = Role::ALL.map(|role| format!("\"{}\"", role.word()));
        format!("{}, or several of them with commas between them", alternatives(&words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(text: &str) -> Roles {
        Roles::read(text).unwrap()
    }

    #[test]
    fn sets_are_read_and_written() {
        assert_eq!(roles("entry, mix").to_string(), "mix,entry");
        assert_eq!(roles("mix,mix"), roles("mix"));
        assert_eq!(Roles::default().to_string(), "none");
        for wrong in ["", "mix,", "mixer", "mix entry", "none"] {
            assert_eq!(Roles::read(wrong), None, "{wrong:?}");
        }
        assert!(roles("exit").is_gateway() && roles("entry").is_gateway());
        assert!(roles("directory").is_directory_alone() && !roles("mix,directory").is_gateway());
        assert!(Roles::allowed().starts_with("\"mix\", \"entry\", \"exit\" or \"directory\", or"));
    }

    #[test]
    fn a_directory_gives_what_the_node_offers_and_nothing_else() {
        let offered = roles("mix,entry,directory");
        let given = |assigned| offered.assigned(assigned).to_string();
        assert_eq!(given(Assigned::Mixnode { layer: 2 }), "mix,directory");
        assert_eq!(given(Assigned::EntryGateway), "entry,directory");
        for none in [Assigned::ExitGateway, Assigned::Standby, Assigned::Inactive] {
            assert_eq!(given(none), "directory");
        }
        assert_eq!(roles("mix").assigned(Assigned::Inactive), Roles::default());
    }
}
