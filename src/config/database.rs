//! Where the database is.

use std::fmt;

use url::Url;

use super::secrets::MASK;
use super::section::Section;

/// `database`: where sagas are kept.
#[derive(Clone, Debug)]
pub struct Database {
    /// The database.
    pub url: DatabaseUrl,
    /// The most connections held open.
    pub pool: u32,
    /// Whether a start brings the schema up to date, or only checks that it is.
    pub migrate: bool,
}

/// The kinds of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file beside the coordinator, or memory.
    Sqlite,
    /// PostgreSQL, or what speaks its protocol.
    Postgres,
    /// MariaDB or MySQL.
    MySql,
}

/// A database's URL, checked. What it shows of itself has no password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    kind: DatabaseKind,
}

impl DatabaseUrl {
    /// Reads `sqlite://FILE`, `sqlite::memory:`, `postgres://…` or `mysql://…`.
    ///
    /// # Errors
    /// With what is wrong in words, and nothing of the URL in them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let kind = match text.split_once(':') {
            Some(("sqlite", rest)) => {
                if rest.trim_start_matches('/').is_empty() {
                    return Err("names no SQLite file".to_owned());
                }
                return Ok(Self {
                    text: text.to_owned(),
                    kind: DatabaseKind::Sqlite,
                });
            }
            Some(("postgres" | "postgresql", _)) => DatabaseKind::Postgres,
            Some(("mysql" | "mariadb", _)) => DatabaseKind::MySql,
            Some(_) | None => {
                return Err("must begin with sqlite:, postgres: or mysql:".to_owned());
            }
        };
        let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
        if !url.has_host() {
            return Err("names no host".to_owned());
        }
        let text = match text.strip_prefix("mariadb:") {
            Some(rest) => format!("mysql:{rest}"),
            None => text.to_owned(),
        };
        Ok(Self { text, kind })
    }

    /// The URL as the driver takes it, password included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Which kind of database it is.
    #[must_use]
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// The URL without its password.
    #[must_use]
    pub fn masked(&self) -> String {
        masked(&self.text)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.masked())
    }
}

/// Passwords stand between the colon and the last `@` of the authority, or in the query.
fn masked(text: &str) -> String {
    let (head, query) = match text.split_once('?') {
        Some((head, query)) => (head, Some(query)),
        None => (text, None),
    };
    let mut shown = match head.split_once("://") {
        Some((scheme, rest)) => {
            match rest
                .rsplit_once('@')
                .map(|(user, host)| (user.split_once(':'), host))
            {
                Some((Some((user, _)), host)) => format!("{scheme}://{user}:{MASK}@{host}"),
                Some((None, _)) | None => head.to_owned(),
            }
        }
        None => head.to_owned(),
    };
    for (index, pair) in query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .enumerate()
    {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if name.contains("password") => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(MASK);
            }
            Some(_) | None => shown.push_str(pair),
        }
    }
    shown
}

pub(super) const DEFAULT_URL: &str = "sqlite://./amends.db";

pub(super) fn read(section: &mut Section) -> Database {
    let default = DatabaseUrl {
        text: DEFAULT_URL.to_owned(),
        kind: DatabaseKind::Sqlite,
    };
    let url = section.read("url", (default, DEFAULT_URL), DatabaseUrl::parse);
    section.mask("url", masked);
    Database {
        url,
        pool: section.read("pool", (20, "20"), super::quantity::count(1..=10_000)),
        migrate: section.read("migrate", (true, "true"), super::quantity::truth),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        for (text, shown) in [
            ("postgres://u:p@h:5432/d", "postgres://u:***@h:5432/d"),
            (
                "postgres://u:p@x@h/d?sslmode=require",
                "postgres://u:***@h/d?sslmode=require",
            ),
            (
                "postgres://h/d?user=u&password=p&x=1",
                "postgres://h/d?user=u&password=***&x=1",
            ),
            ("mysql://root@h/d", "mysql://root@h/d"),
            (
                "sqlite://./amends.db?mode=rwc",
                "sqlite://./amends.db?mode=rwc",
            ),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert_eq!(url.masked(), shown);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn kinds_are_told_by_the_scheme() {
        assert_eq!(
            DatabaseUrl::parse("sqlite::memory:").unwrap().kind(),
            DatabaseKind::Sqlite
        );
        assert_eq!(
            DatabaseUrl::parse("postgresql://h/d").unwrap().kind(),
            DatabaseKind::Postgres
        );
        assert_eq!(
            DatabaseUrl::parse("mariadb://h/d").unwrap().as_str(),
            "mysql://h/d"
        );
        for text in [
            "",
            "amends.db",
            "sqlite://",
            "oracle://h/d",
            "postgres:///d",
        ] {
            assert!(DatabaseUrl::parse(text).is_err(), "{text}");
        }
    }
}
