//! Counts the API's answers, by method, route and status.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;

use super::App;
use crate::telemetry::metrics::Method;

/// Counts the answer to a request. The management port has no [`App`], and is not counted: probes
/// and scrapes would hide what clients do.
pub(super) async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(app) = request.app_data::<Data<App>>().cloned() else {
        return next.call(request).await;
    };
    let begun = Instant::now();
    let answer = next.call(request).await?;
    let request = answer.request();
    app.metrics.request_answered(
        Method::named(request.method().as_str()),
        request.match_pattern().as_deref(),
        answer.status().as_u16(),
        begun.elapsed(),
    );
    Ok(answer)
}
