//! `auth`: who may call the API, and as what.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;
use url::Url;

use super::section::Section;
use super::{KeyError, VerificationKeys, participant};

/// What somebody may do; each may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look at everything.
    Reader,
    /// Start sagas and signal them.
    Client,
    /// Put sagas right.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: &[Self] = &[Self::Reader, Self::Client, Self::Operator, Self::Admin];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Client => "client",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role that a word means.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|role| role.as_str() == word)
    }
}

/// `auth`: who may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Everybody who reaches it.
    None,
    /// Whoever shows one of these.
    Credentials {
        /// Keys, by their digests.
        keys: Vec<ApiKey>,
        /// Tokens of an issuer.
        jwt: Option<Jwt>,
    },
}

/// A key that somebody may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose it is, as the audit names them.
    pub name: String,
    /// What is known of it.
    pub digest: KeyDigest,
    /// The greatest of its roles, which holds the others.
    pub role: Role,
}

/// SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(super::secrets::MASK)
    }
}

/// The tokens that are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Their `iss`.
    pub issuer: String,
    /// One of these is in their `aud`.
    pub audience: Vec<String>,
    /// What their signatures are checked with.
    pub keys: JwtKeys,
    /// The claim that holds the roles: its name, or a path of names with dots between.
    pub roles_claim: String,
}

/// What the signatures of tokens are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// One public key, in a PEM file.
    Pem(PathBuf),
    /// A set of keys in a file, read again when it changes.
    JwksFile(PathBuf),
    /// A set of keys that the issuer serves, fetched again now and then.
    JwksUrl(Url),
}

/// The names that the audit has for nobody's credential.
const RESERVED_NAMES: [&str; 2] = ["anonymous", "system"];
/// The longest name of a key, in characters.
const NAME_CHARS_MAX: usize = 100;
/// SHA-256 of nothing: what the recipe makes of a variable that is not set.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The word of `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    None,
    Keys,
    Jwt,
}

/// Reads the section; also says whether anything of it is written out.
pub(super) fn read(section: &mut Section) -> (Auth, bool) {
    let is_written = ["mode", "keys", "jwt"].iter().any(|key| section.has(key));
    let (has_keys, has_jwt) = (section.has("keys"), section.has("jwt"));
    let mode = read_mode(section, !has_keys && !has_jwt);
    let keys = read_keys(section);
    let jwt = read_jwt(section);
    let contradiction = match mode {
        Some(Mode::None) if has_keys || has_jwt => {
            Some("is none, which lets everybody in, but keys or jwt are configured")
        }
        Some(Mode::Keys) if has_jwt => Some("is keys, but jwt is configured; leave mode out"),
        Some(Mode::Jwt) if has_keys => Some("is jwt, but keys are configured; leave mode out"),
        Some(Mode::Keys) if !has_keys => Some("is keys, but there are none"),
        Some(Mode::Jwt) if !has_jwt => Some("is jwt, but jwt is not configured"),
        Some(Mode::None | Mode::Keys | Mode::Jwt) | None => None,
    };
    if let Some(contradiction) = contradiction {
        section.problem("mode", contradiction);
    }
    let auth = if has_keys || has_jwt {
        Auth::Credentials { keys, jwt }
    } else {
        Auth::None
    };
    (auth, is_written)
}

/// The mode where it is written. What is in force by default is shown only when nothing else is
/// configured.
fn read_mode(section: &mut Section, by_default: bool) -> Option<Mode> {
    let parse = |text: &str| match text {
        "none" => Ok(Mode::None),
        "keys" => Ok(Mode::Keys),
        "jwt" => Ok(Mode::Jwt),
        _ => Err("must be none, keys or jwt".to_owned()),
    };
    if by_default {
        Some(section.read("mode", (Mode::None, "none"), parse))
    } else if section.has("mode") {
        section.read_optional("mode", parse)
    } else {
        section.ignore("mode");
        None
    }
}

