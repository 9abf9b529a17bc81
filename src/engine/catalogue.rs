//! The definitions that sagas can be started from: read from a directory or published over the API,
//! kept in the store for ever, because a running saga keeps the version that it started with, and
//! held in memory, compiled.
//!
//! Whoever reads finds what is in memory and waits for nobody. What another replica published or
//! paused is learnt within [`REFRESH_EVERY`], and at once where a definition is asked for that is
//! not in memory.

mod directory;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::{Actor, clock};
use crate::definition::{self, Definition, Surroundings};
use crate::saga::Timestamp;
use crate::store::{self, AuditAction, DefinitionState, NewDefinition, Source, Store, StoreError};

pub use directory::FileProblem;

/// How often a replica looks for what others have published and paused.
pub const REFRESH_EVERY: Duration = Duration::from_secs(2);

/// The published definitions, every version of each.
#[derive(Debug)]
pub struct Catalogue {
    store: Store,
    versions: RwLock<Arc<Versions>>,
    /// How many refreshes were ever asked for.
    tickets: AtomicU64,
    /// Held while the store is read: the tickets that had been drawn when the newest refresh that
    /// went well began.
    refreshed: tokio::sync::Mutex<u64>,
}

/// Every version that was read.
#[derive(Clone, Debug, Default)]
struct Versions {
    names: BTreeMap<String, BTreeMap<u32, Published>>,
    /// Those that this release cannot read, so that each is told of once.
    unreadable: BTreeSet<(String, u32)>,
}

/// A published version.
#[derive(Clone, Debug)]
pub struct Published {
    /// The definition.
    pub definition: Arc<Definition>,
    /// When it was published.
    pub published_at: Timestamp,
    /// Whether it takes no new starts.
    pub paused: bool,
    /// Where it was published from.
    pub source: Source,
}

/// What a start finds under a name and a version.
#[derive(Clone, Debug)]
pub(super) enum Startable {
    /// A definition to start from.
    Yes(Arc<Definition>),
    /// It is there, and takes no new starts.
    Paused,
    /// It is not in memory.
    Unknown,
}

/// What publishing came to.
#[derive(Clone, Debug)]
pub enum Publication {
    /// It was not there before.
    New(Published),
    /// The same was published before.
    Same(Published),
    /// Another document is published under that name and version; a published version never
    /// changes.
    Conflict,
}

