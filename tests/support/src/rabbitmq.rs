//! A RabbitMQ server of a test's own, which the test may stop and start.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::free_port;

/// Debian's wrapper in `sbin` would start it as another user; these are the scripts themselves.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A private server: its own data, its own ports, gone with the value.
#[derive(Debug)]
pub struct PrivateRabbitMq {
    directory: TempDir,
    port: u16,
    distribution_port: u16,
    names_port: u16,
    running: Option<Running>,
}

/// The start script, which waits for the server, and the server's own process.
#[derive(Debug)]
struct Running {
    script: Child,
    server: u32,
}

impl PrivateRabbitMq {
    /// Finds ports and a folder, and starts nothing yet.
    ///
    /// # Panics
    /// When there is no temporary directory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
            distribution_port: free_port(),
            names_port: free_port(),
            running: None,
        }
    }

    /// Starts a new server.
    ///
    /// # Panics
    /// When RabbitMQ is not installed or does not start.
    #[must_use]
    pub fn start_new() -> Self {
        let mut server = Self::new();
        server.start();
        server
    }

    /// Starts the server, on the same ports and data every time.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&mut self) {
        assert!(self.running.is_none(), "RabbitMQ is running already");
        let out = std::fs::File::create(self.path("out")).expect("a file");
        let errors = out.try_clone().expect("a file");
        let mut script = self
            .command("rabbitmq-server")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .expect("rabbitmq-server");
        let begun = Instant::now();
        let server = loop {
            let ended = script.try_wait().expect("a process of ours");
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "RabbitMQ did not start: {ended:?}\n{}",
                self.said()
            );
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                let pid = std::fs::read_to_string(self.path("pid")).expect("the server's id");
                break pid.trim().parse().expect("a process id");
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        self.running = Some(Running { script, server });
    }

    /// Stops the server as its operator would.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&mut self) {
        self.stop_by("-TERM");
    }

    /// Stops the server as a crash would.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn crash(&mut self) {
        self.stop_by("-KILL");
    }

    /// The server closes all its connections, `times` times, and waits `interval` before each. Ends
    /// when the first round has begun to wait; the rest goes on in the server.
    ///
    /// # Panics
    /// When the server does not do it.
    pub fn close_connections(&self, interval: Duration, times: u32) {
        let closing = format!(
            "spawn(fun() -> [begin timer:sleep({}), \
             [rabbit_networking:close_connection(It, \"a test\") \
             || It <- rabbit_networking:connections()] end || _ <- lists:seq(1, {times})] end).",
            interval.as_millis()
        );
        self.control(&["eval", &closing]);
    }

    /// Runs `rabbitmqctl`, and answers what it says.
    ///
    /// # Panics
    /// When it fails.
    pub fn control(&self, arguments: &[&str]) -> String {
        let output = self
            .command("rabbitmqctl")
            .args(arguments)
            .output()
            .expect("rabbitmqctl");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {said}\n{errors}"
        );
        said
    }

    /// Where it is, whether it runs or not.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(Path::new(SCRIPTS).join(script));
        let ports = [
            ("RABBITMQ_NODE_PORT", self.port),
            ("RABBITMQ_DIST_PORT", self.distribution_port),
            ("ERL_EPMD_PORT", self.names_port),
        ];
        let paths = [
            // Its cookie is kept there.
            ("HOME", "."),
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_PID_FILE", "pid"),
            // None of these is there: what the machine's own server is told is not for this one.
            ("RABBITMQ_CONF_ENV_FILE", "environment"),
            ("RABBITMQ_CONFIG_FILE", "configuration"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
        ];
        command
            .current_dir(self.directory.path())
            .env(
                "RABBITMQ_NODENAME",
                format!("amends-{}@localhost", self.port),
            )
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_FLAGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .envs(ports.map(|(name, port)| (name, port.to_string())))
            .envs(paths.map(|(name, path)| (name, self.path(path))));
        command
    }

    fn stop_by(&mut self, signal: &str) {
        let mut running = self.running.take().expect("RabbitMQ runs");
        send(signal, running.server);
        let begun = Instant::now();
        while running.script.try_wait().expect("a process").is_none() {
            assert!(
                begun.elapsed() < PATIENCE,
                "RabbitMQ did not stop\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Default for PrivateRabbitMq {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PrivateRabbitMq {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            send("-KILL", running.server);
            running.script.wait().ok();
        }
        // The daemon that knows the names of Erlang's nodes was started with the first of them.
        Command::new("epmd")
            .arg("-kill")
            .env("ERL_EPMD_PORT", self.names_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .output()
            .ok();
    }
}

fn send(signal: &str, process: u32) {
    Command::new("kill")
        .args([signal, &process.to_string()])
        .output()
        .expect("kill");
}
