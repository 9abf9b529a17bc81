//! Every route, with every credential: exactly what the table says.

use std::collections::BTreeMap;

use amends::api::access::Access;
use amends::api::routes::{Verb, table};
use reqwest::Method;
use serde_json::json;
use support::api::Answer;

use crate::credentials::{
    EC_PUBLIC, ROLES, RSA_PUBLIC, Signer, but, claims, configured_jwt, configured_keys, forged,
    jwks, key, now_s,
};
use crate::{Scene, scene};

/// Who may call what (api.md), written down a second time: the least role, or `anyone`.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/openapi.json", "anyone"),
    ("GET", "/docs", "anyone"),
    ("GET", "/docs/{file:.*}", "anyone"),
    ("POST", "/api/v1/sagas/{id}/steps/{step}/reply", "anyone"),
    ("GET", "/api/v1/sagas", "reader"),
    ("GET", "/api/v1/sagas/{id}", "reader"),
    ("GET", "/api/v1/sagas/{id}/events", "reader"),
    ("GET", "/api/v1/sagas/{id}/explain", "reader"),
    ("GET", "/api/v1/definitions", "reader"),
    ("GET", "/api/v1/definitions/{name}", "reader"),
    ("GET", "/api/v1/definitions/{name}/graph", "reader"),
    (
        "GET",
        "/api/v1/definitions/{name}/versions/{version}",
        "reader",
    ),
    ("POST", "/api/v1/definitions:check", "reader"),
    ("GET", "/api/v1/audit", "reader"),
    ("GET", "/api/v1/dead-letters", "reader"),
    ("GET", "/api/v1/dead-letters/{id}", "reader"),
    ("POST", "/api/v1/sagas", "client"),
    ("POST", "/api/v1/sagas:batch", "client"),
    ("POST", "/api/v1/sagas/{id}/signals/{name}", "client"),
    ("POST", "/api/v1/sagas/{id}/cancel", "operator"),
    ("POST", "/api/v1/sagas/{id}/suspend", "operator"),
    ("POST", "/api/v1/sagas/{id}/resume", "operator"),
    ("POST", "/api/v1/sagas/{id}/retry", "operator"),
    (
        "POST",
        "/api/v1/sagas/{id}/steps/{step}/resolve",
        "operator",
    ),
    ("POST", "/api/v1/definitions/{name}/pause", "operator"),
    ("POST", "/api/v1/definitions/{name}/resume", "operator"),
    ("POST", "/api/v1/dead-letters/{id}/replay", "operator"),
    ("POST", "/api/v1/dead-letters/{id}/discard", "operator"),
    ("POST", "/api/v1/definitions", "admin"),
];

/// The route whose caller proves himself by a token in the query (api.md, "Who may do what").
const CALLBACK: &str = "/api/v1/sagas/{id}/steps/{step}/reply";

/// A saga that is not there, so that what is allowed changes nothing.
const NO_SAGA: &str = "0198c7c4-aaaa-7000-8000-000000000000";

fn routes() -> Vec<(Method, &'static str, &'static str)> {
    let method = |verb| match verb {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
    };
    let role = |access| match access {
        Access::Anyone => "anyone",
        Access::Role(role) => role.as_str(),
    };
    let table = table();
    let line =
        |line: &amends::api::routes::Endpoint| (method(line.verb), line.path, role(line.access));
    table.iter().map(line).collect()
}

#[test]
fn the_table_of_routes_says_what_the_specification_says() {
    let mut of_spec: BTreeMap<_, _> = EXPECTED
        .iter()
        .map(|(method, path, role)| (((*path).to_owned(), (*method).to_owned()), *role))
        .collect();
    for (method, path, role) in routes() {
        let expected = of_spec.remove(&(path.to_owned(), method.to_string()));
        assert_eq!(expected, Some(role), "{method} {path}");
    }
    assert_eq!(
        of_spec.keys().collect::<Vec<_>>(),
        Vec::<&(String, String)>::new()
    );
}