/// Why the catalogue could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The directory of definitions cannot be read.
    #[error("the definitions in {} cannot be read", path.display())]
    Unreadable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Catalogue {
    /// Reads every definition of a directory, publishes those that are good and not published yet,
    /// and then takes all that the store has. A bad file keeps none of the others from being
    /// served; what was found is in the list that comes along.
    ///
    /// # Errors
    /// When the directory exists and cannot be read, or the database fails.
    pub async fn load(
        store: &Store,
        directory: &Path,
        surroundings: &Surroundings,
    ) -> Result<(Self, Vec<FileProblem>), CatalogueError> {
        let files = directory::read_directory(directory)?;
        let sources = files
            .iter()
            .map(|(path, source)| (path.as_path(), source.as_str()));
        let (good, mut problems) = directory::check_files(sources, surroundings);
        let catalogue = Self {
            store: store.clone(),
            versions: RwLock::default(),
            tickets: AtomicU64::new(0),
            refreshed: tokio::sync::Mutex::new(0),
        };
        for (path, definition) in good {
            let own = Actor::system();
            match catalogue
                .write(&definition, Source::Directory, &own)
                .await?
            {
                store::Published::New | store::Published::Same => {}
                store::Published::Conflict => {
                    problems.push(directory::conflict(&path, &definition));
                }
            }
        }
        catalogue.refresh().await?;
        Ok((catalogue, problems))
    }

    /// A version, or the newest, as far as this replica knows.
    #[must_use]
    pub fn find(&self, name: &str, version: Option<u32>) -> Option<Published> {
        let versions = self.versions.read();
        let versions = versions.names.get(name)?;
        match version {
            Some(version) => versions.get(&version).cloned(),
            None => versions
                .last_key_value()
                .map(|(_, published)| published.clone()),
        }
    }

    /// A version, or the newest; one that is not in memory is looked for in the store.
    ///
    /// # Errors
    /// When it is not in memory and the database does not answer.
    pub async fn look_up(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<Published>, StoreError> {
        if let Some(published) = self.find(name, version) {
            return Ok(Some(published));
        }
        self.refresh().await?;
        Ok(self.find(name, version))
    }

    /// Every definition by name, with its versions from oldest to newest.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Vec<Published>)> {
        let versions = self.versions.read();
        versions
            .names
            .iter()
            .map(|(name, versions)| (name.clone(), versions.values().cloned().collect()))
            .collect()
    }

    /// Every version of one definition, from oldest to newest.
    #[must_use]
    pub fn versions(&self, name: &str) -> Vec<Published> {
        let versions = self.versions.read();
        let versions = versions.names.get(name);
        versions.map_or_else(Vec::new, |all| all.values().cloned().collect())
    }

    /// What a start that names no version, or this one, begins from: without one it is the newest
    /// that is not paused.
    pub(super) fn startable(&self, name: &str, version: Option<u32>) -> Startable {
        let versions = self.versions.read();
        let Some(versions) = versions.names.get(name) else {
            return Startable::Unknown;
        };
        let found = match version {
            Some(version) => versions.get(&version),
            None => {
                let mut newest_first = versions.values().rev();
                let open = newest_first.find(|published| !published.paused);
                open.or_else(|| versions.values().next_back())
            }
        };
        match found {
            Some(published) if published.paused => Startable::Paused,
            Some(published) => Startable::Yes(Arc::clone(&published.definition)),
            None => Startable::Unknown,
        }
    }

    /// Publishes a definition that was checked, for `actor`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn publish(
        &self,
        definition: &Definition,
        actor: &Actor,
    ) -> Result<Publication, StoreError> {
        let written = self.write(definition, Source::Api, actor).await?;
        if written == store::Published::Conflict {
            return Ok(Publication::Conflict);
        }
        if written == store::Published::New {
            tracing::info!(definition = %definition.reference(), actor = actor.name, "published");
        }
        self.refresh().await?;
        let published = self.find(&definition.name, Some(definition.version));
        let published = published.ok_or(StoreError::Unreadable {
            column: "document",
            source: None,
        })?;
        Ok(if written == store::Published::New {
            Publication::New(published)
        } else {
            Publication::Same(published)
        })
    }

    /// Lets a version, or all of a name, take no new starts, or take them again. Answers with
    /// every version of the name, or nothing when there is no such version.
    ///
    /// # Errors
    /// When the database does not answer; nothing has changed then.
    pub async fn pause(
        &self,
        name: &str,
        version: Option<u32>,
        paused: bool,
        actor: &Actor,
    ) -> Result<Option<Vec<Published>>, StoreError> {
        let action = if paused {
            AuditAction::DefinitionPaused
        } else {
            AuditAction::DefinitionResumed
        };
        let record = actor
            .record(action, clock::now())
            .of_definition(name, version);
        let changed = self
            .store
            .pause_definition(name, version, paused, &record)
            .await?;
        let Some(changed) = changed else {
            return Ok(None);
        };
        if !changed.is_empty() {
            tracing::info!(definition = name, versions = ?changed, paused, actor = actor.name, "a pause was changed");
        }
        self.refresh().await?;
        Ok(Some(self.versions(name)))
    }

    /// Takes in what the store has by now. Several who ask at once share one look.
    ///
    /// # Errors
    /// When the database does not answer; what is in memory stays.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let mut refreshed = self.refreshed.lock().await;
        if *refreshed > ticket {
            // It began after we had asked.
            return Ok(());
        }
        let drawn = self.tickets.load(Ordering::Relaxed);
        let states = self.store.definitions().await?;
        let mut versions = Versions::clone(&Arc::clone(&self.versions.read()));
        let mut changed = false;
        for state in states {
            changed |= self.take(&mut versions, state).await?;
        }
        if changed {
            *self.versions.write() = Arc::new(versions);
        }
        *refreshed = drawn;
        Ok(())
    }

    /// Takes one version in; whether that changed anything.
    async fn take(
        &self,
        versions: &mut Versions,
        state: DefinitionState,
    ) -> Result<bool, StoreError> {
        let DefinitionState {
            name,
            version,
            published_at,
            paused,
            source,
        } = state;
        let known = versions.names.get_mut(&name);
        if let Some(known) = known.and_then(|known| known.get_mut(&version)) {
            let changed = known.paused != paused;
            known.paused = paused;
            return Ok(changed);
        }
        if versions.unreadable.contains(&(name.clone(), version)) {
            return Ok(false);
        }
        let Some(document) = self.store.definition_document(&name, version).await? else {
            return Ok(false);
        };
        // A long document takes a while, and this thread may have others to serve.
        let checked = tokio::task::spawn_blocking(move || definition::check(&document, None)).await;
        let Ok(checked) = checked else {
            // The runtime is going down.
            return Ok(false);
        };
        let Some(definition) = checked.definition else {
            // It was good when it was published, so a newer version of amends wrote it.
            tracing::error!(
                definition = %name,
                version,
                problems = ?checked.problems,
                "a published definition cannot be read; its sagas cannot go on here"
            );
            versions.unreadable.insert((name, version));
            return Ok(true);
        };
        let published = Published {
            definition,
            published_at,
            paused,
            source,
        };
        let of_name = versions.names.entry(name).or_default();
        of_name.insert(version, published);
        Ok(true)
    }

    async fn write(
        &self,
        definition: &Definition,
        source: Source,
        actor: &Actor,
    ) -> Result<store::Published, StoreError> {
        let document = definition.document.to_string();
        let new = NewDefinition {
            name: &definition.name,
            version: definition.version,
            document: &document,
            at: clock::now(),
            source,
        };
        let record = actor
            .record(AuditAction::DefinitionPublished, new.at)
            .of_definition(new.name, Some(new.version));
        self.store.publish_definition(&new, &record).await
    }
}
