//! An entry over real sockets, and clients that do what they should, or what they should not.

mod clients;
mod hostile;
mod idle;
mod life;
mod scene;
