//! Where the configuration comes from, and in which order: flags over `AMENDS__…` over customary
//! variables over the file over the defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::problem::ConfigProblem;
use super::tree::{Content, Node};

/// What begins the name of a variable that overrides a key.
const PREFIX: &str = "AMENDS__";

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "amends.yaml";

/// Everything that a configuration is made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `--config` names. Else `AMENDS_CONFIG`'s, else `amends.yaml` where there is
    /// one.
    pub file: Option<PathBuf>,
    /// Where `amends.yaml` is looked for.
    pub directory: PathBuf,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Flags, each a key's path (`database.url`) and its value.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// The process's environment and working directory.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let environment = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        Self {
            file,
            directory: PathBuf::from("."),
            environment,
            flags,
        }
    }

    /// The filter of the logs, from `RUST_LOG`; empty counts as unset, as everywhere.
    pub(super) fn log_filter(&self, problems: &mut Vec<ConfigProblem>) -> String {
        let filter = self
            .environment
            .get("RUST_LOG")
            .filter(|filter| !filter.is_empty());
        let Some(filter) = filter else {
            return "info".to_owned();
        };
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(filter) {
            problems.push(ConfigProblem {
                path: "RUST_LOG".to_owned(),
                message: format!("is not a log filter: {error}"),
            });
        }
        filter.clone()
    }

    /// Whether what happens is counted: a bench may want to know what that costs.
    pub(super) fn counts(&self) -> bool {
        self.environment
            .get("AMENDS_BENCH_METRICS")
            .is_none_or(|value| value != "off")
    }

    /// A variable that is a number from 1; as OpenTelemetry has it, one that is none is ignored.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let number = self.environment.get(name)?.parse().ok()?;
        (number > 0).then_some(number)
    }

    /// All layers as one tree, secrets in place.
    pub(super) fn merged(&self, problems: &mut Vec<ConfigProblem>) -> Node {
        let mut tree = self.read_file(problems);
        super::customary::put(&mut tree, &self.environment, problems);
        let mut overrides: Vec<(Vec<String>, &str, &str)> = self
            .environment
            .iter()
            .filter_map(|(name, value)| {
                let path = name.strip_prefix(PREFIX)?;
                Some((
                    path.split("__").map(str::to_lowercase).collect(),
                    name.as_str(),
                    value.as_str(),
                ))
            })
            .collect();
        // A whole map first, then its single keys; the items of a list in their order.
        overrides.sort_by_cached_key(|(path, ..)| {
            let place = |key: &String| (key.parse::<usize>().ok(), key.clone());
            (path.len(), path.iter().map(place).collect::<Vec<_>>())
        });
        for (path, value) in &self.flags {
            overrides.push((
                path.split('.').map(str::to_owned).collect(),
                "a flag",
                value,
            ));
        }
        for (path, origin, value) in overrides {
            let node = Node::from_override(value, origin);
            match node {
                Ok(node) if path.iter().all(|key| !key.is_empty()) => tree.set(&path, node),
                Ok(_) => problems.push(ConfigProblem {
                    path: origin.to_owned(),
                    message: "names no key: levels are two underscores apart".to_owned(),
                }),
                Err(error) => problems.push(ConfigProblem {
                    path: path.join("."),
                    message: format!("{error} ({origin})"),
                }),
            }
        }
        super::secrets::resolve(&mut tree, "", &self.environment, problems);
        tree
    }

    fn read_file(&self, problems: &mut Vec<ConfigProblem>) -> Node {
        let named = self
            .file
            .clone()
            .or_else(|| self.environment.get("AMENDS_CONFIG").map(PathBuf::from));
        let path = match named {
            Some(path) => path,
            None => {
                let path = self.directory.join(DEFAULT_FILE);
                if !path.exists() {
                    return Node::empty_map("".into());
                }
                path
            }
        };
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        let read =
            std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}"));
        let tree =
            read.and_then(|text| Node::from_yaml(&text, &name).map_err(|error| error.to_string()));
        match tree {
            Ok(
                tree @ Node {
                    content: Content::Map(_),
                    ..
                },
            ) => return tree,
            Ok(Node {
                content: Content::Null,
                ..
            }) => {}
            Ok(_) => problems.push(ConfigProblem {
                path: path.display().to_string(),
                message: "must be a map of keys".to_owned(),
            }),
            Err(message) => {
                problems.push(ConfigProblem {
                    path: path.display().to_string(),
                    message,
                });
            }
        }
        Node::empty_map("".into())
    }
}
