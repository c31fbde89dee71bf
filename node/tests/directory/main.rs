//! The directory without its connections: time is an argument, nodes are what they say they are.

mod common;
mod epochs;
mod hostile;
