//! The management port: whether this process lives, and whether it may get traffic.

use actix_web::http::StatusCode;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::edge::not_found;
use super::routes::{method_not_allowed, reads};
use super::{ReadinessProbe, answer};
use crate::engine::Readiness;

/// The routes of the management port.
pub(super) fn configure(config: &mut ServiceConfig) {
    let resource = |path| web::resource(path).default_service(method_not_allowed("GET, HEAD"));
    config
        .service(resource("/health/live").route(reads().to(live)))
        .service(resource("/health/ready").route(reads().to(ready)))
        .default_service(web::to(not_found));
}

/// `GET /health/live`: answering is what makes it true.
async fn live() -> HttpResponse {
    answer::json(StatusCode::OK, &json!({ "status": "up" }))
}

/// `GET /health/ready`
async fn ready(probe: Data<ReadinessProbe>) -> HttpResponse {
    let (status, word) = match probe() {
        Readiness::Ready => (StatusCode::OK, "ready"),
        Readiness::Standby => (StatusCode::SERVICE_UNAVAILABLE, "standby"),
        Readiness::DatabaseAway => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    answer::json(status, &json!({ "status": word }))
}
