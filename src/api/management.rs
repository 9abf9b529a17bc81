//! The management port: whether this process lives, whether it may get traffic, how it is, what it
//! counts, and its drain. For the inside of a cluster: it asks nobody who they are.

mod health;

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::answer;
use super::edge::not_found;
use super::error::{ApiError, ErrorCode};
use super::routes::{method_not_allowed, reads};
use crate::engine::{Drained, Engine, Lifecycle, Readiness};
use crate::telemetry::metrics::TEXT_FORMAT;
use crate::telemetry::{Metrics, build};

/// What the management port works with.
#[derive(Clone)]
pub struct Management {
    /// The engine, from when there is one: this port answers while the rest still starts.
    pub lifecycle: Arc<Lifecycle>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When this process began.
    pub begun: Instant,
}

/// The routes of the management port.
pub(super) fn configure(config: &mut ServiceConfig) {
    let resource = |path| web::resource(path).default_service(method_not_allowed("GET, HEAD"));
    config
        .service(resource("/health/live").route(reads().to(live)))
        .service(resource("/health/ready").route(reads().to(ready)))
        .service(resource("/health").route(reads().to(health::health)))
        .service(resource("/health/detailed").route(reads().to(health::health)))
        .service(resource("/metrics").route(reads().to(metrics)))
        .service(resource("/info").route(reads().to(info)))
        .service(
            web::resource("/drain")
                .default_service(method_not_allowed("POST"))
                .route(web::post().to(drain)),
        )
        .default_service(web::to(not_found));
}

/// `GET /health/live`: that this port answers says little, because it has a thread of its own; so
/// the engine is asked whether its runtime and its journal go on.
async fn live(management: Data<Management>) -> HttpResponse {
    if management.lifecycle.engine().is_none_or(Engine::is_alive) {
        answer::json(StatusCode::OK, &json!({ "status": "up" }))
    } else {
        answer::json(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "status": "down" }),
        )
    }
}

/// `GET /health/ready`
async fn ready(management: Data<Management>) -> HttpResponse {
    let readiness = management.lifecycle.readiness();
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        Readiness::Standby | Readiness::DatabaseAway | Readiness::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    answer::json(status, &json!({ "status": word(readiness) }))
}

fn word(readiness: Readiness) -> &'static str {
    match readiness {
        Readiness::Ready => "ready",
        Readiness::Standby => "standby",
        Readiness::DatabaseAway => "database_unavailable",
        Readiness::Draining => "draining",
    }
}

/// `GET /metrics`
async fn metrics(management: Data<Management>) -> Result<HttpResponse, ApiError> {
    let engine = management.lifecycle.engine();
    let readings = engine.map(Engine::readings).unwrap_or_default();
    match management.metrics.text(&readings) {
        Ok(text) => Ok(HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, TEXT_FORMAT))
            .body(text)),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the metrics cannot be written"
            );
            Err(ApiError::new(ErrorCode::Internal))
        }
    }
}

/// `GET /info`
async fn info(management: Data<Management>) -> HttpResponse {
    let engine = management.lifecycle.engine();
    answer::json(
        StatusCode::OK,
        &json!({
            "version": build::VERSION,
            "commit": build::COMMIT,
            "build": build::BUILD,
            "role": engine.map(Engine::role),
            "replica_id": engine.and_then(Engine::replica_id),
        }),
    )
}

/// `POST /drain`: answers when the drain is done or its time is up. The process goes on, not ready,
/// until it is told to end.
async fn drain(management: Data<Management>) -> HttpResponse {
    tracing::info!("asked to drain");
    let Drained { unanswered } = management.lifecycle.drain().await;
    let body = json!({ "status": "drained", "unanswered_calls": unanswered });
    answer::json(StatusCode::OK, &body)
}
