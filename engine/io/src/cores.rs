//! Which core a thread runs on.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::StartError;

/// The cores that this thread may run on.
pub(crate) fn allowed_cpus() -> Result<Vec<usize>, StartError> {
    let set = sched_getaffinity(None)
        .map_err(|error| StartError::resources("the list of cores")(error.into()))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Keeps this thread on one core.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}
