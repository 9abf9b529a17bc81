//! Every row of "What a check finds".

use crate::definition::{Problem, Severity, Surroundings, TransportKind, check, conflicts};

/// A definition of these steps, which begin in the fourth line.
fn steps(list: &str) -> String {
    format!("name: d\nversion: 1\nsteps:\n{list}")
}

const A: &str = "  - { id: a, participant: p, action: { get: /a } }\n";

fn found(source: &str) -> Vec<Problem> {
    check(source, None).problems
}

/// Each problem as its code and what stands at its place.
fn told(source: &str, problems: &[Problem]) -> Vec<String> {
    let at = |problem: &Problem| {
        let line = source.lines().nth(problem.line - 1).unwrap_or_default();
        line.chars()
            .skip(problem.column - 1)
            .take(10)
            .collect::<String>()
    };
    problems
        .iter()
        .map(|problem| format!("{} at {}", problem.code, at(problem)))
        .collect()
}

/// Whether these are the problems, each told by the beginning of its code and place.
fn is_told(source: &str, problems: &[Problem], expected: &[&str]) -> bool {
    let told = told(source, problems);
    told.len() == expected.len()
        && told
            .iter()
            .zip(expected)
            .all(|(told, expected)| told.starts_with(expected))
}

/// That `source` has exactly these problems, each as its code and what stands at its place.
fn assert_found(source: &str, expected: &[&str]) {
    let problems = found(source);
    assert!(
        is_told(source, &problems, expected),
        "{source}\n{:#?}\n{expected:#?}",
        told(source, &problems)
    );
    for problem in &problems {
        assert!(problem.message.ends_with(['.', '?']), "{}", problem.message);
        assert!(
            problem
                .message
                .starts_with(|first: char| !first.is_lowercase()),
            "{}",
            problem.message
        );
    }
}

#[test]
fn syntax() {
    assert_found("name: [", &["syntax at "]);
    assert_found("", &["syntax at "]);
    assert_found("name: d\nname: e\n", &["duplicate_key at name: e"]);
    assert_found(
        &format!("{}---\nname: e\n", steps(A)),
        &["several_documents at name: e"],
    );
    assert_found("- a", &["wrong_type at - a"]);
    assert_found(
        &format!("{}labels: {{ 1: a }}\n", steps(A)),
        &["wrong_type at 1: a }"],
    );
    let on = "name: d\nversion: 1\nsteps:\n  - { id: a, participant: p, pivot: on, action: { get: /a } }\n";
    assert_found(on, &["wrong_type at on, action"]);
}

#[test]
fn every_problem_is_told_at_once() {
    let source = "name: D\nversion: 0\ntimout: 1h\nretry: { max_attempts: 0, initial: 0s, multiplier: 0.5, jitter: ful }\nsteps:\n  - { id: a, participant: p, action: { get: /a }, timeout: 401d }\n  - { id: b, partcipant: p, action: { post: b } }\n";
    assert_found(
        source,
        &[
            "invalid_name at D",
            "out_of_range at 0",
            "unknown_field at timout: 1h",
            "out_of_range at 0, initial",
            "out_of_range at 0s, multip",
            "out_of_range at 0.5, jitte",
            "out_of_range at ful }",
            "out_of_range at 401d }",
            "missing_field at { id: b, p",
            "no_compensation at b, partcip",
            "unknown_field at partcipant",
            "invalid_path at b } }",
        ],
    );
    let problems = found(source);
    assert!(
        problems[2].message.contains("did you mean `timeout`?"),
        "{}",
        problems[2].message
    );
    assert!(
        problems[6].message.contains("did you mean `full`?"),
        "{}",
        problems[6].message
    );
}

