//! What is counted, and as what.

use super::*;

fn lines(metrics: &Metrics, begin: &str) -> Vec<String> {
    let text = metrics.text(&Readings::default()).unwrap();
    let found = text.lines().filter(|line| line.starts_with(begin));
    found.map(str::to_owned).collect()
}

#[test]
fn what_is_known_is_there_from_the_start() {
    let metrics = Metrics::new(["payment"]).unwrap();
    let attempts = lines(&metrics, "amends_step_attempts_total{");
    assert_eq!(attempts.len(), 6, "{attempts:?}");
    assert!(attempts.iter().all(|line| line.ends_with(" 0")));
    assert_eq!(lines(&metrics, "amends_messages_published_total{").len(), 6);
    assert_eq!(lines(&metrics, "amends_messages_received_total{").len(), 8);
    assert_eq!(lines(&metrics, "amends_guard_waiting{").len(), 3);
}

#[test]
fn an_attempt_is_counted_as_what_it_came_to() {
    use crate::definition::request::Phase;
    let metrics = Metrics::new([]).unwrap();
    let payment = metrics.participant("payment");
    let took = Duration::from_millis(7);
    payment.attempt_ended(Phase::Action, AttemptOutcome::Refused, took);
    payment.attempt_ended(Phase::Compensation, AttemptOutcome::Succeeded, took);
    let counted: Vec<String> = lines(&metrics, "amends_step_attempts_total{")
        .into_iter()
        .filter(|line| line.ends_with(" 1"))
        .collect();
    let series = |outcome: &str, phase: &str| {
        format!(
            "amends_step_attempts_total{{outcome=\"{outcome}\",participant=\"payment\",phase=\"{phase}\"}} 1"
        )
    };
    assert_eq!(
        counted,
        [
            series("refused", "action"),
            series("succeeded", "compensation")
        ]
    );
}

#[test]
fn an_answer_is_counted_by_its_route() {
    let metrics = Metrics::new([]).unwrap();
    metrics.route_known(Method::Post, Some("/api/v1/sagas"));
    assert!(lines(&metrics, "amends_http_requests_total{").is_empty());
    assert_eq!(
        lines(&metrics, "amends_http_request_duration_seconds_count{").len(),
        1
    );
    let took = Duration::from_millis(1);
    metrics.request_answered(Method::Post, Some("/api/v1/sagas"), 202, took);
    metrics.request_answered(Method::Post, Some("/api/v1/sagas"), 202, took);
    metrics.request_answered(Method::named("BREW"), None, 404, took);
    assert_eq!(
        lines(&metrics, "amends_http_requests_total{"),
        [
            r#"amends_http_requests_total{method="POST",route="/api/v1/sagas",status="202"} 2"#,
            r#"amends_http_requests_total{method="other",route="unmatched",status="404"} 1"#,
        ]
    );
}

#[test]
fn silent_metrics_count_nothing_of_what_happens() {
    use crate::definition::request::Phase;
    let metrics = Metrics::silent().unwrap();
    let participant = metrics.participant("payment");
    participant.attempt_ended(Phase::Action, AttemptOutcome::Refused, Duration::ZERO);
    metrics.committed(3, Duration::ZERO);
    let text = metrics.text(&Readings::default()).unwrap();
    assert!(
        !text.contains("} 1\n") || text.matches("} 1\n").count() == 1,
        "{text}"
    );
}
