//! The one way in which a command fails: a sentence for a person and an exit code for a script.

use std::fmt;

/// Exit code of a command that did what it was asked to.
pub const DONE: u8 = 0;
/// Exit code of a node that broke while it ran.
pub const BROKEN: u8 = 1;
/// Exit code of a question whose answer is no.
pub const NO: u8 = 1;
/// Exit code of a command that was refused because something has to be put right first.
pub const REFUSED: u8 = 2;

/// Why a command ended. The sentence says what is wrong and what to do about it.
#[derive(Debug)]
pub struct Fault {
    sentence: String,
    code: u8,
}

impl Fault {
    /// Something that the operator can put right: a setting, a file, an address.
    pub fn refused(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: REFUSED }
    }

    /// A failure of the running node itself.
    pub fn broken(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: BROKEN }
    }

    /// The answer to a question of the operator.
    pub fn no(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: NO }
    }

    /// The exit code that goes with it.
    pub const fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Fault {}
