//! What the commands that start a local network are told alike.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use phix_engine::crypto::Kernels;
use phix_io::LinkChoice;

use super::network::WIDTH_MAX;
use crate::fault::Fault;
use crate::server;
use crate::settings::{Crypto, Value};

/// The nodes of a network, as far as a person chooses them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nodes {
    /// Nodes per layer.
    pub(crate) width: usize,
    /// The link that all nodes use.
    pub(crate) link: LinkChoice,
    /// The crypto kernels that all nodes use.
    pub(crate) kernels: Kernels,
}

impl Nodes {
    /// What the arguments say.
    ///
    /// # Errors
    /// If they ask for kernels that this processor cannot run.
    pub(crate) fn given(matches: &ArgMatches) -> Result<Self, Fault> {
        Ok(Self {
            width: usize::from(*matches.get_one::<u8>("width").expect("has a default")),
            link: *matches.get_one("link").expect("has a default"),
            kernels: server::kernels(*matches.get_one("crypto").expect("has a default"))?,
        })
    }
}

/// Adds the arguments that [`Nodes`] are read from.
pub(crate) fn with_nodes(command: Command) -> Command {
    let crypto = |text: &str| Crypto::read(text).ok_or_else(Crypto::allowed);
    command
        .arg(
            option("width", "N", "Mix nodes per layer")
                .value_parser(value_parser!(u8).range(1..=WIDTH_MAX as i64))
                .default_value("1"),
        )
        .arg(
            option("link", "LINK", "auto, io_uring or epoll")
                .value_parser(value_parser!(LinkChoice))
                .default_value("auto"),
        )
        .arg(
            option("crypto", "KERNELS", "auto, portable, avx2 or avx512")
                .value_parser(crypto)
                .default_value("auto"),
        )
}

/// Adds the arguments of a network of processes.
pub(crate) fn with_members(command: Command) -> Command {
    let port = |name, of, default| {
        let help: &'static str = of;
        option(name, "PORT", help)
            .value_parser(value_parser!(u16).range(1..))
            .default_value(default)
    };
    with_nodes(command)
        .arg(port("port", "Port of all nodes, each on its own address", "1789"))
        .arg(port("directory-port", "Port of the directory", "8000"))
        .arg(
            option("epoch", "TIME", "How long an epoch of the directory lasts")
                .default_value("30s"),
        )
}

/// An argument with a value.
pub(crate) fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// An argument that names a file.
pub(crate) fn file(name: &'static str, help: &'static str) -> Arg {
    option(name, "FILE", help).value_parser(value_parser!(PathBuf)).value_hint(ValueHint::FilePath)
}
