//! The configuration as a whole: layers, problems, what is shown.

use super::*;
use crate::store::AuditAction;

mod auth;

fn sources(file: &str) -> (Sources, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        std::fs::write(directory.path().join("amends.yaml"), file).unwrap();
    }
    let sources = Sources {
        directory: directory.path().to_owned(),
        ..Sources::default()
    };
    (sources, directory)
}

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    let (mut sources, _directory) = sources(file);
    sources.environment = owned(environment).into_iter().collect();
    sources.flags = owned(flags);
    Config::load(&sources)
}

fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<(String, String)> {
    let error = load(file, environment, &[]).unwrap_err();
    error
        .problems
        .into_iter()
        .map(|problem| (problem.path, problem.message))
        .collect()
}

#[test]
fn the_defaults_need_no_file() {
    let config = load("", &[], &[]).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.management.to_string(), "127.0.0.1:8081");
    assert_eq!(config.server.body_max_bytes, 1 << 20);
    assert_eq!(config.database.url.as_str(), "sqlite://./amends.db");
    assert_eq!((config.database.pool, config.database.migrate), (20, true));
    assert_eq!((config.engine.shards, config.engine.lease_ms), (64, 10_000));
    assert_eq!(config.engine.active_sagas_max, 100_000);
    assert_eq!(config.engine.drain_timeout_ms, 30_000);
    assert_eq!(
        config.sagas,
        Sagas {
            directory: "sagas".into(),
            strict: false
        }
    );
    assert_eq!(
        config.telemetry,
        Telemetry {
            log: LogFormat::Json,
            filter: "info".to_owned(),
            otlp: None,
            counts: true,
        }
    );
    assert!(config.participants.is_empty());
}

#[test]
fn flags_win_over_amends_variables_over_customary_ones_over_the_file() {
    let file = "database: { url: 'postgres://file/d', pool: 1 }\nserver: { listen: 127.0.0.1:1 }";
    let customary = ("DATABASE_URL", "postgres://customary/${d}");
    let amends = ("AMENDS__DATABASE__URL", "postgres://amends/d");
    let url = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        let config = load(file, environment, flags).unwrap();
        assert_eq!((config.database.pool, config.server.listen.port()), (1, 1));
        config.database.url.as_str().to_owned()
    };
    assert_eq!(url(&[], &[]), "postgres://file/d");
    assert_eq!(url(&[customary], &[]), "postgres://customary/${d}");
    assert_eq!(url(&[customary, amends], &[]), "postgres://amends/d");
    let flag = ("database.url", "postgres://flag/d");
    assert_eq!(url(&[customary, amends], &[flag]), "postgres://flag/d");
}

#[test]
fn variables_reach_every_level_and_may_make_participants() {
    let file = "participants: { order-desk: { url: 'http://a', headers: { x-api-key: one } } }";
    let environment = [
        (
            "AMENDS__PARTICIPANTS__ORDER_DESK__HEADERS__X_API_KEY",
            "two",
        ),
        (
            "AMENDS__PARTICIPANTS__INVENTORY",
            "{ url: 'http://i', timeout: 1s }",
        ),
        ("AMENDS__PARTICIPANTS__INVENTORY__TIMEOUT", "2s"),
        ("AMENDS__SERVER__PUBLIC_URL", "null"),
        ("AMENDS__SERVER__LISTEN", "[::1]:0"),
    ];
    let config = load(file, &environment, &[]).unwrap();
    let Transport::Http(desk) = &config.participants["order-desk"].transport else {
        panic!("{config:?}")
    };
    assert_eq!(desk.headers.len(), 1);
    assert_eq!(desk.headers[0].1, "two");
    assert_eq!(config.participants["inventory"].timeout_ms, 2_000);
    assert_eq!(config.server.listen.to_string(), "[::1]:0");
}

