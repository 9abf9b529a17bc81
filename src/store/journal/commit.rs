//! What a commit came to, whichever database made it.

use sea_orm::DbErr;

use super::lookup::Seen;
use crate::store::StoreError;

/// What a commit that went through came to.
pub(super) struct Done {
    /// Starts that were left out, because their key is another saga's.
    pub(super) seen: Seen,
    /// Rows written.
    pub(super) rows: usize,
    /// Facts written.
    pub(super) events: u64,
}

/// Why a commit did not go through, or may not have.
pub(super) enum CommitError {
    /// The epoch is no longer current. Nothing was written.
    Fenced,
    /// The database failed.
    Failed(StoreError),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<DbErr> for CommitError {
    fn from(error: DbErr) -> Self {
        Self::Failed(error.into())
    }
}
