//! What the system says about this process, and about each shard's thread.

use procfs::WithCurrentSystemInfo;
use procfs::process::{LimitValue, Process};

/// What the names of the shards' threads begin with; the rest is the shard's number.
const THREAD: &str = "phix-shard-";

/// One look at the process. What the system does not say is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) open_files_max: Option<u64>,
    pub(crate) start_seconds: Option<f64>,
    /// By shard: seconds for which its thread ran.
    pub(crate) shards: Vec<(usize, f64)>,
}

impl Usage {
    /// How things are now.
    pub(crate) fn now() -> Self {
        let Ok(process) = Process::myself() else { return Self::default() };
        let mut usage = Self {
            open_files: process.fd_count().ok().map(|count| count as u64),
            open_files_max: process.limits().ok().and_then(|limits| {
                match limits.max_open_files.soft_limit {
                    LimitValue::Value(count) => Some(count),
                    LimitValue::Unlimited => None,
                }
            }),
            shards: shards(&process),
            ..Self::default()
        };
        if let Ok(stat) = process.stat() {
            usage.cpu_seconds = Some(seconds(stat.utime + stat.stime));
            usage.resident_bytes = Some(stat.rss_bytes().get());
            usage.virtual_bytes = Some(stat.vsize);
            usage.threads = u64::try_from(stat.num_threads).ok();
            let boot = procfs::boot_time_secs().ok();
            usage.start_seconds = boot.map(|boot| boot as f64 + seconds(stat.starttime));
        }
        usage
    }
}

fn shards(process: &Process) -> Vec<(usize, f64)> {
    let Ok(tasks) = process.tasks() else { return Vec::new() };
    let shard = |stat: procfs::process::Stat| {
        let number = stat.comm.strip_prefix(THREAD)?.parse().ok()?;
        Some((number, seconds(stat.utime + stat.stime)))
    };
    let mut shards: Vec<(usize, f64)> =
        tasks.filter_map(|task| shard(task.ok()?.stat().ok()?)).collect();
    shards.sort_by_key(|&(number, _)| number);
    shards
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_all_of_it() {
        let usage = std::thread::Builder::new()
            .name(format!("{THREAD}7"))
            .spawn(Usage::now)
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(usage.shards.iter().map(|&(number, _)| number).collect::<Vec<_>>(), [7]);
        assert!(usage.resident_bytes.unwrap() > 100_000);
        assert!(usage.virtual_bytes >= usage.resident_bytes);
        assert!(usage.threads.unwrap() >= 2 && usage.open_files.unwrap() >= 3);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - usage.start_seconds.unwrap();
        assert!((-5.0..3_600.0).contains(&age), "started {age} s ago");
    }
}