#[test]
fn every_problem_is_found_at_once_with_its_path() {
    let file = r"
serverr: {}
server: { listen: nowhere, max_body: big }
database: { url: 'oracle://u:hunter2@h/d', pool: 0 }
engine: { lease: 10ms, shard: 3 }
participants:
  Bad: { url: http://x }
  inventory: { url: 'ftp://x', timout: 5s }
  payment: { headers: { Idempotency-Key: x, authorization: '${env:NO_SUCH}' } }
sagas: [a]
";
    let found = problems(
        file,
        &[
            ("AMENDS__ENGINE__DRAIN_TIMEOUT", "soon"),
            ("RUST_LOG", "a=b=c"),
        ],
    );
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    for path in [
        "serverr",
        "server.listen",
        "server.max_body",
        "database.url",
        "database.pool",
        "engine.lease",
        "engine.shard",
        "engine.drain_timeout",
        "participants.Bad",
        "participants.inventory.url",
        "participants.inventory.timout",
        "participants.payment.url",
        "participants.payment.headers.Idempotency-Key",
        "participants.payment.headers.authorization",
        "sagas",
        "RUST_LOG",
    ] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    assert_eq!(paths.len(), 16, "{found:?}");
    let message = |path: &str| &found.iter().find(|(found, _)| found == path).unwrap().1;
    assert!(
        message("serverr").contains("did you mean server?"),
        "{}",
        message("serverr")
    );
    assert!(message("participants.inventory.timout").contains("did you mean timeout?"));
    assert!(
        message("engine.lease").contains("(amends.yaml:5)"),
        "{}",
        message("engine.lease")
    );
    assert!(message("engine.drain_timeout").contains("(AMENDS__ENGINE__DRAIN_TIMEOUT)"));
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn an_unreadable_or_broken_file_is_a_problem() {
    let missing = Sources {
        file: Some("/no/such/amends.yaml".into()),
        ..Sources::default()
    };
    assert_eq!(
        Config::load(&missing).unwrap_err().problems[0].path,
        "/no/such/amends.yaml"
    );
    assert_eq!(
        problems("", &[("AMENDS_CONFIG", "/no/such.yaml")])[0].0,
        "/no/such.yaml"
    );
    for broken in [
        "a: [",
        "- a",
        "server: {}\nserver: {}",
        "a: 1\n---\nb: 2",
        "text",
    ] {
        assert_eq!(problems(broken, &[]).len(), 1, "{broken}");
    }
    for empty in ["# nothing", "server:", "participants:"] {
        load(empty, &[], &[]).unwrap();
    }
}

#[test]
fn what_is_audited_is_all_or_a_list() {
    let audit = |file: &str| load(file, &[], &[]).unwrap().audit;
    assert_eq!(audit(""), AuditPolicy::default());
    assert_eq!(audit("audit: { actions: all }"), AuditPolicy::default());
    assert_eq!(audit("audit: { actions: [all] }"), AuditPolicy::default());
    let some = audit("audit: { actions: [SAGA_FAILED, SAGA_CANCELLED], include_output: true }");
    let expected = AuditPolicy {
        actions: [AuditAction::SagaFailed, AuditAction::SagaCancelled]
            .into_iter()
            .collect(),
        include_input: false,
        include_output: true,
    };
    assert_eq!(some, expected);
    let one = load("", &[("AMENDS__AUDIT__ACTIONS", "SAGA_FAILED")], &[]).unwrap();
    assert!(one.audit.actions.contains(AuditAction::SagaFailed));
    assert!(!one.audit.actions.contains(AuditAction::SagaStarted));
    assert_eq!(one.masked()["audit"]["actions"], "SAGA_FAILED");

    let file = "audit: { actions: [SAGA_FAILED, SAGA_CANCELED, x], include_input: 1, other: 2 }";
    let found = problems(file, &[]);
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    let expected = [
        "audit.actions[1]",
        "audit.actions[2]",
        "audit.include_input",
        "audit.other",
    ];
    assert_eq!(paths, expected);
    assert!(
        found[0].1.contains("did you mean SAGA_CANCELLED?"),
        "{found:?}"
    );
    for bad in ["[all, SAGA_FAILED]", "[]", "", "{ a: b }", "saga_failed"] {
        let found = problems(&format!("audit: {{ actions: {bad} }}"), &[]);
        assert_eq!(found.len(), 1, "{bad}: {found:?}");
        assert_eq!(found[0].0, "audit.actions", "{bad}");
    }
}

#[test]
fn what_comes_later_is_refused_unless_it_says_its_default() {
    let defaults = r"
engine: { role: auto, role_file: /etc/podinfo/role, preview_namespace: preview }
audit: { actions: all, include_input: false, include_output: false }
telemetry: { otlp: null }
participants:
  a: { url: http://a, circuit_breaker: null, bulkhead: null, rate_limit: null, queue: null,
       on_dead_letter: null }
";
    load(defaults, &[], &[]).unwrap();
    for (path, value) in [("engine.role", "preview"), ("engine.role_file", "/other")] {
        let error = load(defaults, &[], &[(path, value)]).unwrap_err();
        let [problem] = error.problems.as_slice() else {
            panic!("{path}: {error}")
        };
        assert_eq!(problem.path, path);
        assert!(
            problem
                .message
                .contains("is not supported by this version yet"),
            "{problem}"
        );
    }
}

#[test]
fn brokers_are_off_until_they_are_configured() {
    let defaults = r"
rabbitmq: { url: null, prefix: amends, declare: true, prefetch: 256 }
sqs: { enabled: false, endpoint: null, prefix: amends, declare: false }
";
    let config = load(defaults, &[], &[]).unwrap();
    assert_eq!((config.rabbitmq, config.sqs), (None, None));

    let both = r"
rabbitmq: { url: 'amqp://ann:${env:PASSWORD}@rabbit', prefix: shop, declare: false, prefetch: 8 }
sqs: { enabled: true, endpoint: 'http://localhost:5000', prefix: shop, declare: true }
participants:
  payment: { transport: rabbitmq, queue: payment.commands, on_dead_letter: hold, timeout: 10s }
  courier: { transport: sqs, queue: courier.fifo, bulkhead: { max_concurrent: 5 } }
  books: { transport: local }
";
    let config = load(both, &[("PASSWORD", "hunter2")], &[]).unwrap();
    let rabbitmq = config.rabbitmq.clone().unwrap();
    assert_eq!(rabbitmq.url.as_str(), "amqp://ann:hunter2@rabbit");
    assert_eq!(
        (
            rabbitmq.prefix.as_str(),
            rabbitmq.declare,
            rabbitmq.prefetch
        ),
        ("shop", false, 8)
    );
    assert!(!config.masked_yaml().contains("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    let Transport::RabbitMq(payment) = &config.participants["payment"].transport else {
        panic!("{config:?}")
    };
    assert_eq!(payment.queue, "payment.commands");
    assert_eq!(payment.on_dead_letter, OnDeadLetter::Hold);
    let Transport::Sqs(courier) = &config.participants["courier"].transport else {
        panic!("{config:?}")
    };
    assert_eq!(courier.on_dead_letter, OnDeadLetter::Fail);
    let again = load(&config.masked_yaml(), &[], &[]).unwrap();
    assert_eq!(again.masked(), config.masked());
}

#[test]
fn a_participant_is_told_what_its_transport_has() {
    let broker = "rabbitmq: { url: 'amqp://rabbit' }\n";
    for (participant, path) in [
        ("{ transport: rabbitmq }", "participants.p.queue"),
        (
            "{ transport: rabbitmq, queue: 'a b' }",
            "participants.p.queue",
        ),
        (
            "{ transport: rabbitmq, queue: q, url: 'http://p' }",
            "participants.p.url",
        ),
        (
            "{ transport: rabbitmq, queue: q, on_dead_letter: forget }",
            "participants.p.on_dead_letter",
        ),
        ("{ transport: sqs, queue: q }", "participants.p.transport"),
        (
            "{ transport: pigeon, url: 'http://p' }",
            "participants.p.transport",
        ),
        ("{ transport: local, queue: q }", "participants.p.queue"),
        ("{ url: 'http://p', queue: q }", "participants.p.queue"),
        (
            "{ url: 'http://p', on_dead_letter: hold }",
            "participants.p.on_dead_letter",
        ),
        (
            "{ transport: local, headers: { a: b } }",
            "participants.p.headers",
        ),
    ] {
        let found = problems(
            &format!("{broker}participants: {{ p: {participant} }}"),
            &[],
        );
        let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, [path], "{participant}: {found:?}");
    }
    for (section, path) in [
        ("rabbitmq: { url: 'http://rabbit' }", "rabbitmq.url"),
        ("rabbitmq: { prefix: 'a b' }", "rabbitmq.prefix"),
        ("rabbitmq: { prefetch: 0 }", "rabbitmq.prefetch"),
        ("sqs: { endpoint: here }", "sqs.endpoint"),
        ("server: { callback_key: short }", "server.callback_key"),
    ] {
        let found = problems(section, &[]);
        assert_eq!(found.len(), 1, "{section}: {found:?}");
        assert_eq!(found[0].0, path);
    }
}

#[test]
fn the_key_of_callbacks_is_a_secret() {
    let key = "0123456789abcdef0123456789abcdef";
    let config = load(&format!("server: {{ callback_key: {key} }}"), &[], &[]).unwrap();
    assert_eq!(
        config.server.callback_key.as_ref().unwrap().as_bytes(),
        key.as_bytes()
    );
    assert!(!config.masked_yaml().contains(key));
    assert!(!format!("{config:?}").contains(key));
}

const COLLECTOR: &str = "http://collector:4318";

fn otlp(file: &str, environment: &[(&str, &str)]) -> Option<Otlp> {
    load(file, environment, &[]).unwrap().telemetry.otlp
}

#[test]
fn traces_go_where_the_file_says() {
    assert!(otlp("", &[]).is_none());
    let file = "telemetry: { otlp: { endpoint: 'http://collector:4318', sample_ratio: 0.25,
      headers: { authorization: 'Bearer ${env:TOKEN}' } } }";
    let config = load(file, &[("TOKEN", "hunter2")], &[]).unwrap();
    assert!(!config.masked_yaml().contains("hunter2"));
    assert!(!format!("{:?}", config.telemetry).contains("hunter2"));
    let again = load(&config.masked_yaml(), &[], &[]).unwrap();
    assert_eq!(again.masked(), config.masked());
    let otlp = config.telemetry.otlp.unwrap();
    assert_eq!(otlp.endpoint.as_str(), "http://collector:4318/v1/traces");
    assert_eq!(
        (otlp.sample_ratio, otlp.service_name.as_str()),
        (0.25, "amends")
    );
    assert_eq!(otlp.headers[0].1, "Bearer hunter2");
    let own = "telemetry: { otlp: { endpoint: 'https://c/otlp/spans' } }";
    let own = load(own, &[], &[]).unwrap().telemetry.otlp.unwrap();
    assert_eq!(own.endpoint.path(), "/otlp/spans");
}

