//! What a server process has used, from the process's own accounting in `/proc`.

use std::{fs, time::Duration};

/// Linux reports CPU times in units of 10 ms to user space, whatever its internal clock.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time and memory of a process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel for this process (its system calls).
    pub system: Duration,
    /// Resident memory now.
    pub resident_bytes: u64,
    /// Largest resident memory since the process started.
    pub resident_peak_bytes: u64,
}

impl ProcessUsage {
    /// Reads the accounting of process `pid`.
    ///
    /// # Errors
    /// A sentence for the user when there is no such process or this is not Linux.
    pub fn of(pid: u32) -> Result<Self, String> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path)
                .map_err(|e| format!("cannot read {path}: {e}; is {pid} the server's process id?"))
        };
        Self::parse(&read("stat")?, &read("status")?)
            .ok_or_else(|| format!("cannot understand /proc/{pid}/stat"))
    }

    /// User and system time together.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The second field is the command in parentheses and may contain spaces.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |index: usize| -> Option<Duration> {
            Some(Duration::from_millis(fields.get(index)?.parse::<u64>().ok()? * 1000 / TICKS_PER_SECOND))
        };
        let kilobytes = |key: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        Some(ProcessUsage {
            user: ticks(11)?,
            system: ticks(12)?,
            resident_bytes: kilobytes("VmRSS:")?,
            resident_peak_bytes: kilobytes("VmHWM:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_an_awkward_command_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 100 1 1";
        let status = "Name:\ta\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        let usage = ProcessUsage::parse(stat, status).unwrap();
        assert_eq!(usage.cpu(), Duration::from_secs(3));
        assert_eq!((usage.resident_bytes, usage.resident_peak_bytes), (1 << 20, 2 << 20));
        assert_eq!(ProcessUsage::parse("nonsense", status), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        assert!(ProcessUsage::of(std::process::id()).unwrap().resident_bytes > 0);
        assert!(ProcessUsage::of(u32::MAX).unwrap_err().contains("process id"));
    }
}
