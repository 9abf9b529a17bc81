//! Tests of whole documents.

mod hostile;
mod render;
mod table;

use super::*;

const EXAMPLE: &str = include_str!("tests/example.yaml");

#[test]
fn the_example_of_the_specification_is_clean() {
    let checked = check(EXAMPLE, None);
    assert_eq!(checked.problems, Vec::new());
    let definition = checked.definition.unwrap();
    assert_eq!(definition.reference(), "order_fulfilment/1");
    assert_eq!(definition.steps.len(), 5);
    assert_eq!(definition.pivot, Some(StepIndex(3)));
}

const SAMPLES: [(&str, &str); 4] = [
    (
        "order_fulfilment",
        include_str!("../../sagas/order_fulfilment.yaml"),
    ),
    (
        "travel_booking",
        include_str!("../../sagas/travel_booking.yaml"),
    ),
    (
        "money_transfer",
        include_str!("../../sagas/money_transfer.yaml"),
    ),
    (
        "customer_onboarding",
        include_str!("../../sagas/customer_onboarding.yaml"),
    ),
];

#[test]
fn the_samples_are_clean() {
    for (name, source) in SAMPLES {
        let checked = check(source, None);
        assert_eq!(checked.problems, Vec::new(), "{name}");
        let definition = checked.definition.unwrap();
        assert_eq!(definition.name, name);
        assert!(definition.input.is_some(), "{name}");
        let schema = jsonschema::draft202012::options()
            .build(&strip(document::schema()))
            .unwrap();
        let problems: Vec<String> = schema
            .iter_errors(&definition.document)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(problems, Vec::<String>::new(), "{name}");
    }
}

/// The schema without its reference to the meta-schema, which nothing here fetches.
fn strip(mut schema: serde_json::Value) -> serde_json::Value {
    schema["properties"]["input"] = serde_json::json!(true);
    schema
}

#[test]
fn json_is_read_as_well() {
    for (name, source) in SAMPLES {
        let document = check(source, None).definition.unwrap().document.clone();
        for json in [
            document.to_string(),
            format!("{document:#}"),
            format!("{document:#}").replace("  ", "\t"),
        ] {
            let checked = check(&json, None);
            assert_eq!(checked.problems, Vec::new(), "{name}\n{json}");
            assert_eq!(checked.definition.unwrap().document, document);
        }
    }
    let source = r#"{"name":"d","version":1,"description":"\ud83d\ude00 \u00e9 a\/b \t","steps":[{"id":"a","delay":"1s"}]}"#;
    let checked = check(source, None);
    assert_eq!(checked.problems, Vec::new());
    assert_eq!(
        checked.definition.unwrap().description.as_deref(),
        Some("\u{1f600} \u{e9} a/b \t")
    );
}