#[test]
fn fields() {
    assert_found(
        "name: d\n",
        &["missing_field at name: d", "missing_field at name: d"],
    );
    assert_found("name: d\nversion: 1\nsteps: []\n", &["out_of_range at []"]);
    let step = |fields: &str| steps(&format!("  - {{ id: a, {fields} }}\n"));
    assert_found(
        &step("wait: { signal: s }, participant: p"),
        &["misplaced_field at participan"],
    );
    assert_found(
        &step("delay: 5s, pivot: true"),
        &["misplaced_field at pivot"],
    );
    assert_found(&step("when: 'true'"), &["missing_field at { id: a, w"]);
    assert_found(
        &step("delay: 5s, wait: { signal: s }"),
        &["misplaced_field at delay: 5s,"],
    );
    assert_found(&step("delay: soon"), &["wrong_type at soon }"]);
    assert_found(
        &step("delay: 5s, lock: x"),
        &["reserved_field at lock: x }"],
    );
    assert_found(&step("delay: 5s, body: x"), &["misplaced_field at body"]);
    assert_found(
        &step("participant: p, action: { get: /a, post: /b }"),
        &["misplaced_field at post: /b }"],
    );
    assert_found(
        &step("participant: p, action: { body: 1 }"),
        &["missing_field at { body: 1 "],
    );
    assert_found(
        &step("participant: p, action: { get: /a }, after: a"),
        &["wrong_type at a }"],
    );
    assert_found(
        &step("participant: p, action: { get: /a }, refuse_on: [409, 4xx, 200, 600, 6xx, x]"),
        &[
            "out_of_range at 200, 600, ",
            "out_of_range at 600, 6xx, ",
            "out_of_range at 6xx, x] }",
            "out_of_range at x] }",
        ],
    );
    assert_found(
        &format!("{}timeout: 1.5h\n", steps(A)),
        &["wrong_type at 1.5h"],
    );
    assert_found(
        &format!("{}compensation: {{ order: sideways }}\n", steps(A)),
        &["out_of_range at sideways }"],
    );
    let many: String = (0..501)
        .map(|n| format!("  - {{ id: s{n}, participant: p, action: {{ get: /a }} }}\n"))
        .collect();
    assert_found(&steps(&many), &["out_of_range at { id: s500"]);
}

#[test]
fn order() {
    assert_found(&steps(&[A, A].concat()), &["duplicate_step at a, partici"]);
    let with_after = |after: &str| {
        steps(&format!(
            "{A}  - {{ id: b, participant: p, action: {{ get: /a }}, after: [{after}] }}\n"
        ))
    };
    assert_found(&with_after("aa"), &["unknown_step at aa] }"]);
    assert_found(&with_after("b"), &["after_itself at b] }"]);
    let cycle = "  - { id: x, delay: 1s, after: [z] }\n  - { id: y, delay: 1s, after: [x] }\n  - { id: z, delay: 1s, after: [y] }\n  - { id: w, delay: 1s, after: [z] }\n";
    assert_found(&steps(cycle), &["cycle at { id: x, d"]);
    assert!(
        found(&steps(cycle))[0]
            .message
            .contains("x after z after y after x")
    );
}

#[test]
fn pivots() {
    let two = "  - { id: a, participant: p, pivot: true, action: { get: /a } }\n  - { id: b, participant: p, pivot: true, action: { get: /a } }\n";
    assert_found(&steps(two), &["several_pivots at true, acti"]);
    let beside = "  - { id: a, participant: p, pivot: true, action: { get: /a } }\n  - { id: b, after: [], delay: 1s }\n  - { id: c, after: [a, b], delay: 1s }\n";
    assert_found(&steps(beside), &["beside_pivot at b, after: "]);
}

#[test]
fn templates() {
    let body = |text: &str| {
        steps(&format!(
            "{A}  - {{ id: b, participant: p, action: {{ get: /b, body: \"{text}\" }} }}\n  - {{ id: c, delay: 1s }}\n"
        ))
    };
    assert_found(&body("${ input. }"), &["template_syntax at \"${ "]);
    assert_found(&body("${ input.x"), &["template_syntax at \"${ "]);
    assert_found(&body("${ }"), &["template_syntax at \"${ "]);
    assert_found(&body("$${ input."), &[]);
    assert_found(
        &body("${ inputs.x + sage.id }"),
        &["unknown_name at \"${ inputs", "unknown_name at \"${ inputs"],
    );
    assert_found(&body("${ saga.ids }"), &["unknown_name at \"${ "]);
    assert_found(
        &body("${ steps.bb.output }"),
        &["unknown_step at \"${ steps."],
    );
    assert_found(&body("${ steps.a.outputs }"), &["unknown_name at \"${ "]);
    assert_found(
        &body("${ steps.c.output }"),
        &["step_not_before at \"${ steps."],
    );
    assert_found(
        &body("${ steps.b.output }"),
        &["step_not_before at \"${ steps."],
    );
    assert_found(&body("${ steps }"), &["unknown_name at \"${ "]);
    assert_found(&body("${ failure.code }"), &["unknown_name at \"${ "]);
    assert_found(&body("${ sized(input) }"), &["unknown_function at \"${ "]);
    assert_found(&body("${ now() }"), &["unknown_function at \"${ "]);
    assert_found(&body("${ [1].map(input, input + 1) }"), &[]);
    assert_found(
        &body("${ type(input) == map && optional.of(1).hasValue() }"),
        &[],
    );
    assert_found(&body("${ {'a}': \\\"}\\\"}.size() }"), &[]);
    assert_found(&steps("  - { id: a, delay: '${ input.x }' }\n"), &[]);
}

