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
        let methods = item.as_object().unwrap().keys();
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
