//! What the signatures of tokens are checked with: one public key, or a set of them by name. A key
//! says by its kind which algorithm it is for, so a token cannot choose.

use std::collections::HashMap;
use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

/// The shortest RSA key that is taken, in bytes of its modulus: 2048 bits.
const RSA_BYTES_MIN: usize = 256;
/// How long a public key on the curve P-256 is, uncompressed.
const P256_BYTES: usize = 65;
/// The most keys that are taken of a set.
const KEYS_MAX: usize = 100;

/// A public key, and the one algorithm that it is for.
#[derive(Clone)]
pub struct VerificationKey {
    /// RS256, ES256 or EdDSA.
    pub algorithm: Algorithm,
    /// The key.
    pub key: DecodingKey,
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(formatter)
    }
}

/// The keys that a token's signature may be checked with.
#[derive(Clone, Debug)]
pub enum VerificationKeys {
    /// One, whatever the token says of its key.
    One(VerificationKey),
    /// The one that the token names by its `kid`.
    Named(HashMap<String, VerificationKey>),
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No public key in PEM.
    #[error("holds no public key in PEM: RSA of at least 2048 bits, P-256 or Ed25519")]
    NoPublicKey,
    /// A private key, which has no business here.
    #[error("holds a private key, and only the public one is needed")]
    Private,
    /// No JSON, or no set of keys.
    #[error("is no JWKS")]
    NoSet(#[source] serde_json::Error),
    /// A set of none that can be used.
    #[error("holds no key that can be used: one with a kid, for RS256, ES256 or EdDSA")]
    NoneUsable,
}

impl VerificationKeys {
    /// One public key in PEM.
    ///
    /// # Errors
    /// When it is none, or not of a kind that is taken.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if String::from_utf8_lossy(pem).contains("PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        let readers: [fn(&[u8]) -> _; 3] = [
            DecodingKey::from_rsa_pem,
            DecodingKey::from_ec_pem,
            DecodingKey::from_ed_pem,
        ];
        let found = readers.into_iter().find_map(|read| read(pem).ok());
        let key = found.and_then(usable).ok_or(KeyError::NoPublicKey)?;
        Ok(Self::One(key))
    }

    /// A set of keys as issuers serve it. What is in it for others (other algorithms, encryption)
    /// is passed over.
    ///
    /// # Errors
    /// When it is none, or nothing in it is of use.
    pub fn from_jwks(json: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(KeyError::NoSet)?;
        let keys = set.keys.into_iter().take(KEYS_MAX).filter_map(named);
        let keys: HashMap<_, _> = keys.collect();
        if keys.is_empty() {
            return Err(KeyError::NoneUsable);
        }
        Ok(Self::Named(keys))
    }
}

/// The key of a set, under its name.
fn named(json: Value) -> Option<(String, VerificationKey)> {
    let jwk = serde_json::from_value::<Jwk>(json).ok()?;
    let common = &jwk.common;
    let is_to_sign = |purpose: &PublicKeyUse| *purpose == PublicKeyUse::Signature;
    let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
    if !common.public_key_use.as_ref().is_none_or(is_to_sign)
        || !common.key_operations.as_ref().is_none_or(verifies)
        || is_on_another_curve(&jwk.algorithm)
    {
        return None;
    }
    let key = usable(DecodingKey::from_jwk(&jwk).ok()?)?;
    let said = common.key_algorithm.map(|said| said.to_string());
    let is_for_it = said.is_none_or(|said| said == format!("{:?}", key.algorithm));
    let name = jwk.common.key_id.filter(|_| is_for_it)?;
    Some((name, key))
}

fn is_on_another_curve(parameters: &AlgorithmParameters) -> bool {
    if let AlgorithmParameters::EllipticCurve(curve) = parameters {
        return curve.curve != EllipticCurve::P256;
    }
    if let AlgorithmParameters::OctetKeyPair(curve) = parameters {
        return curve.curve != EllipticCurve::Ed25519;
    }
    false
}

/// The key with its algorithm, when it is one that is taken: never one that is a shared secret.
fn usable(key: DecodingKey) -> Option<VerificationKey> {
    let length = match key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.len(),
    };
    let algorithm = match key.family() {
        AlgorithmFamily::Rsa if length >= RSA_BYTES_MIN => Algorithm::RS256,
        AlgorithmFamily::Ec if length == P256_BYTES => Algorithm::ES256,
        AlgorithmFamily::Ed => Algorithm::EdDSA,
        AlgorithmFamily::Rsa | AlgorithmFamily::Ec | AlgorithmFamily::Hmac => return None,
    };
    Some(VerificationKey { algorithm, key })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn taken(mut key: Value, more: Value) -> Option<Algorithm> {
        let (key, more) = (key.as_object_mut().unwrap(), more);
        key.insert("kid".to_owned(), json!("k"));
        key.extend(more.as_object().unwrap().clone());
        let set = json!({ "keys": [ key ] }).to_string();
        match VerificationKeys::from_jwks(set.as_bytes()) {
            Ok(VerificationKeys::Named(keys)) => Some(keys["k"].algorithm),
            Ok(VerificationKeys::One(key)) => panic!("{key:?}"),
            Err(KeyError::NoneUsable) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn ed() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": X })
    }

    fn ec(curve: &str, x: &str) -> Value {
        json!({ "kty": "EC", "crv": curve, "x": x, "y": x })
    }

    fn rsa(bytes: usize) -> Value {
        let n = jsonwebtoken::jwk::Jwk::from_decoding_key(
            &DecodingKey::from_rsa_raw_components(&vec![0xc5; bytes], &[1, 0, 1]),
            Some(Algorithm::RS256),
        );
        let mut jwk = serde_json::to_value(n.unwrap()).unwrap();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk
    }

    #[test]
    fn a_key_is_for_one_algorithm() {
        let nothing = json!({});
        assert_eq!(taken(ed(), nothing.clone()), Some(Algorithm::EdDSA));
        assert_eq!(
            taken(ec("P-256", X), nothing.clone()),
            Some(Algorithm::ES256)
        );
        assert_eq!(taken(rsa(256), nothing.clone()), Some(Algorithm::RS256));
        let said = json!({ "alg": "EdDSA", "use": "sig", "key_ops": ["verify"] });
        assert_eq!(taken(ed(), said), Some(Algorithm::EdDSA));
    }

    #[test]
    fn what_is_for_something_else_is_passed_over() {
        for more in [
            json!({ "use": "enc" }),
            json!({ "alg": "ES256" }),
            json!({ "alg": "HS256" }),
            json!({ "key_ops": ["sign"] }),
            json!({ "kid": null }),
            json!({ "crv": "P-256" }),
        ] {
            assert_eq!(taken(ed(), more.clone()), None, "{more}");
        }
        let more = json!({});
        assert_eq!(taken(json!({ "kty": "oct", "k": X }), more.clone()), None);
        assert_eq!(taken(ec("P-384", X), more.clone()), None);
        assert_eq!(taken(rsa(128), more.clone()), None);
        assert_eq!(taken(rsa(256), json!({ "alg": "RS512" })), None);
        assert_eq!(taken(json!({ "kty": "new" }), more), None);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bad in ["", "{}", "[]", "{\"keys\": 1}"] {
            let error = VerificationKeys::from_jwks(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, KeyError::NoSet(_)), "{bad}");
        }
    }
}
