//! The forwarder, one process per run: pinned to its core, it does the job once and says what that
//! cost.

mod glommio;
mod phix;
mod tokio;
mod tokio_uring;

use std::cell::Cell;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use phix_io::LinkKind;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What does the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Runtime {
    /// Phix over io_uring.
    PhixUring,
    /// Phix over epoll.
    PhixEpoll,
    /// glommio 0.9.
    Glommio,
    /// tokio-uring 0.5.
    TokioUring,
    /// tokio, one thread.
    Tokio,
}

/// What a run is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What does the job.
    #[arg(long, value_enum)]
    pub(crate) runtime: Runtime,
    /// The core to run on.
    #[arg(long)]
    pub(crate) cpu: usize,
    /// Frames that will come.
    #[arg(long)]
    pub(crate) packets: u64,
    /// Where they go.
    #[arg(long, value_delimiter = ',')]
    pub(crate) to: Vec<SocketAddr>,
}

/// What a run says at its end.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Cost {
    /// User and system time of the process, from the first connection to the end, microseconds.
    pub(crate) cpu_us: u64,
    /// How often it gave the core away by itself.
    pub(crate) sleeps: u64,
}

impl Cost {
    /// Of this process, so far.
    fn so_far() -> io::Result<Self> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_us = cpu.tv_sec as u64 * 1_000_000 + cpu.tv_nsec as u64 / 1_000;
        Ok(Self { cpu_us, sleeps: sleeps()? })
    }
}

/// Voluntary context switches of all threads that live.
fn sleeps() -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Does the job; says on standard output first where it listens, then what it cost.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    pin(options.cpu)?;
    let start = Start(Cell::new(Cost::so_far()?));
    match options.runtime {
        Runtime::PhixUring => phix::run(LinkKind::Uring, options, &start),
        Runtime::PhixEpoll => phix::run(LinkKind::Epoll, options, &start),
        Runtime::Glommio => glommio::run(options, &start),
        Runtime::TokioUring => tokio_uring::run(options, &start),
        Runtime::Tokio => tokio::run(options, &start),
    }?;
    let (begin, end) = (start.0.get(), Cost::so_far()?);
    let cost = Cost { cpu_us: end.cpu_us - begin.cpu_us, sleeps: end.sleeps - begin.sleeps };
    say(&serde_json::to_string(&cost)?)
}

/// What the process had cost before the job began.
struct Start(Cell<Cost>);

impl Start {
    /// The forwarder listens at `address`; what it costs counts from now.
    fn listening(&self, address: SocketAddr) -> io::Result<()> {
        self.0.set(Cost::so_far()?);
        say(&address.to_string())
    }
}

/// Where forwarders listen: the system chooses the port.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Keeps this thread, and those it starts, on one core.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
