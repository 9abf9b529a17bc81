//! Credentials, good and forged.

use std::time::UNIX_EPOCH;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const AUDIENCE: &str = "amends";
pub(crate) const ROLES: [&str; 4] = ["reader", "client", "operator", "admin"];

pub(crate) const RSA: &[u8] = include_bytes!("keys/rsa_private.pem");
pub(crate) const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa_public.pem");
const EC: &[u8] = include_bytes!("keys/ec_private.pem");
pub(crate) const EC_PUBLIC: &[u8] = include_bytes!("keys/ec_public.pem");
const ED: &[u8] = include_bytes!("keys/ed_private.pem");
const STRANGER: &[u8] = include_bytes!("keys/stranger_private.pem");

/// Somebody who signs tokens.
#[derive(Clone, Copy)]
pub(crate) enum Signer {
    Rsa,
    Ec,
    Ed,
    /// Nobody whom the coordinator knows.
    Stranger,
}

impl Signer {
    pub(crate) const KNOWN: [Self; 3] = [Self::Rsa, Self::Ec, Self::Ed];

    pub(crate) fn algorithm(self) -> Algorithm {
        match self {
            Self::Rsa => Algorithm::RS256,
            Self::Ec | Self::Stranger => Algorithm::ES256,
            Self::Ed => Algorithm::EdDSA,
        }
    }

    fn key(self) -> EncodingKey {
        match self {
            Self::Rsa => EncodingKey::from_rsa_pem(RSA),
            Self::Ec => EncodingKey::from_ec_pem(EC),
            Self::Ed => EncodingKey::from_ed_pem(ED),
            Self::Stranger => EncodingKey::from_ec_pem(STRANGER),
        }
        .unwrap()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-1",
            Self::Ec => "ec-1",
            Self::Ed => "ed-1",
            Self::Stranger => "stranger-1",
        }
    }

    /// The public key as an issuer serves it.
    pub(crate) fn jwk(self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key(), self.algorithm()).unwrap();
        jwk.common.key_id = Some(self.name().to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    /// A token with these claims, named after the signer's key.
    pub(crate) fn sign(self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm());
        header.kid = Some(self.name().to_owned());
        self.sign_as(&header, claims)
    }

    pub(crate) fn sign_as(self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key()).unwrap()
    }
}

/// A set of keys as an issuer serves it.
pub(crate) fn jwks(signers: &[Signer]) -> Value {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys })
}

pub(crate) fn now_s() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// Claims that are good, for one who has these roles.
pub(crate) fn claims(roles: &Value) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now_s() + 600,
        "realm": { "roles": roles },
    })
}

/// The same with one claim another; null takes it away.
pub(crate) fn but(claim: &str, value: Value) -> Value {
    let mut claims = claims(&json!(["admin"]));
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(claim);
    } else {
        claims[claim] = value;
    }
    claims
}

/// Tokens that nobody should take, with what is wrong with each. `pem` is what a forger who knows
/// the public key of `signer` would use as a secret.
pub(crate) fn forged(signer: Signer, pem: &[u8]) -> Vec<(&'static str, String)> {
    let admin = claims(&json!(["admin"]));
    let good = signer.sign(&admin);
    let [head, body, signature] = parts(&good);
    let named = |algorithm| Header {
        kid: Some(signer.name().to_owned()),
        ..Header::new(algorithm)
    };
    let shared =
        |algorithm| encode(&named(algorithm), &admin, &EncodingKey::from_secret(pem)).unwrap();
    let later = parts(&signer.sign(&but("sub", json!("eve"))))[1].clone();
    // {"alg":"none","typ":"JWT"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let critical = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..named(signer.algorithm())
    };
    let mut forged = vec![
        ("alg none", format!("{none}.{body}.")),
        (
            "alg none with a signature",
            format!("{none}.{body}.{signature}"),
        ),
        ("HS256 with the public key", shared(Algorithm::HS256)),
        ("HS512 with the public key", shared(Algorithm::HS512)),
        ("no signature", format!("{head}.{body}.")),
        ("another's claims", format!("{head}.{later}.{signature}")),
        (
            "a wrong key",
            Signer::Stranger.sign_as(&named(Algorithm::ES256), &admin),
        ),
        ("critical", signer.sign_as(&critical, &admin)),
        ("no token", "a.b.c".to_owned()),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{good}.{signature}")),
    ];
    let hour = 3_600;
    for (what, claims) in [
        ("expired", but("exp", json!(now_s() - hour))),
        ("expires in words", but("exp", json!("tomorrow"))),
        ("never expires", but("exp", Value::Null)),
        ("nbf in the future", but("nbf", json!(now_s() + hour))),
        ("nbf in words", but("nbf", json!("now"))),
        ("another issuer", but("iss", json!("https://evil.example"))),
        ("no issuer", but("iss", Value::Null)),
        ("another audience", but("aud", json!("other"))),
        ("other audiences", but("aud", json!(["other", "amends2"]))),
        ("no audience", but("aud", Value::Null)),
        ("no subject", but("sub", Value::Null)),
        ("an empty subject", but("sub", json!(""))),
        ("a subject that is a number", but("sub", json!(1))),
        ("the coordinator's own name", but("sub", json!("system"))),
    ] {
        forged.push((what, signer.sign(&claims)));
    }
    forged
}

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// A key for a role; nobody would guess it.
pub(crate) fn key(role: &str) -> String {
    format!("key-of-{role}-9f86d081884c7d659a2feaa0c55ad015")
}

/// `auth.keys` with a key for each role.
pub(crate) fn configured_keys() -> String {
    let keys: Vec<_> = ROLES
        .iter()
        .map(|role| {
            let digest: String = Sha256::digest(key(role).as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            json!({ "name": format!("{role}-key"), "sha256": digest, "roles": [role] })
        })
        .collect();
    Value::from(keys).to_string()
}

/// `auth.jwt` with its keys in `source`: `jwks: …` or `key: …`.
pub(crate) fn configured_jwt(source: &str) -> String {
    format!("{{ issuer: '{ISSUER}', audience: {AUDIENCE}, {source}, roles_claim: realm.roles }}")
}
