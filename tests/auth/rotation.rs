//! Keys of tokens that change while the coordinator runs.

use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::json;
use support::scripted::{Reply, Scripted};

use crate::credentials::{
    EC_PUBLIC, RSA_PUBLIC, Signer, claims, configured_jwt, configured_keys, jwks, key,
};
use crate::{LONG, Scene, scene};

/// A token of that signer, new at every call.
fn token(signer: Signer) -> String {
    let mut claims = claims(&json!(["reader"]));
    claims["jti"] = json!(support::free_port());
    signer.sign(&claims)
}

async fn comes_to(scene: &Scene, signer: Signer, status: u16) {
    let what = format!("{} to be answered {status}", signer.name());
    support::eventually(&what, LONG, async || {
        (scene.lists(&token(signer)).await == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwks.json");
    let put = |text: &str| {
        let new = directory.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    put(&jwks(&[Signer::Rsa]).to_string());
    let source = format!("jwks: '{}'", file.display());
    let scene = scene(&[("auth.jwt", configured_jwt(&source))]).await;
    let old = token(Signer::Rsa);
    assert_eq!(scene.lists(&old).await, 200);
    assert_eq!(scene.lists(&token(Signer::Ed)).await, 401);

    put(&jwks(&[Signer::Rsa, Signer::Ed]).to_string());
    comes_to(&scene, Signer::Ed, 200).await;
    assert_eq!(scene.lists(&old).await, 200);

    // What is of no use leaves the keys in force.
    put("no keys");
    support::eventually("a word of it", LONG, async || {
        scene
            .coordinator
            .log()
            .contains("were not renewed")
            .then_some(())
    })
    .await;
    assert_eq!(scene.lists(&token(Signer::Ed)).await, 200);

    // A token that was good a moment ago is not when its key has gone.
    put(&jwks(&[Signer::Ed]).to_string());
    comes_to(&scene, Signer::Rsa, 401).await;
    assert_eq!(scene.lists(&old).await, 401);
    assert_eq!(scene.lists(&token(Signer::Ed)).await, 200);
}

#[tokio::test]
async fn a_key_in_pem_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("public.pem");
    std::fs::write(&file, RSA_PUBLIC).unwrap();
    let source = format!("key: '{}'", file.display());
    let scene = scene(&[("auth.jwt", configured_jwt(&source))]).await;
    assert_eq!(scene.lists(&token(Signer::Rsa)).await, 200);
    assert_eq!(scene.lists(&token(Signer::Ec)).await, 401);
    std::fs::write(&file, EC_PUBLIC).unwrap();
    comes_to(&scene, Signer::Ec, 200).await;
    assert_eq!(scene.lists(&token(Signer::Rsa)).await, 401);
}

/// An issuer that serves its keys, and whose keys can be changed.
struct Issuer {
    server: Scripted,
    serves: Arc<Mutex<Reply>>,
}

impl Issuer {
    fn start(reply: Reply) -> Self {
        let serves = Arc::new(Mutex::new(reply));
        let now = Arc::clone(&serves);
        let server = Scripted::start(move |_| now.lock().unwrap().clone());
        Self { server, serves }
    }

    fn serve(&self, signers: &[Signer]) {
        *self.serves.lock().unwrap() = Reply::json(200, &jwks(signers));
    }

    fn answer(&self, reply: Reply) {
        *self.serves.lock().unwrap() = reply;
    }

    fn source(&self) -> String {
        format!("jwks: '{}'", self.server.url("keys"))
    }

    fn fetched(&self) -> usize {
        self.server.asked().len()
    }
}

#[tokio::test]
async fn a_url_of_keys_is_fetched_again_for_a_key_that_is_not_known() {
    let issuer = Issuer::start(Reply::json(200, &jwks(&[Signer::Rsa])));
    let scene = scene(&[("auth.jwt", configured_jwt(&issuer.source()))]).await;
    let old = token(Signer::Rsa);
    assert_eq!(scene.lists(&old).await, 200);

    issuer.serve(&[Signer::Rsa, Signer::Ec]);
    comes_to(&scene, Signer::Ec, 200).await;
    assert_eq!(scene.lists(&old).await, 200);

    // An issuer in trouble takes no key away.
    for trouble in [
        Reply::json(503, &json!({})),
        Reply::http(302, &[("location", "/elsewhere")], ""),
        Reply::json(200, &json!({ "keys": [] })),
        Reply::Bytes(b"nonsense".to_vec()),
        Reply::http(200, &[], vec![b' '; 2 << 20]),
    ] {
        issuer.answer(trouble);
        let before = issuer.fetched();
        support::eventually("a fetch in vain", LONG, async || {
            assert_eq!(scene.lists(&token(Signer::Stranger)).await, 401);
            (issuer.fetched() > before).then_some(())
        })
        .await;
        assert_eq!(scene.lists(&token(Signer::Ec)).await, 200);
        assert_eq!(scene.lists(&old).await, 200);
    }

    issuer.serve(&[Signer::Ed]);
    comes_to(&scene, Signer::Ed, 200).await;
    assert_eq!(scene.lists(&old).await, 401);
    assert_eq!(scene.lists(&token(Signer::Ec)).await, 401);
}

/// Whoever sends tokens of keys that are not known does not make the coordinator a hammer.
#[tokio::test]
async fn an_issuer_is_not_asked_without_end() {
    let issuer = Issuer::start(Reply::json(200, &jwks(&[Signer::Rsa])));
    let scene = scene(&[("auth.jwt", configured_jwt(&issuer.source()))]).await;
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(scene.lists(&token(Signer::Stranger)).await, 401);
    }
    let seconds = begun.elapsed().as_secs();
    let fetched = u64::try_from(issuer.fetched()).unwrap();
    assert!(
        fetched <= 3 + seconds / 2,
        "{fetched} fetches in {seconds} s"
    );
}

#[tokio::test]
async fn an_issuer_that_is_away_at_the_start_is_waited_for() {
    let issuer = Issuer::start(Reply::json(503, &json!({})));
    let scene = scene(&[
        ("auth.jwt", configured_jwt(&issuer.source())),
        ("auth.keys", configured_keys()),
    ])
    .await;
    let answer = scene
        .call(Method::GET, "/api/v1/sagas", Some(&token(Signer::Rsa)))
        .await;
    assert_eq!(answer.status, 401, "{}", answer.body);
    assert_eq!(scene.lists(&key("reader")).await, 200);
    issuer.serve(&[Signer::Rsa]);
    comes_to(&scene, Signer::Rsa, 200).await;
}
