//! Processes: the bench's own roles, and what the kernel tells of any.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::arguments::Role;

/// The kernel's clock tick: `USER_HZ` is 100 on every Linux.
const TICK_MS: f64 = 10.0;

/// Another process of this binary. Killed when dropped; it ends by itself when this one is gone.
#[derive(Debug)]
pub(crate) struct RoleProcess {
    child: Child,
    url: String,
}

impl RoleProcess {
    /// Starts it and waits until it listens.
    pub(crate) fn start(role: Role, participants: &str) -> Result<Self> {
        Self::start_with(role, &["--participants", participants])
    }

    /// The same, with these arguments.
    pub(crate) fn start_with(role: Role, arguments: &[&str]) -> Result<Self> {
        let name = match role {
            Role::Participants => "participants",
            Role::Proxy => "proxy",
            Role::Relay => "relay",
            Role::Collector => "collector",
        };
        let child = Command::new(std::env::current_exe()?)
            .args(["--bench", "--role", name])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut started = Self {
            child,
            url: String::new(),
        };
        let stdout = started.child.stdout.take().context("its stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the role {name} did not start");
        started.url = format!("http://{}", line.trim());
        Ok(started)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Tells the bench where this role listens, and ends this process when the bench has ended.
pub(crate) fn announce(address: impl Display) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()?;
    std::thread::spawn(|| {
        let mut nothing = Vec::new();
        // Whether it closes or breaks, the bench is gone.
        std::io::stdin().read_to_end(&mut nothing).ok();
        std::process::exit(0);
    });
    Ok(())
}

/// The CPU time of processes, each by its id.
pub(crate) type CpuTimes = HashMap<u32, f64>;

/// The CPU time that each of these has used so far, in milliseconds. Those that are not processes
/// of this machine are left out.
pub(crate) fn cpu_ms(processes: impl IntoIterator<Item = u32>) -> CpuTimes {
    processes
        .into_iter()
        .filter_map(|process| Some((process, cpu_ms_of(process)?)))
        .collect()
}

/// What was used between two looks. A process that came in between counts from its beginning.
pub(crate) fn cpu_ms_between(before: &CpuTimes, after: &CpuTimes) -> f64 {
    after
        .iter()
        .map(|(process, ms)| ms - before.get(process).unwrap_or(&0.0))
        .sum()
}

fn cpu_ms_of(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; utime and stime are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_MS)
}

/// A line of `/proc/PID/status` in kB, as MB: `VmHWM` is the most memory a process ever held,
/// `VmRSS` what it holds now.
pub(crate) fn memory_mb(process: u32, line: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let kilobytes = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .and_then(|text| text.trim().strip_suffix(" kB"))
        .with_context(|| format!("no {line}"))?;
    Ok(kilobytes.trim().parse::<f64>()? / 1024.0)
}
