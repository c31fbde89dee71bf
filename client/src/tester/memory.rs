//! Whether a load fits into memory, said before it is built.

use std::fs;

use super::book;

/// Bytes of a position in the list of a connection.
const POSITION: usize = size_of::<u32>();

/// Bytes of the planned time of a packet, while the load is prepared.
const OFFSET: usize = size_of::<u64>();

/// Bytes that a load of so many frames takes, if one lies `stride` bytes behind the other.
pub const fn needed(packets: usize, stride: usize) -> u64 {
    let each = stride + POSITION + OFFSET;
    (packets as u64).saturating_mul(each as u64).saturating_add(book::bytes(packets) as u64)
}

/// Bytes that this program can still take: what the machine has left, or the group of processes
/// that it runs in, whichever is less. Nothing if the system does not say.
pub fn available() -> Option<u64> {
    let machine = of_machine(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let read = |name| fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok();
    let number = |name| read(name)?.trim().parse::<u64>().ok();
    let group = number("max").zip(number("current")).map(|(max, now)| max.saturating_sub(now));
    Some(group.map_or(machine, |group| group.min(machine)))
}

/// The line `MemAvailable: 123 kB` of /proc/meminfo, in bytes.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Refuses a load that would take more than nine tenths of what is available.
///
/// # Errors
/// A sentence that says what is lacking and what to do.
pub fn check(packets: usize, needed: u64, available: Option<u64>) -> Result<(), String> {
    let Some(available) = available else { return Ok(()) };
    if needed <= available / 10 * 9 {
        return Ok(());
    }
    Err(format!(
        "{packets} packets need {} and {} of memory is available; take fewer packets, a shorter \
         duration or a lower rate",
        readable(needed),
        readable(available)
    ))
}

/// A number of bytes for people.
pub fn readable(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_figures() {
        let needed = needed(1_000_000, 2416);
        assert!((2_416_000_000..2_520_000_000).contains(&needed), "{needed}");
        assert_eq!(check(1_000_000, needed, Some(4 << 30)), Ok(()));
        assert_eq!(check(1_000_000, needed, None), Ok(()));
        let sentence = check(1_000_000, needed, Some(1 << 30)).unwrap_err();
        assert!(sentence.starts_with("1000000 packets need 2.3 GiB and 1.0 GiB"), "{sentence}");
        assert!(super::needed(usize::MAX / 64, 2416) > 1 << 60);
    }

    #[test]
    fn the_system_says_what_is_available() {
        assert_eq!(of_machine("MemTotal: 9 kB\nMemAvailable:   5 kB\n"), Some(5120));
        assert_eq!(of_machine("MemTotal: 9 kB\n"), None);
        assert!(available().unwrap() > 0);
    }
}