#[test]
fn conditions() {
    let when = |text: &str| steps(&format!("  - {{ id: a, delay: 1s, when: \"{text}\" }}\n"));
    for good in [
        "input.x",
        "true",
        "!input.x",
        "has(input.x)",
        "input.l.exists(x, x > 1)",
    ] {
        assert_found(&when(good), &[]);
    }
    for bad in [
        "1",
        "'x'",
        "input.x + 1",
        "size(input)",
        "[input.x]",
        "input.l.map(x, x)",
        "saga.id",
        "input.x ? 1 : 2",
    ] {
        assert_found(&when(bad), &["not_a_condition at \""]);
    }
    assert_found(&when("${ input.x }"), &["template_syntax at \"${ input."]);
}

#[test]
fn compensations_read_what_has_ended() {
    let source = |reads: &str, when: &str| {
        steps(&format!(
            "{A}  - {{ id: b, participant: p, action: {{ get: /b }} }}\n  - id: c\n    after: [a]\n    participant: p\n    action: {{ get: /c }}\n    compensation: {{ command: u, body: \"${{ {reads} }}\"{when} }}\n"
        ))
    };
    assert_found(&source("steps.a.output.x", ""), &[]);
    assert_found(
        &source("steps.b.output.x", ""),
        &["compensation_reads_unfinished at \"${ steps."],
    );
    assert_found(&source("steps.c.status + failure.code", ""), &[]);
    assert_found(
        &source("steps.c.output.x", ""),
        &["compensation_reads_output at \"${ steps."],
    );
    assert_found(&source("steps.c.output.?x", ""), &[]);
    assert_found(
        &source("steps.c.output.x", ", when: steps.c.status == 'succeeded'"),
        &[],
    );
    assert_found(
        &source("steps.c.output.x", ", when: has(steps.c.output.x)"),
        &[],
    );
    assert_found(
        &source("steps.c.output.x", ", when: input.x"),
        &["compensation_reads_output at \"${ steps."],
    );
}

#[test]
fn input_schemas() {
    let input = |schema: &str| format!("{}input: {schema}\n", steps(A));
    assert_found(
        &input("{ type: objekt }"),
        &["input_schema_invalid at objekt }"],
    );
    assert_found(
        &input("{ properties: { a: { minLength: -1 } } }"),
        &["input_schema_invalid at -1 } } }"],
    );
    assert_found(
        &input("{ $ref: 'https://example.com/x' }"),
        &["input_schema_reference at '"],
    );
    assert_found(
        &input("{ properties: { a: { $ref: other.json } } }"),
        &["input_schema_reference at other.json"],
    );
    assert_found(
        &input("{ $ref: '#/$defs/no' }"),
        &["input_schema_reference at '"],
    );
    assert_found(
        &input("{ $ref: '#/$defs/yes', $defs: { yes: { type: string } } }"),
        &[],
    );
    assert_found(
        &input("{ $schema: 'http://json-schema.org/draft-07/schema#' }"),
        &["input_schema_invalid at 'http:"],
    );
    assert_found(
        &input("{ $schema: 'https://json-schema.org/draft/2020-12/schema' }"),
        &[],
    );
    assert_found(&input("[]"), &["wrong_type at []"]);
    assert_found(
        &input("{ pattern: '(' }"),
        &["input_schema_invalid at '(' }"],
    );
}

#[test]
fn timeouts_and_headers() {
    let slow = "  - { id: a, participant: p, timeout: 2h, action: { get: /a } }\n";
    assert_found(
        &format!("timeout: 1h\n{}", steps(slow)),
        &["timeout_too_short at 1h"],
    );
    assert_found(&format!("timeout: 2h\n{}", steps(slow)), &[]);
    let header = |name: &str| {
        steps(&format!(
            "  - {{ id: a, participant: p, action: {{ get: /a, headers: {{ {name}: x }} }} }}\n"
        ))
    };
    for name in [
        "Idempotency-Key",
        "amends-anything",
        "TraceParent",
        "content-type",
        "Host",
        "connection",
    ] {
        assert_found(&header(name), &["reserved_header at "]);
    }
    assert_found(&header("'a b'"), &["invalid_header at 'a b': x }"]);
    assert_found(&header("x-a"), &[]);
}

