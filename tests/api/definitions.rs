//! Definitions: listed, shown, checked.

use reqwest::Method;
use serde_json::{Value, json};
use support::api::send;
use support::database::Kind;

use super::{QUICK, assert_problem, scene};

#[tokio::test]
async fn definitions_are_listed_shown_and_checked() {
    let scene = scene(Kind::Sqlite).await;
    let page = scene.get("/definitions?limit=3").await.body;
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items");
        items
            .iter()
            .map(|item| item["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["doubt", "late", "past"]);
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    let rest = scene
        .get(&format!("/definitions?cursor={cursor}"))
        .await
        .body;
    assert_eq!(names(&rest), ["quick", "refused", "stuck", "waiting"]);
    assert_eq!(rest["next_cursor"], Value::Null);
    let quick = &rest["items"][0];
    assert_eq!(quick["version"], 1);
    assert_eq!(quick["description"], "One step.");
    assert_eq!(quick["labels"], json!({ "team": "blue" }));
    assert_eq!(quick["versions"][0]["paused"], false);

    for path in ["/definitions/refused", "/definitions/refused/versions/2"] {
        let shown = scene.get(path).await;
        assert_eq!(shown.status, 200);
        assert_eq!(shown.body["definition"]["steps"][1]["id"], "ask");
        assert_eq!(shown.body["version"], 2);
    }
    for path in ["/definitions/absent", "/definitions/refused/versions/1"] {
        assert_problem(&scene.get(path).await, 404, "definition_not_found");
    }
    let bad = scene.get("/definitions/refused/versions/two").await;
    assert_problem(&bad, 400, "bad_request");

    let check = async |kind: &str, body: &str| {
        let request = scene.api.request(Method::POST, "/definitions:check");
        let request = request.header("content-type", kind).body(body.to_owned());
        send(request).await.expect("an answer")
    };
    let good = check("application/yaml", QUICK).await;
    assert_eq!(
        (good.status.as_u16(), &good.body),
        (200, &json!({ "problems": [] }))
    );
    let bad = "name: bad\nversion: 1\nsteps:\n  - { id: a, participant: absent, action: { command: x } }\n";
    let found = check("application/yaml", bad).await.body;
    let errors: Vec<&Value> = found["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .filter(|problem| problem["severity"] == "error")
        .collect();
    assert_eq!(errors.len(), 1, "{found}");
    assert_eq!(errors[0]["line"], 4);
    let message = errors[0]["message"].as_str().expect("a message");
    assert!(message.contains("absent"), "{message}");
    let of_json = check("application/json", r#"{"name": "x"}"#).await.body;
    assert!(
        of_json["problems"]
            .as_array()
            .is_some_and(|all| all.len() > 1)
    );
    let other = check("text/html", "<p>").await;
    assert_problem(&other, 415, "unsupported_media_type");
}
