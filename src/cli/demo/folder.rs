//! A folder of the demo's own, removed when it ends.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;

/// A folder that only this user can read. Removed when dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes one under the system's folder for such things.
    pub(super) fn make() -> Result<Self, CliError> {
        let name = format!("amends-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|source| CliError::io(format!("{} cannot be made", path.display()), source))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes files into a folder within it, and says where that is.
    pub(super) fn write(&self, folder: &str, files: &[(&str, &str)]) -> Result<PathBuf, CliError> {
        let directory = self.0.join(folder);
        let written = std::fs::create_dir(&directory).and_then(|()| {
            files
                .iter()
                .try_for_each(|(name, text)| std::fs::write(directory.join(name), text))
        });
        match written {
            Ok(()) => Ok(directory),
            Err(source) => Err(CliError::io(
                format!("{} cannot be written", directory.display()),
                source,
            )),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("amends: {} was not removed: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_removed_with_what_is_in_it() {
        let folder = Folder::make().unwrap();
        let path = folder.path().to_owned();
        let written = folder.write("sagas", &[("a.yaml", "a")]).unwrap();
        assert!(written.join("a.yaml").is_file());
        drop(folder);
        assert!(!path.exists());
    }
}