fn path_of(pattern: &str) -> String {
    pattern
        .replace("{id}", NO_SAGA)
        .replace("{version}", "1")
        .replace("{name}", "nothing")
        .replace("{step}", "nothing")
        .replace("{file:.*}", "index.html")
}

/// What comes back when a body is sent that is no JSON: who may not call does not learn so.
async fn call(scene: &Scene, method: &Method, path: &str, credential: Option<&str>) -> Answer {
    let url = format!("{}{path}", scene.coordinator.url());
    let mut request = scene.client.request(method.clone(), url);
    if *method == Method::POST {
        request = request.header("content-type", "application/json").body("{");
    }
    if let Some(credential) = credential {
        request = request.header("authorization", format!("Bearer {credential}"));
    }
    support::api::send(request).await.expect("an answer")
}

fn assert_unauthenticated(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.body);
    assert_eq!(answer.code(), "unauthenticated", "{what}");
    assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{what}"
    );
    assert_ne!(answer.header("x-request-id"), "", "{what}");
}

/// No credential stands for the token of a callback.
async fn assert_needs_its_token(scene: &Scene, path: &str, credential: &str) {
    for credential in [None, Some(credential)] {
        let answer = call(scene, &Method::POST, path, credential).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "bad_token"),
            "{path}"
        );
    }
}

/// Whether a credential of that role got what the table says.
fn assert_by_role(answer: &Answer, needed: &str, role: &str, what: &str) {
    let rank = |role: &str| ROLES.iter().position(|of| *of == role);
    if rank(role) < rank(needed) {
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (403, "forbidden"),
            "{what}"
        );
        return;
    }
    let status = answer.status.as_u16();
    assert!(
        ![401, 403, 405].contains(&status) && status < 500,
        "{what}: {status} {}",
        answer.body
    );
    // The body is no JSON, which is found out when the call is allowed and it is looked at.
    assert!(answer.code() != "not_found", "{what}: {}", answer.body);
}

async fn both(source: &str) -> Scene {
    scene(&[
        ("auth.keys", configured_keys()),
        ("auth.jwt", configured_jwt(source)),
    ])
    .await
}

#[tokio::test]
async fn every_route_takes_whom_the_table_says_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, jwks(&Signer::KNOWN).to_string()).unwrap();
    let scene = both(&format!("jwks: '{}'", file.display())).await;

    let mut good = Vec::new();
    for role in ROLES {
        good.push((role, key(role)));
        for signer in Signer::KNOWN {
            good.push((role, signer.sign(&claims(&json!([role])))));
        }
    }
    let mut bad = vec![
        ("no key of ours", "no-key-of-ours".to_owned()),
        (
            "the digest of a key",
            "5e884898da28047151d0e56f8dc62927".to_owned(),
        ),
        ("a key in part", key("admin")[1..].to_owned()),
    ];
    bad.extend(forged(Signer::Ec, EC_PUBLIC));
    let unnamed = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    bad.push((
        "no kid",
        Signer::Ec.sign_as(&unnamed, &claims(&json!(["admin"]))),
    ));
    bad.push((
        "an unknown kid",
        Signer::Stranger.sign(&claims(&json!(["admin"]))),
    ));
    let another = jsonwebtoken::Header {
        kid: Some(Signer::Rsa.name().to_owned()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256)
    };
    bad.push((
        "another's kid",
        Signer::Ec.sign_as(&another, &claims(&json!(["admin"]))),
    ));

    assert_needs_its_token(&scene, &path_of(CALLBACK), &good[0].1).await;
    let others = routes()
        .into_iter()
        .filter(|(_, pattern, _)| *pattern != CALLBACK);
    for (method, pattern, needed) in others {
        let path = path_of(pattern);
        for (role, credential) in &good {
            let answer = call(&scene, &method, &path, Some(credential)).await;
            let what = format!("{method} {pattern} as {role}");
            assert_by_role(&answer, needed, role, &what);
        }
        let answer = call(&scene, &method, &path, None).await;
        if needed == "anyone" {
            assert!(![401, 403].contains(&answer.status.as_u16()), "{pattern}");
            continue;
        }
        assert_unauthenticated(&answer, &format!("{method} {pattern} with nothing"));
        for (what, credential) in &bad {
            let answer = call(&scene, &method, &path, Some(credential)).await;
            assert_unauthenticated(&answer, &format!("{method} {pattern} with {what}"));
        }
        if method == Method::GET {
            let answer = call(&scene, &Method::HEAD, &path, None).await;
            assert_eq!(answer.status, 401, "HEAD {pattern}");
            let answer = call(&scene, &Method::HEAD, &path, Some(&key("reader"))).await;
            assert!(
                ![401, 403, 405].contains(&answer.status.as_u16()),
                "HEAD {pattern}"
            );
        }
    }
}

