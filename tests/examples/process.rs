//! An example as a process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running example. Killed when dropped, as a crash would.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(mut command: Command, directory: &Path) -> Self {
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let child = command
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
        Self { child }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a participant says of itself when it is not as expected.
pub(crate) fn log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// Where an example lies.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/participants")
        .join(name)
}

/// What `tests/run` has installed: where the variable says, else below `target/`.
pub(crate) fn installed(variable: &str, below_target: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("target")
                .join(below_target)
        },
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "{} is missing; tests/run makes it",
        path.display()
    );
    path
}
