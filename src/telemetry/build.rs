//! What this binary was built from.

/// The version in the manifest.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, as far as the build script could tell; else `unknown`. A `+` behind it: at that
/// commit or somewhere after it, in a build that is no release.
pub const COMMIT: &str = env!("AMENDS_BUILD_COMMIT");

/// How it was built: the profile, the target and the compiler.
pub const BUILD: &str = env!("AMENDS_BUILD");