/// One key in a PEM file, of each kind: tokens need not say which key they are signed with.
#[tokio::test]
async fn a_key_in_a_file_takes_its_own_tokens_only() {
    let directory = tempfile::tempdir().unwrap();
    let files: [(Signer, &[u8]); 3] = [
        (Signer::Rsa, RSA_PUBLIC),
        (Signer::Ec, EC_PUBLIC),
        (Signer::Ed, include_bytes!("keys/ed_public.pem")),
    ];
    for (signer, pem) in files {
        let file = directory.path().join("public.pem");
        std::fs::write(&file, pem).unwrap();
        let scene = both(&format!("key: '{}'", file.display())).await;
        let admin = claims(&json!(["admin"]));
        let unnamed = jsonwebtoken::Header::new(signer.algorithm());
        assert_eq!(scene.lists(&signer.sign_as(&unnamed, &admin)).await, 200);
        assert_eq!(scene.lists(&signer.sign(&admin)).await, 200);
        assert_eq!(scene.lists(&key("reader")).await, 200);
        for (what, token) in forged(signer, pem) {
            assert_eq!(scene.lists(&token).await, 401, "{what}");
        }
        for other in Signer::KNOWN {
            if other.name() != signer.name() {
                assert_eq!(
                    scene.lists(&other.sign(&admin)).await,
                    401,
                    "{}",
                    other.name()
                );
            }
        }
        std::fs::remove_file(&file).unwrap();
    }
}

#[tokio::test]
async fn roles_are_found_where_the_configuration_says() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("public.pem");
    std::fs::write(&file, EC_PUBLIC).unwrap();
    let scene = both(&format!("key: '{}'", file.display())).await;
    for (roles, status) in [
        (json!(["reader"]), 200),
        (json!("reader"), 200),
        (json!("openid reader"), 200),
        (json!(["boss", 1, null, "client"]), 200),
        (json!(["boss"]), 403),
        (json!([]), 403),
        (json!("Reader"), 403),
        (json!({ "reader": true }), 403),
        (json!(null), 403),
    ] {
        let token = Signer::Ec.sign(&claims(&roles));
        assert_eq!(scene.lists(&token).await, status, "{roles}");
    }
    assert_eq!(
        scene
            .lists(&Signer::Ec.sign(&but("realm", json!(null))))
            .await,
        403
    );
    let dotted = but("realm", json!(null));
    let mut dotted = dotted.as_object().unwrap().clone();
    dotted.insert("realm.roles".to_owned(), json!(["reader"]));
    assert_eq!(scene.lists(&Signer::Ec.sign(&dotted.into())).await, 200);
    // Clocks may be a little apart, and one of several audiences is enough.
    for claims in [
        but("exp", json!(now_s() - 5)),
        but("nbf", json!(now_s() + 5)),
        but("aud", json!(["other", "amends"])),
    ] {
        assert_eq!(
            scene.lists(&Signer::Ec.sign(&claims)).await,
            200,
            "{claims}"
        );
    }
    // A token that was good is not remembered for longer than it is.
    let short = Signer::Ec.sign(&but("exp", json!(now_s() - 28)));
    assert_eq!(scene.lists(&short).await, 200);
    support::eventually("its end", crate::LONG, async || {
        (scene.lists(&short).await == 401).then_some(())
    })
    .await;
}

