//! A timer as exact as the kernel's.
//!
//! The runtime's own timers count in milliseconds. That would show in the times between packets,
//! which are some milliseconds themselves and must look exponential.

use std::io;
use std::os::fd::OwnedFd;

use phix_engine::units::Span;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer that is set anew each time.
pub(super) struct Alarm {
    descriptor: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// A timer that is not set.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types whose descriptor can change; \
                      that of an OwnedFd cannot"
        )]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE)?;
        Ok(Self { descriptor })
    }

    /// Rings after `wait`, and not at the time that was set before.
    pub(super) fn set(&self, wait: Span) -> io::Result<()> {
        // Zero would switch it off.
        let nanos = wait.as_nanos().max(1);
        let seconds = i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX);
        let value = Timespec { tv_sec: seconds, tv_nsec: (nanos % 1_000_000_000) as _ };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(self.descriptor.get_ref(), TimerfdTimerFlags::empty(), &setting)?;
        Ok(())
    }

    /// Waits until it rings.
    pub(super) async fn rung(&self) -> io::Result<()> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            let mut count = [0; 8];
            match rustix::io::read(self.descriptor.get_ref(), &mut count) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_once_for_each_setting_and_the_last_one_counts() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            alarm.set(Span::from_millis(3_600_000)).unwrap();
            alarm.set(Span::ZERO).unwrap();
            alarm.rung().await.unwrap();
            alarm.set(Span::from_micros(100)).unwrap();
            alarm.rung().await.unwrap();
        });
    }

    /// Of many times the least says how exact the timer is; the others, how busy the machine is.
    #[test]
    fn it_rings_within_less_than_a_millisecond() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (alarm, wait) = (Alarm::new().unwrap(), Span::from_micros(200));
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            loop {
                let set = std::time::Instant::now();
                alarm.set(wait).unwrap();
                alarm.rung().await.unwrap();
                let took = set.elapsed();
                assert!(took.as_nanos() >= u128::from(wait.as_nanos()), "it rings early");
                if took.as_micros() < 900 {
                    break;
                }
                assert!(std::time::Instant::now() < deadline, "it never rings in time");
            }
        });
    }
}
