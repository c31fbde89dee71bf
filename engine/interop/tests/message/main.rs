//! Messages cross between phix-proto and the stock crates 2.0.0, both ways: addresses, fragments,
//! acknowledgements, reply blocks, cover. Blocks with payload keys, which that line no longer has,
//! are held against sphinx-packet 0.6.0.

mod addresses;
mod answers;
mod fragments;
mod legacy;
mod packets;
mod world;
