//! Tells the binary what it was built from. Never fails a build: what cannot be found out is
//! `unknown`.
#![expect(
    clippy::disallowed_methods,
    reason = "a build script is told everything by the environment"
)]

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    let of_cargo = |name: &str| env::var(name).unwrap_or_default();
    let released = of_cargo("PROFILE") == "release";
    let commit = env::var("AMENDS_COMMIT")
        .ok()
        .filter(|commit| !commit.trim().is_empty())
        .or_else(|| {
            let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
            Some(if released {
                commit
            } else {
                format!("{commit}+")
            })
        })
        .unwrap_or_else(|| "unknown".to_owned());
    let compiler = said(&of_cargo("RUSTC"), &["--version"]).unwrap_or_default();
    let build = format!("{} {} {compiler}", of_cargo("PROFILE"), of_cargo("TARGET"));
    println!("cargo::rustc-env=AMENDS_BUILD_COMMIT={}", commit.trim());
    println!("cargo::rustc-env=AMENDS_BUILD={}", build.trim());
    println!("cargo::rerun-if-env-changed=AMENDS_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    // The log is written at every commit, and would have everything compiled anew after each; while
    // one develops, the last checkout is near enough, and a `+` says so. A file that is not there
    // would be a change at every build.
    let watched: &[&str] = if released {
        &["logs/HEAD", "HEAD"]
    } else {
        &["HEAD"]
    };
    for file in watched {
        let path = said("git", &["rev-parse", "--git-path", file]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
            break;
        }
    }
}

/// What a program says on one line; nothing when it cannot be run, or is not pleased.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let line = said.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
