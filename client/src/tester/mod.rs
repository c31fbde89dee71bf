//! A load tester for mix nodes: offers packets at planned times and accounts for each of them.
//!
//! The tester is the hop before the nodes under test and the hop behind them, as operators test: a
//! packet's last hop is the tester itself. All packets are built in advance ([`prepare`]), each
//! different from all others, since a node drops what it has seen. The builder knows what must
//! come back, so a returned packet is recognised by the front of its alpha and checked as a whole
//! by its hash ([`book`]), without a key: that is what makes it possible to read 100,000 packets
//! a second beside sending as many, on one core.
//!
//! The load is an open loop: times are planned ([`pace`]) and a slow node makes packets late, not
//! fewer. [`drive::run`] sends and receives on one thread; [`measure`] holds the distributions,
//! [`hgrm`] writes them down, [`report`] says what came out, [`live`] what goes on. [`search`]
//! looks for the highest rate without loss, [`memory`] sees that there is room, [`receiving`] is
//! where packets come back, [`noise`] how both are encrypted if they are, and [`environment`]
//! describes the machine.

pub mod book;
pub mod drive;
pub mod environment;
mod failure;
pub mod hgrm;
pub mod live;
pub mod measure;
pub mod memory;
pub mod noise;
pub mod pace;
pub mod prepare;
pub mod receiving;
pub mod report;
pub mod search;
mod sending;
