//! What a node does for the network: a set that can change while it runs.
//!
//! The shards serve all the time, whatever the roles are: packets that are on their way go on. A
//! role only decides who else is served. [`Roles`] is the set, [`Post`] is what the node has in
//! order to fill it.

mod post;
mod set;

pub use post::Post;
pub use set::Roles;