#[test]
fn opentelemetrys_variables_win_over_the_file_and_amends_over_them() {
    let of_variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", COLLECTOR),
        ("OTEL_SERVICE_NAME", "orders"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, x-other=c"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
    ];
    let found = otlp("", &of_variables).unwrap();
    assert_eq!(found.endpoint.as_str(), "http://collector:4318/v1/traces");
    assert_eq!(
        (found.sample_ratio, found.service_name.as_str()),
        (0.5, "orders")
    );
    let headers: Vec<_> = found
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    assert_eq!(headers.len(), 2);
    assert!(
        headers[0].0 == "x-key" && headers[0].1 == "a b",
        "{headers:?}"
    );

    let file = "telemetry: { otlp: { endpoint: 'http://file', service_name: file } }";
    assert_eq!(otlp(file, &of_variables).unwrap().service_name, "orders");
    let ours = [
        &of_variables[..],
        &[("AMENDS__TELEMETRY__OTLP__SERVICE_NAME", "ours")],
    ]
    .concat();
    assert_eq!(otlp(file, &ours).unwrap().service_name, "ours");
    for off in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        assert!(otlp(file, &[&of_variables[..], &[off]].concat()).is_none());
    }
    // What says how to export, but not that it is to be done, does nothing.
    assert!(
        otlp(
            "",
            &[
                ("OTEL_SERVICE_NAME", "orders"),
                ("OTEL_TRACES_SAMPLER", "always_on")
            ]
        )
        .is_none()
    );
    let of_traces = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"),
        of_variables[0],
    ];
    assert_eq!(
        otlp("", &of_traces).unwrap().endpoint.as_str(),
        "http://t/x"
    );
}

