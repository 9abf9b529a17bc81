//! What definitions render to.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::definition::check;
use crate::definition::expression::{ExpressionError, Facts, FailureFacts, Scope};
use crate::definition::model::{Definition, Delay, StepIndex, StepKind};
use crate::definition::request::{Method, Phase, Request, Target};

/// The facts of a saga that is only told.
pub(crate) struct Told {
    pub(crate) input: Value,
    pub(crate) outputs: Vec<Option<Value>>,
    pub(crate) statuses: Vec<Option<&'static str>>,
}

impl Told {
    pub(crate) fn of(input: Value) -> Self {
        Self {
            input,
            outputs: Vec::new(),
            statuses: Vec::new(),
        }
    }
}

impl Facts for Told {
    fn saga_id(&self) -> String {
        "0198c7aa-0000-7000-8000-000000000001".to_owned()
    }
    fn key(&self) -> Option<&str> {
        None
    }
    fn definition(&self) -> &str {
        "d"
    }
    fn version(&self) -> u32 {
        3
    }
    fn started_at(&self) -> String {
        "2026-11-21T10:00:00.000Z".to_owned()
    }
    fn input(&self) -> &Value {
        &self.input
    }
    fn step_output(&self, step: StepIndex) -> Option<&Value> {
        self.outputs.get(step.offset()).and_then(Option::as_ref)
    }
    fn step_status(&self, step: StepIndex) -> Option<&'static str> {
        self.statuses.get(step.offset()).copied().flatten()
    }
    fn failure(&self) -> Option<FailureFacts<'_>> {
        Some(FailureFacts {
            step: Some("b"),
            code: "declined",
            message: "no",
        })
    }
}

/// A definition whose last step has this action, after a step `a` and beside its own compensation.
pub(crate) fn defined(action: &str) -> Arc<Definition> {
    let source = format!(
        "name: d\nversion: 3\nsteps:\n  - {{ id: a, participant: p, action: {{ get: /a }} }}\n  - id: b\n    participant: p\n    action:\n      {}\n    compensation: {{ command: undo }}\n",
        action.replace('\n', "\n      ")
    );
    let checked = check(&source, None);
    checked
        .definition
        .unwrap_or_else(|| panic!("{source}\n{:#?}", checked.problems))
}

fn request(action: &str, facts: &Told) -> Result<Request, ExpressionError> {
    let definition = defined(action);
    let step = &definition.steps[1];
    step.action()
        .unwrap()
        .call
        .render(step.index, Phase::Action, &Scope::new(facts))
}

/// What one expression gives, as the body of a command.
pub(crate) fn value(expression: &str, input: Value) -> Result<Value, String> {
    let facts = Told::of(input);
    let quoted = serde_json::to_string(&format!("${{ {expression} }}")).unwrap();
    request(&format!("command: c\nbody: {{ v: {quoted} }}"), &facts)
        .map(|request| serde_json::from_str::<Value>(&request.body.unwrap()).unwrap()["v"].clone())
        .map_err(|error| error.reason)
}

