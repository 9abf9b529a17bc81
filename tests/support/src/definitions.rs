//! Definitions in a directory of a test's own.

use std::path::Path;

use tempfile::TempDir;

/// A directory of definitions; gone with the value.
#[derive(Debug)]
pub struct Definitions {
    directory: TempDir,
}

impl Definitions {
    /// A directory with one file for each document.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn of<T: AsRef<str>>(documents: &[T]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (number, document) in documents.iter().enumerate() {
            let path = directory.path().join(format!("{number}.yaml"));
            std::fs::write(path, document.as_ref()).expect("a definition written");
        }
        Self { directory }
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}
