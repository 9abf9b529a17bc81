//! A PostgreSQL server of a test's own, which the test may stop and start.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::free_port;

/// A private server: its own data, its own port, gone with the value.
#[derive(Debug)]
pub struct PrivatePostgres {
    binaries: PathBuf,
    directory: TempDir,
    port: u16,
}

impl PrivatePostgres {
    /// Makes a data directory and starts a server on it. As root it runs as `postgres`, since the
    /// server refuses to be root.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn start_new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let server = Self {
            binaries: binaries(),
            directory,
            port: free_port(),
        };
        if is_root() {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(server.directory.path())
                .output();
            succeeded("chown", &owned.expect("chown"));
        }
        let data = server.data();
        let options = [
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "-D",
        ];
        server.run(
            "initdb",
            options.iter().map(Path::new).chain([data.as_path()]),
        );
        server.start();
        server
    }

    /// Starts the server again, on the same port and data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self) {
        let data = self.data();
        let directory = self.directory.path().display();
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -k {directory}",
            self.port
        );
        let log = self.directory.path().join("log");
        let arguments = ["-w", "-t", "60", "-o", options.as_str(), "-l"].map(Path::new);
        self.run(
            "pg_ctl",
            arguments
                .into_iter()
                .chain([log.as_path(), "-D".as_ref(), &data, "start".as_ref()]),
        );
    }

    /// Stops the server, cutting every connection; what is committed stays.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&self) {
        self.stop_by("fast");
    }

    /// Stops the server as a crash would.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn crash(&self) {
        self.stop_by("immediate");
    }

    /// The server's own database, where others can be made.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn stop_by(&self, mode: &str) {
        let data = self.data();
        let arguments = ["-w", "-t", "60", "-m", mode, "-D"].map(Path::new);
        self.run(
            "pg_ctl",
            arguments
                .into_iter()
                .chain([data.as_path(), "stop".as_ref()]),
        );
    }

    fn run<'a>(&self, program: &str, arguments: impl Iterator<Item = &'a Path>) {
        succeeded(program, &self.output(program, arguments));
    }

    fn output<'a>(&self, program: &str, arguments: impl Iterator<Item = &'a Path>) -> Output {
        let path = self.binaries.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args([
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--init-groups",
                    "--",
                ])
                .arg(path);
            command
        } else {
            Command::new(path)
        };
        // pg_ctl's server would keep a pipe open.
        let out = self.directory.path().join(format!("{program}.out"));
        let file = std::fs::File::create(&out).expect("a file");
        let errors = file.try_clone().expect("a file");
        command
            .args(arguments)
            .current_dir("/")
            .env_remove("PGDATA")
            .stdout(file)
            .stderr(errors);
        let status = command
            .status()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Output {
            status,
            stdout: std::fs::read(out).unwrap_or_default(),
            stderr: Vec::new(),
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let data = self.data();
        let arguments = ["-w", "-m", "immediate", "-D"].map(Path::new);
        // One that is stopped already says so, and that is well.
        self.output(
            "pg_ctl",
            arguments
                .into_iter()
                .chain([data.as_path(), "stop".as_ref()]),
        );
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.trim_ascii() == b"0"
}

/// Debian keeps them by version; elsewhere they are in the path.
fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|path| path.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_default()
}

fn succeeded(program: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{program}: {}\n{said}",
        output.status
    );
}
