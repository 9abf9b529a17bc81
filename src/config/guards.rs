//! The guards around every call to a participant: each off when its section is left out.

use super::quantity::{count, duration_ms, fraction};
use super::section::Section;

/// The guards of one participant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guards {
    /// Stops calling a participant that fails.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Bounds the calls under way at once.
    pub bulkhead: Option<Bulkhead>,
    /// Bounds the calls of a second.
    pub rate_limit: Option<RateLimit>,
}

/// When a participant that fails is called no more, and when it is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitBreaker {
    /// The share of failures over the window, above 0 and up to 1, from which on it opens.
    pub failure_rate: Option<f64>,
    /// How far back failures are counted, in milliseconds.
    pub window_ms: u64,
    /// With fewer calls in the window than this, their share says nothing.
    pub calls_min: u32,
    /// So many failures in a row open it.
    pub consecutive_failures: Option<u32>,
    /// A call at least that long counts as a failure, in milliseconds.
    pub slow_call_ms: Option<u64>,
    /// How long it stays open at first, in milliseconds; doubled each time that a probe fails.
    pub open_for_ms: u64,
    /// How long it stays open at most, in milliseconds.
    pub open_for_max_ms: u64,
    /// How many calls are let through at once when it is half open.
    pub probes: u32,
}

/// How many calls may be under way and may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulkhead {
    /// Calls under way at once.
    pub concurrent_max: u32,
    /// Calls that wait in memory.
    pub waiting_max: u32,
    /// How long a call waits in memory, in milliseconds.
    pub wait_max_ms: u64,
}

impl Bulkhead {
    /// How many calls wait in memory where no bulkhead says.
    pub const WAITING_MAX: u32 = 1_000;
    /// How long a call waits in memory where no bulkhead says, in milliseconds.
    pub const WAIT_MAX_MS: u64 = 10_000;
}

/// How many calls are sent in a second, by each replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls a second.
    pub per_second: u32,
    /// Calls at once after a pause.
    pub burst: u32,
}

/// More than this of anything is a slip of the pen.
const COUNT_MAX: u32 = 1_000_000;

pub(super) fn read_guards(section: &mut Section) -> Guards {
    Guards {
        circuit_breaker: read_guard(section, "circuit_breaker", read_breaker),
        bulkhead: read_guard(section, "bulkhead", |child| Some(read_bulkhead(child))),
        rate_limit: read_guard(section, "rate_limit", |child| {
            Some(RateLimit {
                per_second: child.read("per_second", (200, "200"), count(1..=COUNT_MAX)),
                burst: child.read("burst", (50, "50"), count(1..=COUNT_MAX)),
            })
        }),
    }
}

/// A guard whose section is written out; off when it is not.
fn read_guard<T>(
    section: &mut Section,
    key: &'static str,
    read: impl FnOnce(&mut Section) -> Option<T>,
) -> Option<T> {
    if !section.has(key) {
        section.ignore(key);
        section.show(key, serde_json::Value::Null);
        return None;
    }
    let mut child = section.child(key);
    let guard = read(&mut child);
    section.absorb(key, child);
    guard
}

fn read_breaker(section: &mut Section) -> Option<CircuitBreaker> {
    let counts = ["failure_rate", "consecutive_failures"];
    if !counts.iter().any(|key| section.has(key)) {
        section.problem_of_all(
            "has neither failure_rate nor consecutive_failures, so nothing would ever open it",
        );
    }
    let failure_rate = section.read_optional("failure_rate", fraction);
    let consecutive_failures = section.read_optional("consecutive_failures", count(1..=COUNT_MAX));
    let slow_call_ms = section.read_optional("slow_call", duration_ms);
    let window_ms = section.read("window", (30_000, "30s"), duration_ms);
    let calls_min = section.read("minimum_calls", (20, "20"), count(1..=COUNT_MAX));
    let open_for_ms = section.read("open_for", (5_000, "5s"), duration_ms);
    // A longer `open_for` without its own maximum is its maximum.
    let (most_ms, most) = if open_for_ms > 60_000 {
        (open_for_ms, format!("{open_for_ms}ms"))
    } else {
        (60_000, "60s".to_owned())
    };
    let open_for_max_ms = section.read("open_for_max", (most_ms, most.as_str()), duration_ms);
    if open_for_max_ms < open_for_ms {
        section.problem("open_for_max", "must not be shorter than open_for");
    }
    let probes = section.read("probes", (1, "1"), count(1..=COUNT_MAX));
    Some(CircuitBreaker {
        failure_rate,
        window_ms,
        calls_min,
        consecutive_failures,
        slow_call_ms,
        open_for_ms,
        open_for_max_ms,
        probes,
    })
}

