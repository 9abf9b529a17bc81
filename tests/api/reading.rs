//! Lists, events, and what is not there.

use reqwest::Method;
use serde_json::{Value, json};
use support::api::send;
use support::database::Kind;

use super::{LONG, Scene, assert_problem, scene};

/// Five sagas, the oldest first, each settled otherwise; the fourth waits, suspended.
async fn five_sagas(scene: &Scene) -> Vec<String> {
    let mut all = Vec::new();
    let made = [
        json!({ "definition": "quick", "key": "A", "labels": { "channel": "web", "n": "1" } }),
        json!({ "definition": "quick", "key": "A", "labels": { "channel": "app", "n": "1" } }),
        json!({ "definition": "refused", "key": "B'; --" }),
        json!({ "definition": "waiting", "key": "a" }),
        json!({ "definition": "stuck", "key": "C\u{1f600}" }),
    ];
    for body in &made {
        let answer = scene.post("/sagas", body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        all.push(answer.id());
    }
    for (id, status) in
        all.iter()
            .zip(["completed", "completed", "compensated", "running", "failed"])
    {
        scene.api.wait_for(id, &[status], LONG).await;
    }
    assert_eq!(scene.command(&all[3], "suspend").await.status, 202);
    all
}

/// Every saga, newest first, page by page.
async fn in_pages_of_two(scene: &Scene) -> Vec<String> {
    let mut paged = Vec::new();
    let mut query = "/sagas?limit=2".to_owned();
    loop {
        let page = scene.get(&query).await.body;
        let items = page["items"].as_array().expect("items");
        assert!(items.iter().all(|item| item.get("steps").is_none()));
        paged.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().expect("an id").to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        assert_eq!(items.len(), 2);
        query = format!("/sagas?limit=2&cursor={cursor}");
    }
    paged
}

async fn lists_are_filtered_and_paged(kind: Kind) {
    let scene = scene(kind).await;
    let all = five_sagas(&scene).await;
    let of = |places: &[usize]| -> Vec<String> {
        // Newest first.
        places
            .iter()
            .rev()
            .map(|place| all[*place].clone())
            .collect()
    };
    let created = scene.saga(&all[2]).await["created_at"].clone();
    let created = created.as_str().expect("a time");
    for (query, expected) in [
        ("", of(&[0, 1, 2, 3, 4])),
        ("definition=quick", of(&[0, 1])),
        ("definition=refused&version=2", of(&[2])),
        ("definition=refused&version=1", of(&[])),
        ("definition=QUICK", of(&[])),
        ("status=running&status=failed", of(&[3, 4])),
        ("status=compensating", of(&[])),
        ("key=A", of(&[0, 1])),
        ("key=a", of(&[3])),
        ("key=B%27%3B%20--", of(&[2])),
        ("key=C%F0%9F%98%80", of(&[4])),
        ("label=channel:web", of(&[0])),
        ("label=n:1&label=team:blue", of(&[0, 1])),
        ("label=n:1&label=channel:app", of(&[1])),
        ("label=n:1&label=n:2", of(&[])),
        ("label=channel:WEB", of(&[])),
        ("failure_code=http_409", of(&[2])),
        ("failure_code=compensation_failed", of(&[4])),
        (
            "failure_code=compensation_failed&status=compensated",
            of(&[]),
        ),
        ("suspended=true", of(&[3])),
        ("suspended=false", of(&[0, 1, 2, 4])),
        ("overdue=true", of(&[])),
        (
            "overdue=false&key=A&label=channel:app&status=completed",
            of(&[1]),
        ),
        (&format!("created_after={created}"), of(&[2, 3, 4])),
        (&format!("created_before={created}"), of(&[0, 1])),
        (
            &format!("created_after={created}&created_before={created}"),
            of(&[]),
        ),
    ] {
        assert_eq!(scene.ids(query).await, expected, "{kind:?}: {query}");
    }
    assert_eq!(in_pages_of_two(&scene).await, of(&[0, 1, 2, 3, 4]));
}

#[tokio::test]
async fn lists_are_filtered_and_paged_on_sqlite() {
    lists_are_filtered_and_paged(Kind::Sqlite).await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged_on_postgres() {
    lists_are_filtered_and_paged(Kind::Postgres).await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged_on_mariadb() {
    lists_are_filtered_and_paged(Kind::MariaDb).await;
}

#[tokio::test]
async fn what_a_query_cannot_mean_is_refused() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.start("quick").await;
    for (path, code) in [
        ("/sagas?statuses=running", "unknown_parameter"),
        ("/sagas?Status=running", "unknown_parameter"),
        ("/sagas?=", "unknown_parameter"),
        ("/sagas?status=done", "parameter_invalid"),
        ("/sagas?version=0", "parameter_invalid"),
        ("/sagas?version=-1", "parameter_invalid"),
        ("/sagas?version=99999999999", "parameter_invalid"),
        ("/sagas?label=x", "parameter_invalid"),
        ("/sagas?created_after=yesterday", "parameter_invalid"),
        (
            "/sagas?created_before=2026-13-01T00:00:00Z",
            "parameter_invalid",
        ),
        ("/sagas?suspended=1", "parameter_invalid"),
        ("/sagas?overdue=maybe", "parameter_invalid"),
        ("/sagas?limit=0", "parameter_invalid"),
        ("/sagas?limit=501", "parameter_invalid"),
        ("/sagas?cursor=x", "parameter_invalid"),
        ("/sagas?key=%00", "parameter_invalid"),
        ("/sagas?limit=1&limit=2", "parameter_invalid"),
        (&format!("/sagas/{id}/events?after=1"), "unknown_parameter"),
        (
            &format!("/sagas/{id}/events?cursor=-1"),
            "parameter_invalid",
        ),
        (&format!("/sagas/{id}/events?limit=x"), "parameter_invalid"),
        ("/definitions?name=x", "unknown_parameter"),
        ("/definitions?limit=0", "parameter_invalid"),
    ] {
        assert_problem(&scene.get(path).await, 400, code);
    }
}

#[tokio::test]
async fn events_tell_what_happened() {
    let scene = scene(Kind::Sqlite).await;
    let id = scene.ended("refused", "compensated").await;
    let whole = scene.get(&format!("/sagas/{id}/events")).await;
    assert_eq!(whole.status, 200);
    let items = whole.body["items"].as_array().expect("items");
    let told: Vec<String> = items
        .iter()
        .map(|item| {
            let word = |member: &str| item[member].as_str().unwrap_or_default();
            format!("{} {} {}", word("type"), word("step"), word("phase"))
        })
        .map(|line| line.trim().to_owned())
        .collect();
    let expected = [
        "saga_started",
        "attempt_started done action",
        "step_succeeded done",
        "attempt_started ask action",
        "step_refused ask",
        "saga_compensating",
        "attempt_started done compensation",
        "step_compensated done",
        "saga_compensated",
    ];
    assert_eq!(told, expected);
    let numbers: Vec<u64> = items
        .iter()
        .filter_map(|item| item["seq"].as_u64())
        .collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    assert_eq!(items[5]["failure"]["code"], "http_409");
    assert_eq!(whole.body["next_cursor"], Value::Null);

    // In pages of any size, wherever a page ends.
    for limit in 1..=9 {
        let mut paged = Vec::new();
        let mut query = format!("/sagas/{id}/events?limit={limit}");
        loop {
            let page = scene.get(&query).await.body;
            paged.extend(page["items"].as_array().expect("items").clone());
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            query = format!("/sagas/{id}/events?limit={limit}&cursor={cursor}");
        }
        assert_eq!(&paged, items, "pages of {limit}");
    }
    // A client that has seen some goes on after them.
    let rest = scene
        .get(&format!("/sagas/{id}/events?cursor=7"))
        .await
        .body;
    assert_eq!(rest["items"].as_array().expect("items")[..], items[7..]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let scene = scene(Kind::Sqlite).await;
    let none = "0198c7c4-aaaa-7000-8000-000000000000";
    for path in [format!("/sagas/{none}"), format!("/sagas/{none}/events")] {
        assert_problem(&scene.get(&path).await, 404, "saga_not_found");
    }
    for what in ["cancel", "suspend", "resume", "retry", "signals/go"] {
        let answer = scene.command(none, what).await;
        assert_problem(&answer, 404, "saga_not_found");
    }
    let answer = scene.resolve(none, "pay", "skipped").await;
    assert_problem(&answer, 404, "saga_not_found");
    for bad in [
        "x",
        "0198c7c4",
        "%00",
        "..%2f..",
        "0198c7c4-aaaa-7000-8000-00000000000g",
    ] {
        let answer = scene.get(&format!("/sagas/{bad}")).await;
        assert_problem(&answer, 400, "bad_request");
        let answer = scene.command(bad, "cancel").await;
        assert_problem(&answer, 400, "bad_request");
    }
    let id = scene.waiting().await;
    let answer = scene.resolve(&id, "absent", "skipped").await;
    assert_problem(&answer, 404, "step_not_found");
    for path in ["/nothing", "/sagas/a/b/c", "/definitions/a/versions"] {
        assert_problem(&scene.get(path).await, 404, "not_found");
    }
    for (method, path, allow) in [
        (Method::DELETE, "/sagas", "GET, HEAD, POST"),
        (Method::PUT, "/sagas:batch", "POST"),
        (Method::POST, "/sagas/x", "GET, HEAD"),
        (Method::GET, "/sagas/x/cancel", "POST"),
        (Method::PATCH, "/definitions/quick", "GET, HEAD"),
    ] {
        let answer = send(scene.api.request(method, path))
            .await
            .expect("an answer");
        assert_problem(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}
