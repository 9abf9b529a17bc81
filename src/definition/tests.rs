//! Tests of whole documents.

mod render;

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