#[test]
fn a_request_is_rendered_whole() {
    let facts = Told {
        outputs: vec![Some(json!({ "id": 7 }))],
        ..Told::of(json!({ "sku": "a/b c", "n": 2, "list": [1, 2.5, "x"] }))
    };
    let rendered = request(
        "put: /items/${ input.sku }/v${ saga.version }\nquery: { q: \"${ input.n }\", w: \"a&b\" }\nheaders: { X-Item: \"${ steps.a.output.id }!\" }\nbody: { list: \"${ input.list }\", text: \"n=${ input.n } $${x}\", plain: [1, {a: null}] }",
        &facts,
    )
    .unwrap();
    assert_eq!(
        rendered.target,
        Target::Http {
            method: Method::Put,
            path: "/items/a%2Fb%20c/v3".to_owned()
        }
    );
    assert_eq!(rendered.query, "q=2&w=a%26b");
    assert_eq!(rendered.headers, [("X-Item".to_owned(), "7!".to_owned())]);
    assert_eq!(
        rendered.body.as_deref(),
        Some(r#"{"list":[1,2.5,"x"],"text":"n=2 ${x}","plain":[1,{"a":null}]}"#)
    );
}

#[test]
fn default_bodies() {
    let facts = Told {
        outputs: vec![None, Some(json!(5))],
        ..Told::of(json!({ "a": 1 }))
    };
    assert_eq!(
        request("command: c", &facts).unwrap().body.as_deref(),
        Some(r#"{"a":1}"#)
    );
    assert_eq!(
        request("post: /x", &facts).unwrap().body.as_deref(),
        Some(r#"{"a":1}"#)
    );
    assert_eq!(request("delete: /x", &facts).unwrap().body, None);
    let definition = defined("command: c");
    let step = &definition.steps[1];
    let undo = &step.compensation().unwrap().call;
    let rendered = undo
        .render(step.index, Phase::Compensation, &Scope::new(&facts))
        .unwrap();
    assert_eq!(
        rendered.body.as_deref(),
        Some(r#"{"input":{"a":1},"output":5}"#)
    );
}

#[test]
fn numbers_mix() {
    let input = json!({ "i": 10, "d": 10.5, "u": u64::MAX });
    assert_eq!(value("input.i * 2", input.clone()), Ok(json!(20)));
    assert_eq!(value("input.d * 2", input.clone()), Ok(json!(21.0)));
    assert_eq!(value("1 + input.d", input.clone()), Ok(json!(11.5)));
    assert_eq!(value("input.i / 4.0 - 1", input.clone()), Ok(json!(1.5)));
    assert_eq!(
        value("[1, 2].map(x, x * 1.5)", input.clone()),
        Ok(json!([1.5, 3.0]))
    );
    assert_eq!(value("input.u - 1", input.clone()), Ok(json!(u64::MAX - 1)));
    assert_eq!(value("'a' + 'b'", input.clone()), Ok(json!("ab")));
    assert!(value("'a' + 1", input.clone()).is_err());
    assert!(value("9223372036854775807 + 1", input).is_err());
}

#[test]
fn what_is_missing_fails_only_when_it_is_needed() {
    let input = json!({ "a": null, "b": { "c": 1 }, "t": true });
    assert_eq!(
        value("input.x", input.clone()),
        Err("No such key: x".to_owned())
    );
    assert_eq!(
        value("input.x + 1", input.clone()),
        Err("No such key: x".to_owned())
    );
    assert_eq!(value("input.t || input.x", input.clone()), Ok(json!(true)));
    assert_eq!(
        value("has(input.b.c) && !has(input.b.d)", input.clone()),
        Ok(json!(true))
    );
    assert_eq!(
        value("has(input.x) ? input.x : 'none'", input.clone()),
        Ok(json!("none"))
    );
    assert_eq!(
        value("input.?a.?c.orValue('none')", input.clone()),
        Ok(json!("none"))
    );
    assert_eq!(
        value("input.?a.c.orValue('none')", input.clone()),
        Ok(json!("none"))
    );
    assert_eq!(
        value("input.a.?c.orValue('none')", input.clone()),
        Ok(json!("none"))
    );
    assert_eq!(
        value("has(input.a.b) || has(steps.a.output.x)", input.clone()),
        Ok(json!(false))
    );
    assert!(value("has(input.t.x)", input.clone()).is_err());
    assert!(value("has(input.x.y)", input.clone()).is_err());
    assert_eq!(value("input.?b.?c.orValue(0)", input.clone()), Ok(json!(1)));
    assert_eq!(value("input.?x", input.clone()), Ok(json!(null)));
    assert_eq!(value("steps.a.output.?x.orValue(1)", input), Ok(json!(1)));
}

#[test]
fn macros_are_bounded_and_in_order() {
    let list: Vec<u32> = (0..200).collect();
    let input = json!({ "l": list, "m": { "z": 1, "a": 2, "k": 3 }, "long": vec![1; 10_001] });
    assert_eq!(
        value("input.m.map(k, k)", input.clone()),
        Ok(json!(["a", "k", "z"]))
    );
    assert_eq!(value("input.m", input.clone()).unwrap()["z"], json!(1));
    assert_eq!(
        value("input.l.filter(x, x > 197)", input.clone()),
        Ok(json!([198, 199]))
    );
    assert_eq!(
        value("input.l.exists_one(x, x == 3)", input.clone()),
        Ok(json!(true))
    );
    assert_eq!(
        value("input.l.all(x, x < 1000)", input.clone()),
        Ok(json!(true))
    );
    for expression in [
        "input.long.map(x, x)",
        "input.long.filter(x, x > 0)",
        "input.long.all(x, x > 0)",
        "input.l.map(x, input.l.map(y, y))",
        "input.l.map(x, input.l.filter(y, y > 0).size())",
        "input.l.exists(x, input.l.exists(y, y < 0))",
        "input.l.all(x, input.l.map(y, y).size() > 0) || true",
    ] {
        let reason = value(expression, input.clone()).unwrap_err();
        assert!(reason.contains("10000 turns"), "{expression}: {reason}");
    }
    let exact: Vec<u32> = (0..10_000).collect();
    assert!(value("input.l.map(x, x).size()", json!({ "l": exact })).is_ok());
}

#[test]
fn results_are_bounded() {
    let input = json!({ "s": "x".repeat(600_000), "l": vec![0; 100] });
    for expression in [
        "input.s + input.s",
        "[input.s, input.s]",
        "input.l.map(x, input.s)",
        "[1].map(x, [input.l, input.l]).map(x, [x, x, x, x]).map(x, [x, x, x, x]).map(x, [x, x, x, x]).map(x, [x, x, x, x]).map(x, [x, x, x, x]).map(x, [x, x, x, x]).map(x, [x, x, x, x])",
    ] {
        let reason = value(expression, input.clone()).unwrap_err();
        assert!(reason.contains("bytes"), "{expression}: {reason}");
    }
}

#[test]
fn data_never_changes_where_a_request_goes() {
    for bad in ["", ".", ".."] {
        let facts = Told::of(json!({ "x": bad }));
        assert!(request("get: /a/${ input.x }", &facts).is_err(), "{bad:?}");
        assert!(
            request("get: /a/${ input.x }/b", &facts).is_err(),
            "{bad:?}"
        );
    }
    let facts = Told::of(json!({ "x": "." }));
    assert!(request("get: /a/%2e${ input.x }", &facts).is_err());
    let facts = Told::of(json!({ "x": "../q?r#s%2f\\é\n" }));
    let rendered = request("get: /a/${ input.x }", &facts).unwrap();
    let Target::Http { path, .. } = rendered.target else {
        panic!()
    };
    assert_eq!(path, "/a/..%2Fq%3Fr%23s%252f%5C%C3%A9%0A");
    for bad in ["a\nb", "a\rb", "a\u{0}b"] {
        let facts = Told::of(json!({ "x": bad }));
        let error = request("get: /a\nheaders: { x-a: \"${ input.x }\" }", &facts).unwrap_err();
        assert!(error.reason.contains("line break"), "{error}");
    }
}

#[test]
fn an_error_says_which_expression_of_which_step() {
    let error = request(
        "command: c\nbody: { a: [\"${ input.x }\"] }",
        &Told::of(json!({})),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "${ input.x } in steps.b.action.body.a.0: No such key: x"
    );
}

#[test]
fn conditions_must_give_true_or_false() {
    let source = "name: d\nversion: 1\nsteps:\n  - { id: a, when: \"input.t > 0\", participant: p, action: { get: /a } }\n  - { id: b, when: input.t, participant: p, action: { get: /a } }\n";
    let definition = check(source, None).definition.unwrap();
    let holds = |step: usize, input: Value| {
        let facts = Told::of(input);
        definition.steps[step]
            .when
            .as_ref()
            .unwrap()
            .holds(&Scope::new(&facts))
    };
    assert_eq!(holds(0, json!({ "t": 1 })), Ok(true));
    assert_eq!(holds(0, json!({ "t": 0.5 })), Ok(true));
    assert_eq!(holds(0, json!({ "t": 0 })), Ok(false));
    assert!(holds(0, json!({ "t": "x" })).is_err());
    assert_eq!(holds(1, json!({ "t": false })), Ok(false));
    assert!(holds(1, json!({ "t": 1 })).is_err());
}

#[test]
fn inputs_are_checked_against_the_schema() {
    let source = "name: d\nversion: 1\ninput: { type: object, required: [a], additionalProperties: false, properties: { a: { type: integer, minimum: 1 }, b/c: { items: { type: string } } } }\nsteps: [{ id: a, delay: 1s }]\n";
    let schema = check(source, None).definition.unwrap();
    let schema = schema.input.as_ref().unwrap();
    assert_eq!(schema.problems(&json!({ "a": 1 })), Vec::new());
    let told = |input: Value| {
        let problems = schema.problems(&input);
        assert!(problems.iter().all(|problem| !problem.detail.is_empty()));
        problems
            .into_iter()
            .map(|problem| (problem.pointer, problem.code))
            .collect::<Vec<_>>()
    };
    let one = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
    assert_eq!(told(json!({})), one("/a", "required"));
    assert_eq!(told(json!(3)), one("", "type"));
    assert_eq!(told(json!({ "a": 0 })), one("/a", "minimum"));
    assert_eq!(
        told(json!({ "a": 1, "x": 2 })),
        one("/x", "additional_properties")
    );
    assert_eq!(
        told(json!({ "a": 1, "b/c": ["x", 1] })),
        one("/b~1c/1", "type")
    );
}

#[test]
fn delays_give_a_duration_or_a_time() {
    let source =
        "name: d\nversion: 1\nsteps: [{ id: a, delay: \"${ input.at }\" }, { id: b, delay: 1m }]\n";
    let definition = check(source, None).definition.unwrap();
    let StepKind::Delay(Delay::Computed(delay)) = &definition.steps[0].kind else {
        panic!()
    };
    let over = |at: Value| {
        let facts = Told::of(json!({ "at": at }));
        delay
            .render_time(&Scope::new(&facts), 1_000)
            .map_err(|error| error.to_string())
    };
    assert_eq!(over(json!("1h")), Ok(3_601_000));
    assert_eq!(over(json!("1970-01-01T00:00:05+00:00")), Ok(5_000));
    assert_eq!(
        over(json!("1960-01-01T00:00:00Z")).unwrap(),
        -315_619_200_000
    );
    for bad in [json!("soon"), json!(5), json!(null), json!("0s")] {
        let error = over(bad).unwrap_err();
        assert!(
            error.starts_with("${ input.at } in steps.a.delay: it must give"),
            "{error}"
        );
    }
}

#[test]
fn the_evaluator_sees_nothing_but_the_facts() {
    let input = json!({ "s": "x", "n": 3 });
    assert_eq!(value("saga.key", input.clone()), Ok(json!(null)));
    assert_eq!(value("saga.version + 1", input.clone()), Ok(json!(4)));
    assert_eq!(value("steps.a.status", input.clone()), Ok(json!(null)));
    assert_eq!(
        value("steps.a", input.clone()),
        Ok(json!({ "output": null, "status": null }))
    );
    assert_eq!(
        value("timestamp(saga.started_at) + duration('1h')", input.clone()),
        Ok(json!("2026-11-21T11:00:00Z"))
    );
    assert_eq!(
        value("{'b': input.n, 'a': [input.?x]}", input.clone()),
        Ok(json!({ "a": [null], "b": 3 }))
    );
    assert_eq!(
        value("input['s'] + string(input.n)", input.clone()),
        Ok(json!("x3"))
    );
    assert_eq!(
        value("double(input.n) / 0.0", input).unwrap_err(),
        "a number that is not finite cannot be written as JSON"
    );
}
