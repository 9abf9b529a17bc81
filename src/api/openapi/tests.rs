//! The document is whole, and says what is true.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::api::routes::{self, Verb};

fn document() -> Value {
    serde_json::to_value(description()).unwrap()
}

/// Every call of the document: its method and path.
fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, item)| {
        let members = item.as_object().unwrap().keys();
        let methods = members.filter(|member| *member != "parameters");
        methods.map(move |method| (method.clone(), path.clone()))
    });
    calls.collect()
}

#[test]
fn every_route_is_described_and_nothing_more() {
    let table = routes::table();
    let routes: BTreeSet<_> = table
        .iter()
        // What is not below the base is the page for people.
        .filter_map(|line| Some((line.verb, line.path.strip_prefix(routes::BASE)?)))
        .map(|(verb, path)| {
            let method = match verb {
                Verb::Get => "get",
                Verb::Post => "post",
            };
            (method.to_owned(), path.to_owned())
        })
        .collect();
    assert_eq!(described(&document()), routes);
    let docs = table
        .iter()
        .filter(|line| !line.path.starts_with(routes::BASE));
    assert!(docs.into_iter().all(|line| line.path.starts_with("/docs")));
}

/// Every schema of the document with the places of its examples, each checked against it.
#[test]
fn every_example_is_what_its_schema_says() {
    let document = document();
    let mut count = 0;
    each_schema(&document, &mut |schema| {
        for example in schema["examples"].as_array().into_iter().flatten() {
            // References are into the document.
            let mut root = schema.clone();
            root["components"] = document["components"].clone();
            let validator = jsonschema::validator_for(&root).unwrap();
            let errors: Vec<_> = validator
                .iter_errors(example)
                .map(|e| e.to_string())
                .collect();
            assert!(errors.is_empty(), "{example}\n{errors:?}");
            count += 1;
        }
    });
    assert!(count > 10, "{count}");
}

/// Calls `see` with every object of the document that may be a schema.
fn each_schema(value: &Value, see: &mut dyn FnMut(&Value)) {
    match value {
        Value::Object(members) => {
            see(value);
            let nested = members.iter().filter(|(name, _)| *name != "examples");
            nested.for_each(|(_, member)| each_schema(member, see));
        }
        Value::Array(items) => items.iter().for_each(|item| each_schema(item, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn everything_is_told_in_words() {
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, call) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(m, _)| *m != "parameters")
        {
            let place = format!("{method} {path}");
            assert!(
                call["summary"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{place}"
            );
            assert!(call["operationId"].is_string(), "{place}");
            assert!(
                call["description"].as_str().unwrap().contains("role")
                    || call["security"] == serde_json::json!([]),
                "{place}"
            );
            for parameter in call["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{place}: {parameter}");
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name}");
        for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                schema.to_string().contains("description"),
                "{name}.{member}"
            );
        }
    }
}

#[test]
fn the_parameters_are_those_that_the_handlers_know() {
    let document = document();
    let parameters = document["paths"]["/sagas"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let mut described: Vec<_> = parameters
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    let mut known = crate::api::query::LIST_PARAMETERS.to_vec();
    described.sort_unstable();
    known.sort_unstable();
    assert_eq!(described, known);
}

#[test]
fn the_definition_of_the_examples_is_a_good_one() {
    let checked = crate::definition::check(&examples::definition().to_string(), None);
    assert_eq!(checked.problems, []);
}
