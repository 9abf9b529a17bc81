//! The credential of a request: a key or a token. It has no way to be shown.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest as _, Sha256};

use super::Refusal;

/// What a request shows.
pub(super) struct Credential<'request> {
    text: &'request str,
    digest: [u8; 32],
}

impl<'request> Credential<'request> {
    /// The one credential of a request.
    pub(super) fn of(headers: &'request HeaderMap) -> Result<Self, Refusal> {
        let mut sent = headers.get_all(AUTHORIZATION);
        let header = sent.next().ok_or(Refusal::Missing)?;
        if sent.next().is_some() {
            return Err(Refusal::Unreadable);
        }
        let text = header.to_str().ok();
        let (scheme, text) = text
            .and_then(|text| text.split_once(' '))
            .ok_or(Refusal::Unreadable)?;
        let text = text.trim_matches(' ');
        let is_one = !text.is_empty() && !text.contains([' ', '\t', ',']);
        if !scheme.eq_ignore_ascii_case("bearer") || !is_one {
            return Err(Refusal::Unreadable);
        }
        let digest = Sha256::digest(text.as_bytes()).into();
        Ok(Self { text, digest })
    }

    /// As it was sent.
    pub(super) fn text(&self) -> &'request str {
        self.text
    }

    /// Its SHA-256.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn read(sent: &[&str]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Credential::of(&headers)
            .map(|credential| credential.text().to_owned())
            .map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn one_bearer_credential_is_read() {
        for good in [
            "Bearer a.b-c_d~e+f/g=",
            "bearer a.b-c_d~e+f/g=",
            "BEARER  a.b-c_d~e+f/g= ",
        ] {
            assert_eq!(read(&[good]).unwrap(), "a.b-c_d~e+f/g=", "{good}");
        }
        assert_eq!(read(&[]).unwrap_err(), "Missing");
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "a",
            "Bearer a b",
            "Bearer a,b",
            "Bearer\ta",
        ] {
            assert_eq!(read(&[bad]).unwrap_err(), "Unreadable", "{bad:?}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"]).unwrap_err(), "Unreadable");
    }
}
