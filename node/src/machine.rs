//! What the machine has to give: memory and open files.

use std::fs;

use phix_engine::limits::{PEERS_MAX, slot_stride};
use phix_engine::pool::Capacity;
use phix_engine::wire::geometry::PacketSize;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::settings::Settings;

/// Bytes of the replay filter for each packet; a test holds it against the filter.
const REPLAY_BYTES: u64 = 4;

/// Files that one shard has open besides its connections: its listener, its ring, its wake-up.
const SHARD_FILES: u64 = 16;

/// The nice value of threads that serve no packets. A tenth of a core's time is theirs even where
/// its shard never rests.
const STEPPED_BACK: i32 = 10;

/// Memory that a node with these settings can come to take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Packets that are held, all shards together.
    pub packets: u64,
    /// Packets that are remembered.
    pub replay: u64,
}

impl Memory {
    /// Both.
    pub const fn total(self) -> u64 {
        self.packets + self.replay
    }
}

/// Shards that these settings ask for.
pub fn shards(settings: &Settings) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    settings.shards.get().map_or_else(cores, |count| count.size())
}

/// Slots of each size that one shard has.
pub fn capacity(settings: &Settings) -> Capacity {
    PacketSize::ALL.map(|size| match size {
        PacketSize::Ack | PacketSize::Regular => settings.capacity.size(),
        _ => settings.capacity_extended.size(),
    })
}

/// The memory that these settings lead to, if each filter is made for `remembered` packets.
pub fn memory(settings: &Settings, remembered: u64) -> Memory {
    let slots = capacity(settings).into_iter().zip(PacketSize::ALL);
    let shard: usize = slots.map(|(count, size)| count * slot_stride(size)).sum();
    Memory {
        packets: (shard * shards(settings)) as u64,
        replay: remembered.saturating_mul(REPLAY_BYTES * filters(settings)),
    }
}

/// Packets that so many bytes can remember.
pub const fn replay_room(bytes: u64) -> usize {
    (bytes / REPLAY_BYTES) as usize
}

/// Filters that there are at a time, at most: two while keys change.
pub fn filters(settings: &Settings) -> u64 {
    if settings.rotation.get().is_some() { 2 } else { 1 }
}

/// Bytes that this program can still take: what the machine has left, or the group of processes
/// that it runs in, whichever is less. Nothing if the system does not say.
pub fn memory_available() -> Option<u64> {
    let machine = available(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let read = |name| fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok();
    let number = |name| read(name)?.trim().parse::<u64>().ok();
    let group = number("max").zip(number("current")).map(|(max, now)| max.saturating_sub(now));
    Some(group.map_or(machine, |group| group.min(machine)))
}

/// The line `MemAvailable: 123 kB` of /proc/meminfo, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Files that these settings can come to have open.
pub fn files(settings: &Settings) -> u64 {
    let shard = settings.connections_max.get() + PEERS_MAX as u64 + SHARD_FILES;
    let clients = settings.entry.get().map_or(0, |_| settings.entry_connections.get());
    shards(settings) as u64 * shard + clients
}

/// Files that this program may have open at most, once it has raised its limit.
pub fn files_available() -> u64 {
    rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the limit of open files as far as the system lets it, and keeps the keys in memory out of
/// core dumps. Where either is refused, the node runs all the same.
pub fn prepare() {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Lets threads that serve packets go before the calling one, on the cores that they share. Where
/// that is refused, it goes on as it is.
pub fn step_back() {
    // On Linux the priority is the thread's own, whatever POSIX says of processes.
    let _ = rustix::process::setpriority_process(None, STEPPED_BACK);
}

/// `bytes` for a person.
pub fn readable(bytes: u64) -> String {
    if bytes < 10_000_000_000 {
        format!("{:.0} MB", bytes as f64 / 1e6)
    } else {
        format!("{:.1} GB", bytes as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use phix_engine::replay::ReplayFilter;

    use super::*;
    use crate::settings::{Sources, resolve};

    #[test]
    fn the_estimate_is_what_the_engine_takes() {
        let filter = ReplayFilter::new(1 << 16, [7; 32]);
        assert_eq!(filter.memory_bytes() as u64, REPLAY_BYTES << 16);
        let flags = vec![("shards", "2".into()), ("replay-capacity", "1000".into())];
        let (settings, _) = resolve(&Sources { flags, ..Sources::default() }).unwrap();
        let packets = 2 * (32_768 * (512 + 2496) + 64 * (8640 + 16_832 + 33_216));
        assert_eq!(memory(&settings, 1000), Memory { packets, replay: 4_000 });
    }

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       24681544 kB\nMemAvailable:   24207000 kB\n";
        assert_eq!(available(text), Some(24_207_000 * 1024));
        assert_eq!(available("MemTotal: 1 kB"), None);
        assert!(memory_available().is_some_and(|bytes| bytes > 0));
    }
}
