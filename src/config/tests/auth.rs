//! `auth` and `server.tls`.

use super::*;

const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
const OTHER: &str = "8e35c2cd3bf6641bdb0e2050b76932cbb2e6034a0ddacc1d9bea82a6ba57f7cf";

fn credentials(config: &Config) -> (&[ApiKey], Option<&Jwt>) {
    match &config.auth {
        Auth::Credentials { keys, jwt } => (keys, jwt.as_ref()),
        Auth::None => panic!("everybody is let in"),
    }
}

fn paths(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let found = problems(file, environment);
    found.into_iter().map(|(path, _)| path).collect()
}

#[test]
fn keys_are_read_with_the_greatest_of_their_roles() {
    let file = format!(
        "auth:\n  keys:\n    - {{ name: shop, sha256: {DIGEST}, roles: [client, reader] }}\n    \
         - {{ name: ops, sha256: '{}', roles: admin }}",
        OTHER.to_uppercase()
    );
    let config = load(&file, &[("AMENDS__SERVER__LISTEN", "0.0.0.0:8080")], &[]).unwrap();
    let (keys, jwt) = credentials(&config);
    let read: Vec<_> = keys
        .iter()
        .map(|key| (key.name.as_str(), key.role))
        .collect();
    assert_eq!(read, [("shop", Role::Client), ("ops", Role::Admin)]);
    assert_eq!(keys[0].digest.as_bytes()[..2], [0x2b, 0xb8]);
    assert_eq!(jwt, None);
    let shown = config.masked_yaml();
    assert!(
        shown.contains("\"shop\"") && shown.contains("\"admin\""),
        "{shown}"
    );
    for hidden in [DIGEST, OTHER, "2bb8"] {
        assert!(
            !shown.contains(hidden) && !format!("{config:?}").contains(hidden),
            "{shown}"
        );
    }
}

#[test]
fn variables_reach_the_items_of_a_list() {
    let file = format!("auth: {{ keys: [ {{ name: a, sha256: {DIGEST}, roles: [reader] }} ] }}");
    let environment = [
        ("AMENDS__AUTH__KEYS__0__ROLES", "[operator, client]"),
        ("AMENDS__AUTH__KEYS__1__NAME", "b"),
        ("AMENDS__AUTH__KEYS__1__SHA256", OTHER),
        ("AMENDS__AUTH__KEYS__1__ROLES__0", "admin"),
    ];
    let config = load(&file, &environment, &[]).unwrap();
    let roles = |config: &Config| -> Vec<_> {
        credentials(config)
            .0
            .iter()
            .map(|key| (key.name.clone(), key.role))
            .collect()
    };
    let both = [
        ("a".to_owned(), Role::Operator),
        ("b".to_owned(), Role::Admin),
    ];
    assert_eq!(roles(&config), both);

    let digits: Vec<_> = (0..11).map(|at| format!("{at:064x}")).collect();
    let names: Vec<_> = (0..11)
        .map(|at| format!("AMENDS__AUTH__KEYS__{at}"))
        .collect();
    let values: Vec<_> = (0..11)
        .map(|at| {
            format!(
                "{{ name: k{at}, sha256: '{}', roles: [reader] }}",
                digits[at]
            )
        })
        .collect();
    let environment: Vec<_> = names
        .iter()
        .map(String::as_str)
        .zip(values.iter().map(String::as_str))
        .collect();
    let config = load("", &environment, &[]).unwrap();
    assert_eq!(credentials(&config).0.len(), 11);
    assert_eq!(credentials(&config).0[10].name, "k10");

    let whole = format!("[{{ name: c, sha256: {DIGEST}, roles: [reader] }}]");
    let config = load(&file, &[("AMENDS__AUTH__KEYS", &whole)], &[]).unwrap();
    assert_eq!(roles(&config), [("c".to_owned(), Role::Reader)]);
}

