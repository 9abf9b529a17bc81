//! Who may do what (api.md): keys, tokens, roles, TLS, what the audit is told of it, and that no
//! credential is ever shown.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may"
)]

use std::time::Duration;

use reqwest::Method;
use support::api::{Answer, send};
use support::coordinator::{Coordinator, Settings};
use support::database::{Kind, TestDatabase};
use support::definitions::Definitions;

mod credentials;
mod matrix;
mod rotation;
mod secrets;
mod tls;
mod violations;

const LONG: Duration = Duration::from_secs(30);

const WAITING: &str = "
name: waiting
version: 1
steps:
  - { id: first, wait: { signal: go } }
";

struct Scene {
    coordinator: Coordinator,
    /// One for all calls: making one reads the system's authorities.
    client: reqwest::Client,
    _definitions: Definitions,
    database: TestDatabase,
}

/// A coordinator with these keys of the configuration.
async fn scene(keys: &[(&str, String)]) -> Scene {
    let database = TestDatabase::fresh(Kind::Sqlite);
    let definitions = Definitions::of(&[WAITING]);
    let binary = env!("CARGO_BIN_EXE_amends");
    let mut settings = Settings::new(binary, database.url(), definitions.path());
    for (path, value) in keys {
        settings = settings.key(path, value);
    }
    Scene::start(settings, definitions, database).await
}

impl Scene {
    async fn start(settings: Settings, definitions: Definitions, database: TestDatabase) -> Self {
        let coordinator = Coordinator::start(settings).await;
        let client = coordinator.api().client().clone();
        Self {
            coordinator,
            client,
            _definitions: definitions,
            database,
        }
    }

    /// Calls a path from the root with a credential.
    async fn call(&self, method: Method, path: &str, credential: Option<&str>) -> Answer {
        let url = format!("{}{path}", self.coordinator.url());
        let mut request = self.client.request(method, url);
        if let Some(credential) = credential {
            request = request.header("authorization", format!("Bearer {credential}"));
        }
        send(request).await.expect("an answer")
    }

    /// The status of a list of sagas with that credential.
    async fn lists(&self, credential: &str) -> u16 {
        let answer = self
            .call(Method::GET, "/api/v1/sagas", Some(credential))
            .await;
        answer.status.as_u16()
    }
}
