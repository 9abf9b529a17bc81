//! The document is whole, and says what is true.

use super::*;

#[test]
fn it_is_made() {
    let document = serde_json::to_value(description()).unwrap();
    std::fs::write(
        "/tmp/oa/openapi.json",
        serde_json::to_vec_pretty(&document).unwrap(),
    )
    .unwrap();
}