/// Who is not known learns nothing: not of sagas, not of bodies, not of other ways to say it.
#[tokio::test]
async fn who_is_not_known_learns_nothing() {
    let scene = scene(&[("auth.keys", configured_keys())]).await;
    let client = scene.client.clone();
    let body = json!({ "definition": "waiting" });
    let start = client
        .post(format!("{}/api/v1/sagas", scene.coordinator.url()))
        .bearer_auth(key("client"))
        .json(&body);
    let saga = support::api::send(start).await.unwrap();
    assert_eq!(saga.status, 202);
    let there = format!("/api/v1/sagas/{}", saga.id());
    let not_there = format!("/api/v1/sagas/{NO_SAGA}");
    for credential in [None, Some("wrong")] {
        let mut answers = Vec::new();
        for path in [&there, &not_there, "/api/v1/sagas/no-id"] {
            let mut answer = scene.call(Method::GET, path, credential).await.body;
            answer["instance"].take();
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], answers[2]);
    }
    // The body is not read: one that is far too long, and announced only, is not waited for.
    let announced = "POST /api/v1/sagas HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n";
    let answer = support_exchange(&scene.coordinator.address(), announced).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // The names of routes are no secret: they are in the OpenAPI document.
    let nowhere = scene.call(Method::GET, "/api/v1/nowhere", None).await;
    assert_eq!(
        (nowhere.status.as_u16(), nowhere.code()),
        (404, "not_found")
    );
    let deleted = scene.call(Method::DELETE, &there, None).await;
    assert_eq!(
        (deleted.status.as_u16(), deleted.code()),
        (405, "method_not_allowed")
    );
    // There is one way to show a credential.
    let secret = key("admin");
    let url = format!("{}/api/v1/sagas", scene.coordinator.url());
    for (name, value) in [
        ("authorization", format!("Basic {secret}")),
        ("authorization", secret.clone()),
        ("authorization", format!("Bearer {secret},")),
        ("x-api-key", secret.clone()),
        ("cookie", format!("token={secret}")),
    ] {
        let answer = support::api::send(client.get(&url).header(name, value))
            .await
            .unwrap();
        assert_eq!(answer.status, 401, "{name}");
    }
    let twice = client
        .get(&url)
        .bearer_auth(&secret)
        .header("authorization", "Bearer x");
    assert_eq!(support::api::send(twice).await.unwrap().status, 401);
    let asked = client.get(&url).query(&[("access_token", &secret)]);
    assert_eq!(support::api::send(asked).await.unwrap().status, 401);
}

/// Sends bytes and reads the head of what comes back.
async fn support_exchange(address: &str, bytes: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut read = vec![0; 4_096];
    let length = tokio::time::timeout(crate::LONG, stream.read(&mut read)).await;
    let length = length.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&read[..length]).into_owned()
}

/// Without a word everybody may do everything, as nobody in particular.
#[tokio::test]
async fn with_no_authentication_everything_is_allowed() {
    let scene = scene(&[]).await;
    for (method, pattern, _) in routes() {
        let path = path_of(pattern);
        if pattern == CALLBACK {
            assert_needs_its_token(&scene, &path, "anything").await;
            continue;
        }
        for credential in [None, Some("anything")] {
            let answer = call(&scene, &method, &path, credential).await;
            let status = answer.status.as_u16();
            assert!(
                ![401, 403].contains(&status) && status < 500,
                "{method} {pattern}: {status}"
            );
        }
    }
}