#[test]
fn every_problem_of_a_key_has_its_place() {
    let file = format!(
        "auth:
  keys:
    - {{ name: a, sha256: {DIGEST}, roles: [reader] }}
    - {{ name: a, sha256: {DIGEST}, roles: [reader, boss] }}
    - {{ name: system, sha256: abc, roles: [] }}
    - {{ name: '', sha256: {EMPTY}, role: reader }}
    - text
    - {{ name: '${{env:NO_SUCH}}', sha256: {OTHER}, roles: {{ a: b }} }}",
        EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
    let mut found = paths(&file, &[]);
    found.sort_unstable();
    let expected = [
        "auth.keys[1].name",
        "auth.keys[1].roles[1]",
        "auth.keys[1].sha256",
        "auth.keys[2].name",
        "auth.keys[2].roles",
        "auth.keys[2].sha256",
        "auth.keys[3].name",
        "auth.keys[3].role",
        "auth.keys[3].roles",
        "auth.keys[3].sha256",
        "auth.keys[4]",
        "auth.keys[4].name",
        "auth.keys[4].roles",
        "auth.keys[4].sha256",
        "auth.keys[5].name",
        "auth.keys[5].roles",
    ];
    assert_eq!(found, expected);
    assert!(!format!("{:?}", problems(&file, &[])).contains(DIGEST));
}

#[test]
fn the_mode_contradicts_nothing() {
    let key = format!("keys: [ {{ name: a, sha256: {DIGEST}, roles: [reader] }} ]");
    for (auth, problem) in [
        (format!("mode: none, {key}"), "auth.mode"),
        ("mode: keys".to_owned(), "auth.mode"),
        ("mode: jwt".to_owned(), "auth.mode"),
        (format!("mode: jwt, {key}"), "auth.mode"),
        ("mode: open".to_owned(), "auth.mode"),
        ("keys: []".to_owned(), "auth.keys"),
        ("keys: 3".to_owned(), "auth.keys"),
        ("keys: {}".to_owned(), "auth.keys"),
    ] {
        let found = paths(&format!("auth: {{ {auth} }}"), &[]);
        assert!(
            found.iter().any(|path| path == problem),
            "{auth}: {found:?}"
        );
    }
    load(&format!("auth: {{ mode: keys, {key} }}"), &[], &[]).unwrap();
    load("auth: { mode: none, keys: null, jwt: null }", &[], &[]).unwrap();
}

#[test]
fn tokens_are_configured_with_a_key_or_a_set_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let large = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let public = write("public.pem", &pair.public_key_pem());
    let private = write("private.pem", &pair.serialize_pem());
    let other_curve = write("p384.pem", &large.public_key_pem());
    let text = write("text.pem", "text");
    let set = write(
        "jwks.json",
        r#"{ "keys": [ { "kty": "oct", "kid": "s", "k": "c2VjcmV0" },
            { "kty": "OKP", "crv": "Ed25519", "kid": "a",
              "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" } ] }"#,
    );
    let secrets = write(
        "oct.json",
        r#"{ "keys": [ { "kty": "oct", "kid": "s", "k": "c2Vj" } ] }"#,
    );
    let jwt = |text: &str| format!("auth: {{ jwt: {{ issuer: i, audience: a, {text} }} }}");
    for (text, keys) in [
        (
            format!("key: {public}"),
            JwtKeys::Pem(public.clone().into()),
        ),
        (
            format!("jwks: {set}"),
            JwtKeys::JwksFile(set.clone().into()),
        ),
        (
            "jwks: 'https://id/keys?p=x'".to_owned(),
            JwtKeys::JwksUrl("https://id/keys?p=x".parse().unwrap()),
        ),
    ] {
        let config = load(&jwt(&text), &[], &[]).unwrap();
        let read = credentials(&config).1.unwrap();
        assert_eq!((&read.keys, read.roles_claim.as_str()), (&keys, "roles"));
        assert_eq!(read.audience, ["a"]);
    }
    for (text, problem) in [
        (String::new(), "auth.jwt.jwks"),
        (format!("key: {public}, jwks: {set}"), "auth.jwt.jwks"),
        (format!("key: {private}"), "auth.jwt.key"),
        (format!("key: {other_curve}"), "auth.jwt.key"),
        (format!("key: {text}"), "auth.jwt.key"),
        ("key: /no/such".to_owned(), "auth.jwt.key"),
        (format!("jwks: {secrets}"), "auth.jwt.jwks"),
        (format!("jwks: {public}"), "auth.jwt.jwks"),
        ("jwks: 'https://u:p@id/'".to_owned(), "auth.jwt.jwks"),
        (format!("key: {public}, leeway: 5"), "auth.jwt.leeway"),
    ] {
        assert_eq!(paths(&jwt(&text), &[]), [problem], "{text}");
    }
    let missing = paths("auth: { jwt: { jwks: 'https://id/keys' } }", &[]);
    assert_eq!(missing, ["auth.jwt.issuer", "auth.jwt.audience"]);
}

#[test]
fn the_servers_certificate_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = write("cert.pem", &made.cert.pem());
    let key = write("key.pem", &made.signing_key.serialize_pem());
    let strange = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let strange = write("strange.pem", &strange);
    let tls = |text: &str| format!("server: {{ tls: {{ {text} }} }}");
    let good = format!("certificate: {certificate}, key: {key}, client_ca: {certificate}");
    let config = load(&tls(&good), &[], &[]).unwrap();
    let read = config.server.tls.unwrap();
    assert_eq!(read.client_ca, Some(certificate.clone().into()));
    for (text, problem) in [
        (format!("certificate: {certificate}"), "server.tls.key"),
        (format!("key: {key}"), "server.tls.certificate"),
        (
            format!("certificate: {certificate}, key: {strange}"),
            "server.tls.key",
        ),
        (
            format!("certificate: {key}, key: {key}"),
            "server.tls.certificate",
        ),
        (
            format!("certificate: {certificate}, key: {key}, client_ca: {key}"),
            "server.tls.client_ca",
        ),
    ] {
        assert_eq!(paths(&tls(&text), &[]), [problem], "{text}");
    }
}
