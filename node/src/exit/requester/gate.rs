//! Who decides what is connected to.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::Pin;

use phix_proto::requester::{Answer, Query, Target};

/// The addresses of a target that may be connected to, as soon as they are known.
pub type Verdict<'a> = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, Closed>> + Send + 'a>>;

/// Why there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The policy forbids the target, or every address that its name has.
    Forbidden,
    /// Its name has no address.
    Unresolved,
}

/// Decides what is connected to: looks names up, and asks the policy about every address.
pub trait Gate: Debug + Send + Sync {
    /// Where `target` may be connected to. Nothing else is.
    fn addresses<'a>(&'a self, target: &'a Target) -> Verdict<'a>;

    /// What the exit says about itself.
    fn answer(&self, query: Query) -> Answer;
}
