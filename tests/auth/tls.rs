//! TLS and mutual TLS on the API's port, and the command line that speaks it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity};
use tempfile::TempDir;

use crate::credentials::{configured_keys, key};
use crate::{LONG, Scene, scene};

/// An authority that issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, in PEM.
    fn issue(&self) -> (String, String) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// The files of one side.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, pem: &str) -> PathBuf {
        let (new, path) = (self.0.path().join("new"), self.0.path().join(name));
        std::fs::write(&new, pem).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    fn put_issued(&self, authority: &Authority) {
        let (certificate, key) = authority.issue();
        self.put("key.pem", &key);
        self.put("certificate.pem", &certificate);
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// `server.tls`, with the files of one side.
fn configured(files: &Files, asks: bool) -> String {
    let client_ca = if asks {
        format!(", client_ca: '{}'", files.at("clients.pem"))
    } else {
        String::new()
    };
    let (certificate, key) = (files.at("certificate.pem"), files.at("key.pem"));
    format!("{{ certificate: '{certificate}', key: '{key}'{client_ca} }}")
}

/// A client that trusts `authority` and shows a certificate of `of`; no connection is kept.
fn client(authority: &Authority, of: Option<&Authority>) -> Client {
    let certificate = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let mut builder = Client::builder()
        .tls_certs_only([certificate])
        .pool_max_idle_per_host(0)
        .timeout(LONG);
    if let Some(of) = of {
        let (certificate, key) = of.issue();
        builder = builder.identity(Identity::from_pem((key + &certificate).as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

impl Scene {
    fn secure_url(&self) -> String {
        format!("https://{}", self.coordinator.address())
    }

    /// The status of a list of sagas over TLS; none when there is no connection.
    async fn lists_over(&self, client: &Client, credential: Option<&str>) -> Option<u16> {
        let mut request = client.get(format!("{}/api/v1/sagas", self.secure_url()));
        if let Some(credential) = credential {
            request = request.bearer_auth(credential);
        }
        let answer = request.send().await.ok()?;
        Some(answer.status().as_u16())
    }
}

#[tokio::test]
async fn a_port_with_tls_speaks_nothing_else() {
    let (files, ours, other) = (Files::new(), Authority::new(), Authority::new());
    files.put_issued(&ours);
    let scene = scene(&[
        ("server.tls", configured(&files, false)),
        ("auth.keys", configured_keys()),
    ])
    .await;
    let trusting = client(&ours, None);
    let reader = key("reader");
    assert_eq!(scene.lists_over(&trusting, Some(&reader)).await, Some(200));
    assert_eq!(scene.lists_over(&trusting, None).await, Some(401));
    assert_eq!(
        scene.lists_over(&client(&other, None), Some(&reader)).await,
        None
    );
    let plain = scene
        .client
        .get(format!("{}/api/v1/sagas", scene.coordinator.url()));
    let plain = plain.bearer_auth(&reader).send().await;
    assert!(plain.is_err(), "{plain:?}");
    for version in [
        reqwest::tls::Version::TLS_1_2,
        reqwest::tls::Version::TLS_1_3,
    ] {
        let certificate = Certificate::from_pem(ours.pem().as_bytes()).unwrap();
        let old = Client::builder()
            .tls_certs_only([certificate])
            .tls_version_min(version)
            .tls_version_max(version);
        let answer = scene.lists_over(&old.build().unwrap(), Some(&reader)).await;
        assert_eq!(answer, Some(200), "{version:?}");
    }
}

#[tokio::test]
async fn callers_show_a_certificate_where_they_must() {
    let (files, ours) = (Files::new(), Authority::new());
    let (clients, strangers) = (Authority::new(), Authority::new());
    files.put_issued(&ours);
    files.put("clients.pem", &clients.pem());
    let scene = scene(&[
        ("server.tls", configured(&files, true)),
        ("auth.keys", configured_keys()),
    ])
    .await;
    let reader = key("reader");
    let known = client(&ours, Some(&clients));
    assert_eq!(scene.lists_over(&known, Some(&reader)).await, Some(200));
    // A certificate gets a caller to the door; what he may do his key says.
    assert_eq!(scene.lists_over(&known, None).await, Some(401));
    for stranger in [None, Some(&strangers), Some(&ours)] {
        let stranger = client(&ours, stranger);
        assert_eq!(scene.lists_over(&stranger, Some(&reader)).await, None);
    }
    // Authorities are changed without a restart, also for callers who were here before.
    files.put("clients.pem", &strangers.pem());
    let stranger = client(&ours, Some(&strangers));
    support::eventually("the new authority", LONG, async || {
        scene.lists_over(&stranger, Some(&reader)).await
    })
    .await;
    assert_eq!(scene.lists_over(&known, Some(&reader)).await, None);
}

#[tokio::test]
async fn certificates_are_renewed_without_a_restart() {
    let (files, old, new) = (Files::new(), Authority::new(), Authority::new());
    files.put_issued(&old);
    let scene = scene(&[("server.tls", configured(&files, false))]).await;
    let (of_old, of_new) = (client(&old, None), client(&new, None));
    assert_eq!(scene.lists_over(&of_old, None).await, Some(200));
    // Half of it, or rubbish, changes nothing.
    files.put("certificate.pem", "rubbish");
    support::eventually("a word of it", LONG, async || {
        scene
            .coordinator
            .log()
            .contains("those in force stay")
            .then_some(())
    })
    .await;
    assert_eq!(scene.lists_over(&of_old, None).await, Some(200));
    files.put_issued(&new);
    support::eventually("the new certificate", LONG, async || {
        scene.lists_over(&of_new, None).await
    })
    .await;
    // One that has a session from before may take it up again: it has seen the old certificate.
    assert_eq!(scene.lists_over(&client(&old, None), None).await, None);
}

/// The command line with these arguments.
fn run(arguments: &[&str], environment: &[(&str, &Path)]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_amends"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let all = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&all).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_speaks_tls() {
    let (files, ours, clients) = (Files::new(), Authority::new(), Authority::new());
    files.put_issued(&ours);
    files.put("clients.pem", &clients.pem());
    let scene = scene(&[
        ("server.tls", configured(&files, true)),
        ("auth.keys", configured_keys()),
    ])
    .await;
    let mine = Files::new();
    let ca = mine.put("ca.pem", &ours.pem());
    mine.put_issued(&clients);
    let (certificate, private) = (mine.at("certificate.pem"), mine.at("key.pem"));
    let (url, token, ca_text) = (scene.secure_url(), key("reader"), ca.display().to_string());
    let list = ["list", "--url", &url, "--token", &token];
    let identity = ["--certificate", &certificate, "--certificate-key", &private];
    let with = |more: &[&str]| run(&[&list[..], more].concat(), &[]);

    let (status, said) = with(&[&["--ca", &ca_text], &identity[..]].concat());
    assert_eq!(status, 0, "{said}");
    let environment: [(&str, &Path); 3] = [
        ("AMENDS_CA", &ca),
        ("AMENDS_CERTIFICATE", Path::new(&certificate)),
        ("AMENDS_CERTIFICATE_KEY", Path::new(&private)),
    ];
    assert_eq!(run(&list, &environment).0, 0);
    for (more, status) in [
        (identity.to_vec(), 1),
        (vec!["--ca", &ca_text], 1),
        (vec!["--ca", "/no/such"], 2),
        (vec!["--ca", &private], 2),
        (vec!["--ca", &ca_text, "--certificate", &certificate], 2),
        (
            vec![
                "--ca",
                &ca_text,
                "--certificate",
                &ca_text,
                "--certificate-key",
                &ca_text,
            ],
            2,
        ),
    ] {
        let (ended, said) = with(&more);
        assert_eq!(ended, status, "{more:?}: {said}");
        assert!(!said.contains(&token), "{said}");
    }
}
