//! The `amends` binary as a process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::api::{Api, send};
use crate::{eventually, free_port};

/// How long a start may take.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a coordinator is started with. In tests the binary is `env!("CARGO_BIN_EXE_amends")`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary.
    pub binary: PathBuf,
    /// `database.url`.
    pub database: String,
    /// `sagas.directory`.
    pub sagas: PathBuf,
    /// Participants over HTTP, by name and URL.
    pub participants: Vec<(String, String)>,
    /// More keys, each with its path: `engine.lease`.
    pub keys: Vec<(String, String)>,
    /// More variables of its environment, by their whole names.
    pub variables: Vec<(String, String)>,
    /// More arguments after `serve`.
    pub arguments: Vec<String>,
}

impl Settings {
    /// A coordinator on `database` with the definitions of `sagas`, and nothing else.
    #[must_use]
    pub fn new(binary: &str, database: &str, sagas: &Path) -> Self {
        Self {
            binary: binary.into(),
            database: database.to_owned(),
            sagas: sagas.to_owned(),
            participants: Vec::new(),
            keys: Vec::new(),
            variables: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// With a participant over HTTP.
    #[must_use]
    pub fn participant(mut self, name: &str, url: impl Into<String>) -> Self {
        self.participants.push((name.to_owned(), url.into()));
        self
    }

    /// With another key of the configuration.
    #[must_use]
    pub fn key(mut self, path: &str, value: impl Into<String>) -> Self {
        self.keys.push((path.to_owned(), value.into()));
        self
    }

    /// With another variable in its environment: `OTEL_SERVICE_NAME`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// What the binary prints of the configuration that it would be started with, and ends.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn printed_config(&self) -> String {
        let mut command = Command::new(&self.binary);
        command
            .args(["serve", "--print-config"])
            .args(&self.arguments);
        let output = command
            .env_clear()
            .envs(self.environment(free_port(), free_port()))
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        String::from_utf8_lossy(&output.stdout).into_owned() + &errors
    }

    fn environment(&self, api: u16, management: u16) -> Vec<(String, String)> {
        let variable = |path: &str| format!("AMENDS__{}", path.replace('.', "__").to_uppercase());
        let mut environment = vec![
            (
                "AMENDS__SERVER__LISTEN".to_owned(),
                format!("127.0.0.1:{api}"),
            ),
            (
                "AMENDS__SERVER__MANAGEMENT".to_owned(),
                format!("127.0.0.1:{management}"),
            ),
            ("AMENDS__DATABASE__URL".to_owned(), self.database.clone()),
            (
                "AMENDS__SAGAS__DIRECTORY".to_owned(),
                self.sagas.display().to_string(),
            ),
        ];
        for (name, url) in &self.participants {
            environment.push((variable(&format!("participants.{name}.url")), url.clone()));
        }
        environment.extend(
            self.keys
                .iter()
                .map(|(path, value)| (variable(path), value.clone())),
        );
        environment.extend(self.variables.iter().cloned());
        environment
    }
}

/// A running coordinator. Killed when dropped.
#[derive(Debug)]
pub struct Coordinator {
    child: Child,
    api: u16,
    management: u16,
    log: PathBuf,
    settings: Settings,
    directory: TempDir,
}

impl Coordinator {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    /// With its log, when it ends or is not ready in time.
    pub async fn start(settings: Settings) -> Self {
        // Another process may take the port first.
        for _ in 0..3 {
            let mut started = Self::spawn(settings.clone());
            if started.wait_ready().await {
                return started;
            }
            assert!(
                started.log().contains("os error 98"),
                "it ended:\n{}",
                started.log()
            );
        }
        panic!("every port was taken");
    }

    /// Starts one and does not wait.
    ///
    /// # Panics
    /// When there is no such binary.
    #[must_use]
    pub fn spawn(settings: Settings) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = directory.path().join("log");
        let (api, management) = (free_port(), free_port());
        let child = launch(&settings, directory.path(), &log, (api, management));
        Self {
            child,
            api,
            management,
            log,
            settings,
            directory,
        }
    }

    /// Starts the same again after it has ended: same settings, same ports, the log goes on.
    ///
    /// # Panics
    /// With its log, when it ends or is not ready in time.
    pub async fn restart(&mut self) {
        self.kill();
        let ports = (self.api, self.management);
        self.child = launch(&self.settings, self.directory.path(), &self.log, ports);
        assert!(self.wait_ready().await, "it ended:\n{}", self.log());
    }

    /// Whether it got ready; `false` when it ended instead.
    ///
    /// # Panics
    /// With its log, when neither happens in time.
    pub async fn wait_ready(&mut self) -> bool {
        let url = self.management_url("/health/ready");
        let client = self.api().client().clone();
        let begun = Instant::now();
        loop {
            if self.exit_status().is_some() {
                return false;
            }
            let answer = client
                .get(&url)
                .timeout(Duration::from_secs(5))
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return true;
            }
            assert!(
                begun.elapsed() < READY_WITHIN,
                "not ready in time:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A client of its API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(self.url())
    }

    /// Where its API is, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    /// The address of its API, for a client that speaks no proper HTTP.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.api)
    }

    /// Whether it says that it may get traffic, and what it says of itself: `ready`, `standby`,
    /// `database_unavailable`, `draining`. `None` when it says nothing.
    pub async fn readiness(&self) -> Option<(u16, String)> {
        let request = self
            .api()
            .client()
            .get(self.management_url("/health/ready"));
        let answer = send(request.timeout(Duration::from_secs(5))).await.ok()?;
        let word = answer.body["status"].as_str().unwrap_or_default();
        Some((answer.status.as_u16(), word.to_owned()))
    }

    /// Waits until it says this of itself.
    ///
    /// # Panics
    /// When it does not within `limit`.
    pub async fn wait_for(&self, word: &str, limit: Duration) {
        let what = format!("the coordinator to be {word}");
        eventually(&what, limit, async || {
            self.readiness().await.filter(|(_, said)| said == word)
        })
        .await;
    }

    /// A URL of its management port.
    #[must_use]
    pub fn management_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.management)
    }

    /// What its management port answers, and with which status.
    ///
    /// # Errors
    /// When nothing was answered.
    pub async fn management(&self, path: &str) -> reqwest::Result<(u16, String)> {
        let request = self.api().client().get(self.management_url(path));
        let answer = request.timeout(Duration::from_secs(10)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// All that it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process's id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// `kill -9`, and waits for its end.
    pub fn kill(&mut self) {
        // One that has ended already needs no killing.
        self.child.kill().ok();
        self.child.wait().expect("our own child");
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(status.expect("kill").success(), "kill -{name} {id}");
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// With its log, when it does not end within `limit`.
    pub async fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        let log = self.log.clone();
        let what = format!("the end of the process, see {}", log.display());
        eventually(&what, limit, async || {
            self.child.try_wait().expect("our own child")
        })
        .await
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the log of the coordinator ---\n{}", self.log());
        }
    }
}

fn launch(
    settings: &Settings,
    directory: &Path,
    log: &Path,
    (api, management): (u16, u16),
) -> Child {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file");
    let errors = file.try_clone().expect("a log file");
    let inherited = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        !name.starts_with("AMENDS_") && !name.starts_with("OTEL_") && name != "DATABASE_URL"
    });
    Command::new(&settings.binary)
        .arg("serve")
        .args(&settings.arguments)
        .current_dir(directory)
        .env_clear()
        .envs(inherited)
        .envs(settings.environment(api, management))
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", settings.binary.display()))
}
