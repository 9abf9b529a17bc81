//! An SQS emulator of a test's own, which the test may stop and start: `moto_server` from PyPI, in
//! the virtual environment that tests/run makes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::free_port;

/// How long the emulator may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who we are to the emulator, which lets everybody in: what the AWS libraries need to go on at all.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// Fails a test in a process that has no [`ENVIRONMENT`]: a process may not give itself one.
///
/// # Panics
/// When there is none.
pub fn needs_environment() {
    let exports: Vec<String> = ENVIRONMENT
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert!(
        std::env::var_os("AWS_ACCESS_KEY_ID").is_some() && std::env::var_os("AWS_REGION").is_some(),
        "run it by tests/run, or export {}",
        exports.join(" ")
    );
}

/// A private emulator on a port of its own, gone with the value. It keeps everything in memory: what
/// was in it is gone when it stops.
#[derive(Debug)]
pub struct PrivateMoto {
    directory: TempDir,
    port: u16,
    running: Option<Child>,
}

impl PrivateMoto {
    /// Finds a port, and starts nothing yet.
    ///
    /// # Panics
    /// When there is no temporary directory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
            running: None,
        }
    }

    /// Starts a new one.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start_new() -> Self {
        let mut server = Self::new();
        server.start();
        server
    }

    /// Starts it, on the same port every time.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "moto runs already");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a file");
        let mut running = Command::new(program())
            .arg(root().join("tests/sqs/emulator.py"))
            .args(["-H", "127.0.0.1", "-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a Python with moto; tests/run installs it");
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = running.try_wait().expect("a process of ours");
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "moto did not start: {ended:?}\n{}",
                std::fs::read_to_string(self.log()).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.running = Some(running);
    }

    /// Stops it as a crash would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) {
        let mut running = self.running.take().expect("moto runs");
        running.kill().expect("a process of ours");
        running.wait().expect("a process of ours");
    }

    /// Where it is, whether it runs or not.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many calls it has answered.
    #[must_use]
    pub fn calls(&self) -> usize {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        log.matches("\"POST / HTTP").count()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Default for PrivateMoto {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PrivateMoto {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().ok();
            running.wait().ok();
        }
    }
}

/// The Python that it is installed for.
fn program() -> PathBuf {
    let named = std::env::var_os("AMENDS_TEST_MOTO").map(PathBuf::from);
    named.unwrap_or_else(|| root().join("target/moto/bin/python"))
}

/// This crate lies in tests/support.
fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