fn read_keys(section: &mut Section) -> Vec<ApiKey> {
    if !section.has("keys") {
        section.ignore("keys");
        section.show("keys", Value::Null);
        return Vec::new();
    }
    let mut children = section.children("keys");
    let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
    let mut keys = Vec::new();
    for child in &mut children {
        let name = child.read_required("name", key_name);
        if name
            .as_ref()
            .is_some_and(|name| !names.insert(name.clone()))
        {
            child.problem("name", "is the name of another key");
        }
        let digest = child.read_required("sha256", key_digest);
        child.mask("sha256", |_| super::secrets::MASK.to_owned());
        if digest.is_some_and(|digest| !digests.insert(digest)) {
            child.problem("sha256", "is the digest of another key");
        }
        let roles = child.read_list("roles", role);
        let role = roles.and_then(|roles| roles.into_iter().max());
        if let Some(((name, digest), role)) = name.zip(digest).zip(role) {
            keys.push(ApiKey { name, digest, role });
        }
    }
    section.absorb_all("keys", children);
    keys
}

fn key_name(text: &str) -> Result<String, String> {
    let is_plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if !is_plain || text.chars().count() > NAME_CHARS_MAX {
        return Err(format!("must be 1 to {NAME_CHARS_MAX} characters"));
    }
    if RESERVED_NAMES.contains(&text) {
        return Err(format!("{text} is what the audit calls nobody's key"));
    }
    Ok(text.to_owned())
}

fn key_digest(text: &str) -> Result<KeyDigest, String> {
    let wrong = || "must be the SHA-256 of the key, 64 hexadecimal digits".to_owned();
    if text.eq_ignore_ascii_case(EMPTY) {
        return Err("is the digest of an empty key".to_owned());
    }
    let mut digest = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return Err(wrong());
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let digit = |at: usize| {
            let digit = pair
                .get(at)
                .and_then(|&digit| char::from(digit).to_digit(16));
            digit.and_then(|digit| u8::try_from(digit).ok())
        };
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(wrong());
        };
        *byte = high << 4 | low;
    }
    Ok(KeyDigest(digest))
}

fn role(text: &str) -> Result<Role, String> {
    Role::named(text).ok_or_else(|| "must be reader, client, operator or admin".to_owned())
}

fn read_jwt(section: &mut Section) -> Option<Jwt> {
    if !section.has("jwt") {
        section.ignore("jwt");
        section.show("jwt", Value::Null);
        return None;
    }
    let mut child = section.child("jwt");
    let issuer = child.read_required("issuer", filled);
    let audience = child.read_list("audience", filled);
    let (has_key, has_jwks) = (child.has("key"), child.has("jwks"));
    let key = child.read_optional("key", public_key_at);
    let jwks = child.read_optional("jwks", jwks_at);
    match (has_key, has_jwks) {
        (true, true) => child.problem("jwks", "stands beside key; only one of them can be"),
        (false, false) => child.problem("jwks", "is required, or key"),
        (true, false) | (false, true) => {}
    }
    let roles_claim = child.read("roles_claim", ("roles".to_owned(), "roles"), filled);
    section.absorb("jwt", child);
    Some(Jwt {
        issuer: issuer?,
        audience: audience?,
        keys: key.or(jwks)?,
        roles_claim,
    })
}

fn filled(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn public_key_at(path: &str) -> Result<JwtKeys, String> {
    keys_at(path, VerificationKeys::from_pem).map(JwtKeys::Pem)
}

fn jwks_at(text: &str) -> Result<JwtKeys, String> {
    if text.starts_with("http:") || text.starts_with("https:") {
        return jwks_url(text).map(JwtKeys::JwksUrl);
    }
    keys_at(text, VerificationKeys::from_jwks).map(JwtKeys::JwksFile)
}

fn keys_at(
    path: &str,
    read: fn(&[u8]) -> Result<VerificationKeys, KeyError>,
) -> Result<PathBuf, String> {
    let bytes = std::fs::read(path)
        .map_err(|error| format!("names a file that cannot be read: {error}"))?;
    read(&bytes)
        .map(|_| path.into())
        .map_err(|error| format!("names a file that {error}"))
}

/// Some issuers serve their keys at an address with a query.
fn jwks_url(text: &str) -> Result<Url, String> {
    let without_query = text.split_once('?').map_or(text, |(before, _)| before);
    participant::http_url(without_query)?;
    Url::parse(text).map_err(|error| format!("is not a URL: {error}"))
}