#[test]
fn paths() {
    let path = |path: &str| {
        steps(&format!(
            "  - {{ id: a, participant: p, action: {{ get: \"{path}\" }} }}\n"
        ))
    };
    for bad in [
        "a",
        "",
        "/a/../b",
        "/./a",
        "/%2e%2E/a",
        "//a",
        "/a//b",
        "/a?b=1",
        "/a#b",
        "/a b",
        "${ input.x }/a",
        "http://x/y",
    ] {
        assert_found(&path(bad), &["invalid_path at \""]);
    }
    for good in [
        "/",
        "/a",
        "/a/",
        "/a/${ input.x }",
        "/a-${ input.x }.json/b",
        "/%C3%A9",
    ] {
        assert_found(&path(good), &[]);
    }
}

#[test]
fn surroundings() {
    let surroundings = Surroundings {
        participants: [
            ("http".to_owned(), TransportKind::Http),
            ("rabbit".to_owned(), TransportKind::RabbitMq),
            ("local".to_owned(), TransportKind::Local),
        ]
        .into(),
        has_public_url: false,
    };
    let assert_with = |fields: &str, expected: &[&str]| {
        let source = steps(&format!("  - {{ id: a, {fields} }}\n"));
        let mut problems = check(&source, Some(&surroundings)).problems;
        problems.retain(|problem| problem.severity == Severity::Error);
        assert!(
            is_told(&source, &problems, expected),
            "{source}\n{problems:#?}"
        );
    };
    assert_with(
        "participant: http, action: { get: /a }, reply: sync, refuse_on: [404], retry_on: [4xx]",
        &[],
    );
    assert_with(
        "participant: htp, action: { get: /a }",
        &["unknown_participant at htp, actio"],
    );
    assert_with(
        "participant: http, action: { get: /a }, reply: async",
        &["public_url_missing at async }"],
    );
    assert_with("participant: rabbit, action: { command: c }", &[]);
    assert_with(
        "participant: rabbit, action: { get: /a }, compensation: { delete: /a }, reply: sync",
        &[
            "transport_mismatch at get: /a },",
            "transport_mismatch at delete: /a",
            "transport_mismatch at sync }",
        ],
    );
    assert_with(
        "participant: local, action: { command: c }, refuse_on: [404], retry_on: [404]",
        &[
            "transport_mismatch at refuse_on:",
            "transport_mismatch at retry_on: ",
        ],
    );
}

#[test]
fn warnings() {
    assert_found(
        &steps("  - { id: a, participant: p, action: { put: /a } }\n"),
        &["no_compensation at a, partici"],
    );
    let after = "  - { id: a, participant: p, pivot: true, action: { put: /a } }\n  - { id: b, participant: p, action: { put: /a }, compensation: { delete: /a } }\n";
    assert_found(&steps(after), &["compensation_never_run at { delete: "]);
    let signals = "  - { id: a, wait: { signal: s } }\n  - { id: b, wait: { signal: s } }\n";
    assert_found(&steps(signals), &["shared_signal at s } }"]);
    let skipped = |output: &str| {
        format!(
            "{}output: \"${{ {output} }}\"\n",
            steps("  - { id: a, when: input.x, wait: { signal: s } }\n")
        )
    };
    assert_found(
        &skipped("steps.a.output.y"),
        &["output_may_be_skipped at \"${ steps."],
    );
    assert_found(&skipped("steps.a.output.?y"), &[]);
    assert_found(&skipped("steps.a.status"), &[]);
    assert!(
        check(&skipped("steps.a.output.y"), None)
            .definition
            .is_some()
    );
}

#[test]
fn several_files() {
    let definition = |description: &str| {
        check(&format!("{}description: {description}\n", steps(A)), None)
            .definition
            .unwrap()
    };
    let (one, same, other) = (definition("x"), definition("x"), definition("y"));
    let files = [
        ("one.yaml", &*one),
        ("same.yaml", &*same),
        ("other.yaml", &*other),
    ];
    let told = conflicts(&files);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].path, "other.yaml");
    assert_eq!(told[0].problem.code, "version_conflict");
    assert_eq!((told[0].problem.line, told[0].problem.column), (2, 10));
}
