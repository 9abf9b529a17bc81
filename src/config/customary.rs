//! The variables that other programs know too: `DATABASE_URL`, and OpenTelemetry's `OTEL_*`. They
//! win over the file, and `AMENDS__…` wins over them.
//!
//! What is not looked at here the OpenTelemetry SDK reads by itself: `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_BSP_*`, `OTEL_SPAN_*` and `OTEL_EXPORTER_OTLP_TIMEOUT`.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::problem::ConfigProblem;
use super::telemetry::TRACES_PATH;
use super::tree::{Content, Node, Scalar};

/// The environment, and the tree that it is put into.
struct Customary<'a> {
    environment: &'a BTreeMap<String, String>,
    tree: &'a mut Node,
    problems: &'a mut Vec<ConfigProblem>,
}

/// Puts the customary variables into the tree.
pub(super) fn put(
    tree: &mut Node,
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<ConfigProblem>,
) {
    let mut customary = Customary {
        environment,
        tree,
        problems,
    };
    // An empty one has always been a URL that is none, and said so.
    if let Some(url) = environment.get("DATABASE_URL") {
        customary.set(&["database", "url"], "DATABASE_URL", url);
    }
    customary.otel();
}

impl Customary<'_> {
    /// A variable; empty counts as unset, as OpenTelemetry has it.
    fn variable(&self, name: &str) -> Option<String> {
        let value = self.environment.get(name)?;
        (!value.is_empty()).then(|| value.clone())
    }

    /// The first of two variables that is set, of which one is for traces alone.
    fn either(&self, traces: &'static str, all: &'static str) -> Option<(&'static str, String)> {
        [traces, all]
            .into_iter()
            .find_map(|name| Some((name, self.variable(name)?)))
    }

    fn set(&mut self, path: &[&str], origin: &str, value: &str) {
        // What others wrote into a variable is no template of ours.
        let content = Content::Scalar(Scalar {
            literal: true,
            ..Scalar::new(value)
        });
        self.put(path, origin, content);
    }

    fn put(&mut self, path: &[&str], origin: &str, content: Content) {
        let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        let origin = origin.into();
        self.tree.set(&path, Node { content, origin });
    }

    fn problem(&mut self, name: &str, message: &str) {
        self.problems.push(ConfigProblem {
            path: name.to_owned(),
            message: message.to_owned(),
        });
    }

    fn otel(&mut self) {
        for (name, off) in [
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            if self
                .variable(name)
                .is_some_and(|value| value.eq_ignore_ascii_case(off))
            {
                self.put(&["telemetry", "otlp"], name, Content::Null);
                return;
            }
        }
        self.endpoint();
        if !self.exports() {
            return;
        }
        if let Some(name) = self.variable("OTEL_SERVICE_NAME") {
            let path = ["telemetry", "otlp", "service_name"];
            self.set(&path, "OTEL_SERVICE_NAME", &name);
        }
        self.headers();
        self.sampler();
        let protocol = self.either(
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        );
        if let Some((name, protocol)) = protocol
            && protocol != "http/protobuf"
        {
            self.problem(name, "must be http/protobuf: nothing else is spoken");
        }
    }

    /// Whether traces are exported as far as is known here: by the file, by these variables, or by
    /// those that come after them.
    fn exports(&self) -> bool {
        let overridden = self
            .environment
            .keys()
            .any(|name| name.starts_with("AMENDS__TELEMETRY__OTLP"));
        overridden || self.tree.has(&["telemetry", "otlp"])
    }

    fn endpoint(&mut self) {
        let path = ["telemetry", "otlp", "endpoint"];
        if let Some(url) = self.variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            self.set(&path, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &url);
        } else if let Some(base) = self.variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
            let url = format!("{}{TRACES_PATH}", base.trim_end_matches('/'));
            self.set(&path, "OTEL_EXPORTER_OTLP_ENDPOINT", &url);
        }
    }

    /// `name=value,name=value`, percent-encoded.
    fn headers(&mut self) {
        let headers = self.either(
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "OTEL_EXPORTER_OTLP_HEADERS",
        );
        let Some((origin, headers)) = headers else {
            return;
        };
        for header in headers
            .split(',')
            .filter(|header| !header.trim().is_empty())
        {
            let Some((name, value)) = header.split_once('=') else {
                self.problem(origin, "must be name=value, separated by commas");
                continue;
            };
            let Ok(value) = percent_decode_str(value.trim()).decode_utf8() else {
                self.problem(origin, "holds a value that is not UTF-8");
                continue;
            };
            let name = name.trim().to_ascii_lowercase();
            let path = ["telemetry", "otlp", "headers", &name];
            self.set(&path, origin, &value);
        }
    }

    fn sampler(&mut self) {
        let Some(sampler) = self.variable("OTEL_TRACES_SAMPLER") else {
            return;
        };
        let argument = self.variable("OTEL_TRACES_SAMPLER_ARG");
        let ratio = match sampler.as_str() {
            "parentbased_always_on" => "1".to_owned(),
            "parentbased_always_off" => "0".to_owned(),
            "parentbased_traceidratio" => argument.unwrap_or_else(|| "1".to_owned()),
            _ => {
                self.problem(
                    "OTEL_TRACES_SAMPLER",
                    "must be parentbased_always_on, parentbased_always_off or \
                     parentbased_traceidratio: a caller that decided is always heeded",
                );
                return;
            }
        };
        let path = ["telemetry", "otlp", "sample_ratio"];
        self.set(&path, "OTEL_TRACES_SAMPLER", &ratio);
    }
}