fn read_bulkhead(section: &mut Section) -> Bulkhead {
    Bulkhead {
        concurrent_max: section.read("max_concurrent", (50, "50"), count(1..=COUNT_MAX)),
        waiting_max: section.read(
            "max_waiting",
            (Bulkhead::WAITING_MAX, "1000"),
            count(1..=COUNT_MAX),
        ),
        wait_max_ms: section.read("max_wait", (Bulkhead::WAIT_MAX_MS, "10s"), duration_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::Node;

    /// The guards of a participant, what is shown of them, and what is wrong.
    fn read(yaml: &str) -> (Guards, serde_json::Value, Vec<String>) {
        let node = Node::from_yaml(yaml, "test").unwrap();
        let mut section = Section::open("participants.a", Some(node));
        let guards = read_guards(&mut section);
        let closed = section.close();
        let problems = closed.problems.into_iter();
        let problems = problems.map(|problem| format!("{} {}", problem.path, problem.message));
        (guards, closed.shown, problems.collect())
    }

    #[test]
    fn what_is_left_out_or_null_is_off() {
        for yaml in [
            "{}",
            "{ circuit_breaker: null, bulkhead: null, rate_limit: null }",
        ] {
            let (guards, shown, problems) = read(yaml);
            assert_eq!(guards, Guards::default());
            assert_eq!(problems, Vec::<String>::new());
            assert_eq!(shown["bulkhead"], serde_json::Value::Null);
        }
    }

    #[test]
    fn a_section_in_part_has_the_defaults_for_the_rest() {
        let yaml = "{ circuit_breaker: { consecutive_failures: 3 }, bulkhead: {}, rate_limit: {} }";
        let (guards, shown, problems) = read(yaml);
        assert_eq!(problems, Vec::<String>::new());
        let expected = Guards {
            circuit_breaker: Some(CircuitBreaker {
                failure_rate: None,
                window_ms: 30_000,
                calls_min: 20,
                consecutive_failures: Some(3),
                slow_call_ms: None,
                open_for_ms: 5_000,
                open_for_max_ms: 60_000,
                probes: 1,
            }),
            bulkhead: Some(Bulkhead {
                concurrent_max: 50,
                waiting_max: 1_000,
                wait_max_ms: 10_000,
            }),
            rate_limit: Some(RateLimit {
                per_second: 200,
                burst: 50,
            }),
        };
        assert_eq!(guards, expected);
        assert_eq!(shown["rate_limit"]["burst"], 50);
        assert_eq!(shown["circuit_breaker"]["open_for_max"], "60s");
        assert_eq!(
            shown["circuit_breaker"]["failure_rate"],
            serde_json::Value::Null
        );
    }

    #[test]
    fn everything_written_counts() {
        let yaml = "
circuit_breaker: { failure_rate: 0.25, window: 1m, minimum_calls: 7, consecutive_failures: 9,
                   slow_call: 2s, open_for: 50ms, open_for_max: 70ms, probes: 3 }
bulkhead: { max_concurrent: 2, max_waiting: 3, max_wait: 1ms }
rate_limit: { per_second: 1, burst: 1 }
";
        let (guards, _, problems) = read(yaml);
        assert_eq!(problems, Vec::<String>::new());
        let breaker = guards.circuit_breaker.unwrap();
        assert_eq!(breaker.failure_rate, Some(0.25));
        assert_eq!((breaker.window_ms, breaker.calls_min), (60_000, 7));
        assert_eq!(breaker.slow_call_ms, Some(2_000));
        assert_eq!((breaker.open_for_ms, breaker.open_for_max_ms), (50, 70));
        assert_eq!(breaker.probes, 3);
        let bulkhead = guards.bulkhead.unwrap();
        assert_eq!(
            (
                bulkhead.concurrent_max,
                bulkhead.waiting_max,
                bulkhead.wait_max_ms
            ),
            (2, 3, 1)
        );
        let limit = guards.rate_limit.unwrap();
        assert_eq!((limit.per_second, limit.burst), (1, 1));
    }

    #[test]
    fn a_long_open_time_is_its_own_maximum() {
        let yaml = "{ circuit_breaker: { failure_rate: 1, open_for: 5m } }";
        let breaker = read(yaml).0.circuit_breaker.unwrap();
        assert_eq!(breaker.open_for_max_ms, 300_000);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (yaml, told) in [
            (
                "{ circuit_breaker: {} }",
                "participants.a.circuit_breaker has neither",
            ),
            (
                "{ circuit_breaker: { slow_call: 1s } }",
                "participants.a.circuit_breaker has neither",
            ),
            (
                "{ circuit_breaker: { failure_rate: 1, open_for: 2s, open_for_max: 1s } }",
                "participants.a.circuit_breaker.open_for_max must not be shorter",
            ),
            (
                "{ circuit_breaker: { failure_rate: 0 } }",
                "failure_rate must be above 0",
            ),
            (
                "{ circuit_breaker: { failure_rate: 1.5 } }",
                "failure_rate must be above 0",
            ),
            (
                "{ circuit_breaker: { failure_rate: nan } }",
                "failure_rate must be above 0",
            ),
            (
                "{ circuit_breaker: { failure_rate: 1, probes: 0 } }",
                "probes must be a whole number",
            ),
            (
                "{ bulkhead: { max_concurrent: 0 } }",
                "max_concurrent must be a whole number",
            ),
            (
                "{ bulkhead: { max_wait: soon } }",
                "max_wait is not a duration",
            ),
            ("{ bulkhead: 5 }", "bulkhead must be a map"),
            (
                "{ rate_limit: { per_second: 0 } }",
                "per_second must be a whole number",
            ),
            ("{ rate_limit: { per_hour: 1 } }", "per_hour unknown key"),
        ] {
            let (_, _, problems) = read(yaml);
            assert_eq!(problems.len(), 1, "{yaml}: {problems:?}");
            assert!(problems[0].contains(told), "{yaml}: {problems:?}");
        }
    }
}
