//! The house rules that a compiler cannot hold: which layer may name what, how long a file may
//! grow, and that every module says what it owns.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::fs;
use std::path::Path;

/// The longest a source file may be without its tests. The aim is 400.
const LINES_MAX: usize = 600;

/// What only certain places may name. A place is a path below the root, or how one begins.
struct Rule {
    words: &'static [&'static str],
    /// Where the rule holds.
    within: &'static [&'static str],
    /// Where it does not.
    except: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["sea_orm", "sea_orm_migration", "sqlx"],
        within: &["src/", "migrations/"],
        except: &[
            "src/store.rs",
            "src/store/",
            // A participant's database is not the coordinator's.
            "src/participant/barrier",
            "migrations/",
        ],
        why: "only the store and a participant's barrier know a database",
    },
    Rule {
        words: &["actix_web", "actix_http", "actix_rt"],
        within: &["src/", "migrations/"],
        except: &[
            "src/api.rs",
            "src/api/",
            "src/cli.rs",
            "src/cli/",
            "src/main.rs",
        ],
        why: "only the API and the composition root know the web framework",
    },
    Rule {
        words: &[
            "lapin",
            "aws_sdk_sqs",
            "aws_config",
            "aws_smithy_http_client",
        ],
        within: &["src/", "migrations/"],
        except: &["src/dispatch.rs", "src/dispatch/", "src/participant/"],
        why: "only the two ends of a broker know it",
    },
    Rule {
        words: &[
            "tokio",
            "tokio_util",
            "SystemTime",
            "Instant",
            "rand",
            "std::fs",
            "std::io",
            "std::net",
            "std::env",
            "std::process",
            "Utc::now",
            "Local::now",
            "reqwest",
            "hyper",
            "async fn",
        ],
        within: &[
            "src/definition.rs",
            "src/definition/",
            "src/saga.rs",
            "src/saga/",
        ],
        except: &[],
        why: "what decides is pure",
    },
];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["src", "migrations/src", "tests", "benches"] {
        collect(&root.join(directory), &mut files);
    }
    assert!(files.len() > 20, "hardly a file was found: {files:?}");
    let mut findings = Vec::new();
    for file in files {
        let path = Path::new(&file)
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap();
        findings.extend(findings_in(path, &fs::read_to_string(&file).unwrap()));
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn collect(directory: &Path, files: &mut Vec<String>) {
    // There need not be benches.
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
}

fn findings_in(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.lines().any(|line| line.starts_with("//!")) {
        findings.push(format!("{path}: no `//!` says what it owns"));
    }
    let code = without_tests(path, text);
    let lines = code.len();
    if lines > LINES_MAX {
        findings.push(format!("{path}: {lines} lines; split it by idea"));
    }
    let begins = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    for rule in RULES
        .iter()
        .filter(|rule| begins(rule.within) && !begins(rule.except))
    {
        for (number, line) in code.iter().enumerate() {
            if let Some(word) = rule.words.iter().find(|word| names(line, word)) {
                findings.push(format!("{path}:{}: names {word}; {}", number + 1, rule.why));
            }
        }
    }
    findings
}

/// The lines before the tests; none of a file that is only tests.
fn without_tests<'text>(path: &str, text: &'text str) -> Vec<&'text str> {
    if path.starts_with("src/") && (path.ends_with("tests.rs") || path.contains("/tests/")) {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let is_test_module = |at: usize| {
        lines[at] == "#[cfg(test)]" && lines.get(at + 1).is_some_and(|next| next.ends_with('{'))
    };
    let end = (0..lines.len())
        .find(|at| is_test_module(*at))
        .unwrap_or(lines.len());
    lines[..end].to_vec()
}

/// Whether the line's code has this word, whole.
fn names(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[test]
fn what_is_untidy_is_found() {
    let finds = |path: &str, text: &str| findings_in(path, &format!("//! Doc.\n{text}")).len();
    for (path, text, expected) in [
        ("src/engine/run.rs", "use sea_orm::Value;", 1),
        ("src/store/events.rs", "use sea_orm::Value;", 0),
        ("src/participant/barrier.rs", "use sea_orm::Value;", 0),
        ("src/participant/http.rs", "use sea_orm::Value;", 1),
        ("src/participant/sqs.rs", "use aws_sdk_sqs::Client;", 0),
        ("src/participant.rs", "use lapin::Connection;", 1),
        ("src/engine.rs", "fn f() { actix_web::rt::spawn(x) }", 1),
        ("src/cli/serve.rs", "use actix_web::App;", 0),
        (
            "src/saga/decide.rs",
            "let now = std::time::SystemTime::now();",
            1,
        ),
        ("src/saga/decide.rs", "pub async fn decide() {}", 1),
        (
            "src/saga/decide.rs",
            "// tokio and rand have no place here\nlet operand = 1;",
            0,
        ),
        (
            "src/definition/read.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n use std::fs;\n}",
            0,
        ),
        (
            "src/definition/read.rs",
            "#[cfg(test)]\nmod tests;\nuse std::fs;",
            1,
        ),
        ("src/definition/tests.rs", "use std::fs;", 0),
        ("src/api/lapin.rs", "use lapin::Connection;", 1),
        ("src/api/long.rs", &"x();\n".repeat(LINES_MAX), 1),
        ("src/api/long.rs", &"x();\n".repeat(LINES_MAX - 1), 0),
    ] {
        assert_eq!(finds(path, text), expected, "{path}: {text:.60}");
    }
    assert_eq!(findings_in("src/api/bare.rs", "fn f() {}").len(), 1);
}
