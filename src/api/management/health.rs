//! How this process is, part by part.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Management, word};
use crate::api::answer;
use crate::dispatch::broker::BrokerHealth;
use crate::engine::{DatabaseHealth, Health, Readiness};
use crate::telemetry::build;

/// How a part is; the whole is as its worst part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Wellness {
    Up,
    Degraded,
    Down,
}

/// One part.
#[derive(Debug, Serialize)]
struct Component {
    status: Wellness,
    details: Value,
}

/// Every part.
#[derive(Debug, Serialize)]
struct Components {
    database: Component,
    messaging: Component,
    engine: Component,
}

/// `GET /health` and `GET /health/detailed`: 503 when it is down, for probes that look no further.
pub(super) async fn health(management: Data<Management>) -> HttpResponse {
    let components = match management.lifecycle.engine() {
        Some(engine) => Components::of(&engine.health().await),
        None => Components::starting(),
    };
    let status = components.worst();
    let code = match status {
        Wellness::Up | Wellness::Degraded => StatusCode::OK,
        Wellness::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    let uptime_ms = u64::try_from(management.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    answer::json(
        code,
        &json!({
            "status": status,
            "components": components,
            "version": build::VERSION,
            "uptime_ms": uptime_ms,
        }),
    )
}

impl Components {
    fn of(health: &Health) -> Self {
        Self {
            database: database(&health.database),
            messaging: messaging(&health.brokers),
            engine: engine(health),
        }
    }

    /// Before there is an engine: the database is being waited for, or its schema brought up to
    /// date, or definitions are read.
    fn starting() -> Self {
        let starting = || Component {
            status: Wellness::Down,
            details: json!({ "state": "starting" }),
        };
        Self {
            database: starting(),
            messaging: messaging(&[]),
            engine: starting(),
        }
    }

    fn worst(&self) -> Wellness {
        let Self {
            database,
            messaging,
            engine,
        } = self;
        // Without its brokers it runs on, and so does everything that needs none.
        let messaging = messaging.status.min(Wellness::Degraded);
        database.status.max(messaging).max(engine.status)
    }
}

fn database(health: &DatabaseHealth) -> Component {
    match health {
        DatabaseHealth::Answers(within) => Component {
            status: Wellness::Up,
            details: json!({ "answered_in_ms": within.as_secs_f64() * 1_000.0 }),
        },
        DatabaseHealth::CannotWrite => Component {
            status: Wellness::Down,
            details: json!({ "problem": "it answers, and the journal cannot write to it" }),
        },
        // What exactly went wrong is in the log: it may name hosts and users.
        DatabaseHealth::Away(_) => Component {
            status: Wellness::Down,
            details: json!({ "problem": "it does not answer" }),
        },
    }
}

/// No broker that is configured is well.
fn messaging(brokers: &[BrokerHealth]) -> Component {
    let up = brokers.iter().all(|broker| broker.up);
    let told = brokers.iter().map(|broker| {
        json!({
            "broker": broker.broker.as_str(),
            "up": broker.up,
            "problem": broker.problem,
        })
    });
    Component {
        status: if up { Wellness::Up } else { Wellness::Down },
        details: json!({ "brokers": told.collect::<Vec<_>>() }),
    }
}

fn engine(health: &Health) -> Component {
    let status = match health.readiness {
        Readiness::Ready => Wellness::Up,
        // It runs, and takes no work; another replica does.
        Readiness::Standby | Readiness::Draining => Wellness::Degraded,
        Readiness::DatabaseAway => Wellness::Down,
    };
    let readings = &health.readings;
    Component {
        status,
        details: json!({
            "state": word(health.readiness),
            "shards_owned": readings.shards_owned,
            "sagas": {
                "running": readings.sagas.running,
                "compensating": readings.sagas.compensating,
                "failed": readings.sagas.failed,
                "overdue": readings.sagas.overdue,
            },
            "journal_pending": readings.journal_pending,
            "oldest_runnable_ms": readings.oldest_runnable_ms,
        }),
    }
}