#[test]
fn what_is_wrong_with_traces_is_told() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", COLLECTOR);
    for (variable, path) in [
        (("OTEL_TRACES_SAMPLER", "always_on"), "OTEL_TRACES_SAMPLER"),
        (
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ),
        (
            ("OTEL_EXPORTER_OTLP_HEADERS", "nonsense"),
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            ("AMENDS__TELEMETRY__OTLP__SAMPLE_RATIO", "2"),
            "telemetry.otlp.sample_ratio",
        ),
        (
            ("AMENDS__TELEMETRY__OTLP__ENDPOINT", "collector"),
            "telemetry.otlp.endpoint",
        ),
    ] {
        let found = problems("", &[endpoint, variable]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, path);
    }
    let found = problems("telemetry: { otlp: { service_name: x } }", &[]);
    assert_eq!(found[0].0, "telemetry.otlp.endpoint");
}

#[test]
fn only_loopback_is_open_without_a_word() {
    for listen in ["0.0.0.0:8080", "[::]:8080", "10.1.2.3:80"] {
        let found = problems("", &[("AMENDS__SERVER__LISTEN", listen)]);
        assert_eq!(found[0].0, "server.listen");
        load(
            "auth: { mode: none }",
            &[("AMENDS__SERVER__LISTEN", listen)],
            &[],
        )
        .unwrap();
        load("", &[], &[("server.listen", listen), ("auth.mode", "none")]).unwrap();
    }
    for listen in ["localhost:1", "[::1]:1", "127.0.0.2:1"] {
        load("", &[], &[("server.listen", listen)]).unwrap();
    }
    assert_eq!(
        problems("server: { management: 127.0.0.1:8080 }", &[])[0].0,
        "server.management"
    );
}

