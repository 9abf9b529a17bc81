//! What is counted of the API's answers.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use prometheus::{Histogram, IntCounter, Registry};

use super::buckets;
use super::families::{Counters, Histograms, MetricsError};

/// The route of what has none.
const UNMATCHED: &str = "unmatched";

/// A request's method; what is not in HTTP is one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// Anything else.
    Other,
}

impl Method {
    /// How many they are.
    const COUNT: usize = 8;

    /// The method of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }
}

/// What is counted of the API's answers.
#[derive(Debug)]
pub(super) struct HttpMetrics {
    requests: Counters<3>,
    durations: Histograms<2>,
    routes: RwLock<HashMap<String, Arc<[OnceLock<Answers>; Method::COUNT]>>>,
}

/// What is counted of one method of one route.
#[derive(Debug)]
struct Answers {
    duration: Histogram,
    by_status: RwLock<Vec<(u16, IntCounter)>>,
}

impl HttpMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, MetricsError> {
        Ok(Self {
            requests: Counters::new(
                registry,
                (
                    "amends_http_requests_total",
                    "Requests that the API answered.",
                ),
                ["method", "route", "status"],
            )?,
            durations: Histograms::new(
                registry,
                (
                    "amends_http_request_duration_seconds",
                    "How long the API took to answer, to the head of the answer.",
                ),
                ["method", "route"],
                &buckets::EXCHANGE_SECONDS,
            )?,
            routes: RwLock::default(),
        })
    }

    /// Lets the series of a route exist, as far as they are known without an answer.
    pub(super) fn know(&self, method: Method, route: Option<&str>) {
        let route = route.unwrap_or(UNMATCHED);
        let answers = self.route(route);
        let _answers = self.answers(&answers, method, route);
    }

    pub(super) fn answered(
        &self,
        method: Method,
        route: Option<&str>,
        status: u16,
        took: Duration,
    ) {
        let route = route.unwrap_or(UNMATCHED);
        let answers = self.route(route);
        let Some(answers) = self.answers(&answers, method, route) else {
            return;
        };
        answers.duration.observe(took.as_secs_f64());
        let known = {
            let by_status = answers.by_status.read();
            let known = by_status.iter().find(|(known, _)| *known == status);
            known.map(|(_, counter)| counter.clone())
        };
        let counter = known.unwrap_or_else(|| {
            let values = [method.as_str(), route, &status.to_string()];
            let counter = self.requests.at(values);
            answers.by_status.write().push((status, counter.clone()));
            counter
        });
        counter.inc();
    }

    fn route(&self, route: &str) -> Arc<[OnceLock<Answers>; Method::COUNT]> {
        if let Some(known) = self.routes.read().get(route) {
            return Arc::clone(known);
        }
        let mut routes = self.routes.write();
        Arc::clone(routes.entry(route.to_owned()).or_default())
    }

    fn answers<'a>(
        &self,
        route: &'a [OnceLock<Answers>; Method::COUNT],
        method: Method,
        pattern: &str,
    ) -> Option<&'a Answers> {
        let answers = route.get(method as usize)?;
        Some(answers.get_or_init(|| Answers {
            duration: self.durations.at([method.as_str(), pattern]),
            by_status: RwLock::default(),
        }))
    }
}
