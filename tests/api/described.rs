//! The API's description over HTTP, and what every answer has in common.

use super::*;

#[tokio::test]
async fn the_document_is_there_for_everyone() {
    let scene = scene(Kind::Sqlite).await;
    let answer = scene.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.body["openapi"], "3.1.0");
    assert_eq!(answer.body["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(answer.body["paths"]["/sagas"]["post"].is_object());
}

#[tokio::test]
async fn the_page_for_people_is_whole_and_asks_nobody_else() {
    let scene = scene(Kind::Sqlite).await;
    let client = scene.api.client();
    let docs = format!("{}/docs", scene.coordinator.url());
    let page = client.get(&docs).send().await.expect("an answer");
    // A client follows to the folder that the page's files are in.
    assert_eq!((page.status().as_u16(), page.url().path()), (200, "/docs/"));
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str();
    let policy = policy.expect("a policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("http"), "{policy}");
    let html = page.text().await.expect("a page");
    let files = html.split(['"', '\'']).filter(|text| {
        [".js", ".css", ".png"]
            .iter()
            .any(|end| text.ends_with(end))
    });
    let files: Vec<_> = files.map(str::to_owned).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        assert!(!file.contains("//") && !file.starts_with('/'), "{file}");
        let answer = client.get(format!("{docs}/{file}")).send().await;
        assert_eq!(answer.expect("an answer").status(), 200, "{file}");
    }
    let initializer = client
        .get(format!("{docs}/swagger-initializer.js"))
        .send()
        .await;
    let script = initializer
        .expect("an answer")
        .text()
        .await
        .expect("a script");
    assert!(script.contains("../api/v1/openapi.json"), "{script}");
    // Its default would send the document's address to a validator on the internet.
    assert!(script.contains("\"validatorUrl\": \"none\""), "{script}");
    let absent = send(client.get(format!("{docs}/nothing.js"))).await;
    assert_problem(&absent.expect("an answer"), 404, "not_found");
}

#[tokio::test]
async fn every_answer_is_named_and_not_stored() {
    let scene = scene(Kind::Sqlite).await;
    for path in ["/sagas", "/sagas/x", "/nothing"] {
        let answer = scene.get(path).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_ne!(answer.header("x-request-id"), "", "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body_and_options_is_no_method_of_ours() {
    let scene = scene(Kind::Sqlite).await;
    let get = scene.get("/sagas").await;
    let head = send(scene.api.request(Method::HEAD, "/sagas"))
        .await
        .expect("an answer");
    assert_eq!(head.status, 200);
    assert_eq!(head.body, Value::Null);
    for name in ["content-type", "content-length", "cache-control"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    let options = send(scene.api.request(Method::OPTIONS, "/sagas"))
        .await
        .expect("an answer");
    assert_problem(&options, 405, "method_not_allowed");
    assert_eq!(options.header("allow"), "GET, HEAD, POST");
}