#[test]
fn what_is_shown_has_no_secret_and_can_be_read_again() {
    let file = r"
database: { url: 'postgres://amends:hunter2@db/amends' }
participants:
  a: { url: 'http://${env:HOST}:1', headers: { authorization: Bearer hunter2, x: '${env:KEY}' } }
";
    let config = load(file, &[("HOST", "hidden"), ("KEY", "hunter2")], &[]).unwrap();
    let shown = config.masked_yaml();
    for secret in ["hunter2", "hidden"] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!format!("{:?}", config.participants["a"]).contains("hunter2"));
        assert!(!format!("{:?}", config.database).contains("hunter2"));
    }
    assert_eq!(
        config.masked()["database"]["url"],
        "postgres://amends:***@db/amends"
    );
    assert_eq!(config.masked()["participants"]["a"]["url"], "http://***:1");
    assert_eq!(config.masked()["participants"]["a"]["timeout"], "30s");

    let plain = "participants: { a: { url: 'http://h' } }\nserver: { max_body: 2MiB }";
    let once = load(plain, &[], &[]).unwrap();
    let again = load(&once.masked_yaml(), &[], &[]).unwrap();
    assert_eq!(once.masked(), again.masked());
    assert_eq!(again.server.body_max_bytes, 2 << 20);
}

/// `amends.example.yaml` has every key that works and no other, and says the defaults.
#[test]
fn the_example_is_complete_and_valid() {
    const EXAMPLE: &str = include_str!("../../amends.example.yaml");
    let example = load(EXAMPLE, &[("INVENTORY_TOKEN", "t")], &[]).unwrap();
    let bare = load("participants: { inventory: { url: 'https://inventory.example/api', headers: { authorization: x }, circuit_breaker: { failure_rate: 0.5, consecutive_failures: 5, slow_call: 5s }, bulkhead: {}, rate_limit: {} } }", &[], &[]).unwrap();
    let mut shown = example.masked().clone();
    let authorization = &mut shown["participants"]["inventory"]["headers"]["authorization"];
    assert_eq!(authorization.take(), "***");
    *authorization = "***".into();
    assert_eq!(&shown, bare.masked());

    let written = tree::Node::from_yaml(EXAMPLE, "example").unwrap();
    let mut missing = Vec::new();
    unwritten(bare.masked(), &written, String::new(), &mut missing);
    assert!(
        missing.is_empty(),
        "not in amends.example.yaml: {missing:?}"
    );
}

fn unwritten(shown: &Value, written: &tree::Node, path: String, missing: &mut Vec<String>) {
    let Value::Object(entries) = shown else {
        return;
    };
    let tree::Content::Map(nodes) = &written.content else {
        return missing.push(path);
    };
    for (key, value) in entries {
        let path = format!("{path}.{key}");
        match nodes.iter().find(|(name, _)| name == key) {
            Some((_, node)) => unwritten(value, node, path, missing),
            None => missing.push(path),
        }
    }
}

#[test]
fn tls_files_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(path("ca.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("empty.pem"), "").unwrap();
    let tls = |url: &str, tls: &str| {
        let flags = [("participants.a.url", url), ("participants.a.tls", tls)];
        load("", &[], &flags)
    };
    let (ca, key, empty) = (path("ca.pem"), path("key.pem"), path("empty.pem"));
    let full = format!("{{ ca: {ca}, certificate: {ca}, key: {key} }}");
    let config = tls("https://a", &full).unwrap();
    let Transport::Http(http) = &config.participants["a"].transport else {
        panic!("{config:?}")
    };
    assert!(http.tls.as_ref().is_some_and(|tls| tls.identity.is_some()));
    for (url, value, problem) in [
        ("http://a", full.as_str(), "participants.a.tls"),
        ("https://a", "{ ca: /no/such }", "participants.a.tls.ca"),
        (
            "https://a",
            &format!("{{ ca: {empty} }}"),
            "participants.a.tls.ca",
        ),
        (
            "https://a",
            &format!("{{ certificate: {ca} }}"),
            "participants.a.tls.key",
        ),
        (
            "https://a",
            &format!("{{ key: {key} }}"),
            "participants.a.tls.certificate",
        ),
        (
            "https://a",
            &format!("{{ certificate: {ca}, key: {ca} }}"),
            "participants.a.tls.key",
        ),
    ] {
        let error = tls(url, value).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!(error.problems[0].path, problem);
    }
}
