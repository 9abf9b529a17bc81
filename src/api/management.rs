//! The management port: whether this process lives, whether it may get traffic, and its drain.

use actix_web::http::StatusCode;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::answer;
use super::edge::not_found;
use super::routes::{method_not_allowed, reads};
use crate::engine::{Drained, Lifecycle, Readiness};

/// The routes of the management port.
pub(super) fn configure(config: &mut ServiceConfig) {
    let resource = |path| web::resource(path).default_service(method_not_allowed("GET, HEAD"));
    config
        .service(resource("/health/live").route(reads().to(live)))
        .service(resource("/health/ready").route(reads().to(ready)))
        .service(
            web::resource("/drain")
                .default_service(method_not_allowed("POST"))
                .route(web::post().to(drain)),
        )
        .default_service(web::to(not_found));
}

/// `GET /health/live`: answering is what makes it true.
async fn live() -> HttpResponse {
    answer::json(StatusCode::OK, &json!({ "status": "up" }))
}

/// `GET /health/ready`
async fn ready(lifecycle: Data<Lifecycle>) -> HttpResponse {
    let (status, word) = match lifecycle.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready"),
        Readiness::Standby => (StatusCode::SERVICE_UNAVAILABLE, "standby"),
        Readiness::DatabaseAway => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    answer::json(status, &json!({ "status": word }))
}

/// `POST /drain`: answers when the drain is done or its time is up. The process goes on, not ready,
/// until it is told to end.
async fn drain(lifecycle: Data<Lifecycle>) -> HttpResponse {
    tracing::info!("asked to drain");
    let Drained { unanswered } = lifecycle.drain().await;
    let body = json!({ "status": "drained", "unanswered_calls": unanswered });
    answer::json(StatusCode::OK, &body)
}
