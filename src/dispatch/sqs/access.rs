//! The way to SQS: who we are, where it is, and a client for both.

use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::Client;
use aws_smithy_http_client::{Builder, tls};
use tokio::sync::OnceCell;
use url::Url;

use super::trouble::Trouble;

/// How long one call may take, but for one that waits for messages.
const CALL: Duration = Duration::from_secs(10);

/// Makes the client when it is first needed: region and credentials may have to be asked for.
pub(crate) struct Access {
    endpoint: Option<Url>,
    client: OnceCell<Client>,
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// To Amazon's SQS, or to the server at `endpoint`.
    pub(crate) fn new(endpoint: Option<Url>) -> Self {
        Self {
            endpoint,
            client: OnceCell::new(),
        }
    }

    /// The client, made once a region is known.
    pub(super) async fn client(&self) -> Result<&Client, Trouble> {
        let making = async || {
            let config = self.load().await;
            if config.region().is_none() {
                let why = "no AWS region is configured (AWS_REGION)".to_owned();
                return Err(Trouble::Away(why));
            }
            Ok(Client::new(&config))
        };
        self.client.get_or_try_init(making).await
    }

    async fn load(&self) -> SdkConfig {
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = Builder::new().tls_provider(ring).build_https();
        // What fails is tried again here, for as long as it takes, and is told of meanwhile.
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint.as_str());
        }
        loader.load().await
    }
}

/// Waits for a call, but not for ever.
pub(super) async fn in_time<T>(
    call: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    in_at_most(CALL, call).await
}

/// Waits for a call that itself waits up to `wait`.
pub(super) async fn in_at_most<T>(
    wait: Duration,
    call: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(wait, call).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Trouble::Away("it does not answer".to_owned())),
    }
}
