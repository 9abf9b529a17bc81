//! Documents that nobody would write by hand: no panic, no stack overflow, and every problem
//! within the file.

use proptest::prelude::*;

use super::SAMPLES;
use crate::definition::{Checked, check};

fn is_told_within(source: &str, checked: &Checked) {
    let lines: Vec<&str> = source.lines().collect();
    for problem in &checked.problems {
        assert!(
            (1..=lines.len().max(1)).contains(&problem.line),
            "{problem:?}"
        );
        let width = lines
            .get(problem.line - 1)
            .map_or(0, |line| line.chars().count());
        assert!((1..=width + 1).contains(&problem.column), "{problem:?}");
    }
    assert_eq!(
        checked.definition.is_none(),
        checked
            .problems
            .iter()
            .any(|problem| { problem.severity == crate::definition::Severity::Error })
    );
}

fn with_expression(expression: &str) -> String {
    let quoted = serde_json::to_string(&format!("${{ {expression} }}")).unwrap();
    format!(
        "name: d\nversion: 1\nsteps: [{{ id: a, participant: p, action: {{ get: /a, body: {quoted} }} }}]\n"
    )
}

#[test]
fn deep_and_long_expressions_are_refused_or_taken() {
    for expression in [
        "(".repeat(2_000) + "1" + &")".repeat(2_000),
        "[".repeat(2_000) + "1" + &"]".repeat(2_000),
        "{1:".repeat(1_000) + "1" + &"}".repeat(1_000),
        "-".repeat(4_000) + "1",
        "!".repeat(4_000) + "true",
        vec!["1"; 2_000].join("+"),
        vec!["true"; 600].join(" && "),
        vec!["true?1:"; 500].concat() + "1",
        "input".to_owned() + &".a".repeat(2_000),
        "input".to_owned() + &"[0]".repeat(1_300),
        "[1]".to_owned() + &".map(x, x)".repeat(390),
        "[1].map(x, ".repeat(300) + "1" + &")".repeat(300),
        "x".repeat(100_000),
        "'".repeat(3_001),
    ] {
        let source = with_expression(&expression);
        is_told_within(&source, &check(&source, None));
    }
}

#[test]
fn what_is_just_deep_enough_is_taken_and_evaluated() {
    // An evaluation has a quarter of a worker's stack; a debug build takes 30 times as much.
    let stack = if cfg!(debug_assertions) {
        16 << 20
    } else {
        512 << 10
    };
    let evaluation = std::thread::Builder::new()
        .stack_size(stack)
        .spawn(deep_enough)
        .unwrap();
    evaluation.join().unwrap();
}

fn deep_enough() {
    for expression in [
        "(".repeat(24) + "1" + &")".repeat(24),
        "[".repeat(24) + "1" + &"]".repeat(24),
        vec!["1"; 64].join(" + "),
        "[1]".to_owned() + &".map(x, x)".repeat(20),
        "[1].map(x, ".repeat(11) + "1" + &")".repeat(11),
        vec!["true"; 32].join(" && "),
        vec!["true?1:"; 24].concat() + "1",
        "{'a': ".repeat(24) + "1" + &"}".repeat(24),
    ] {
        let answer = super::render::value(&expression, serde_json::json!({}));
        assert!(answer.is_ok(), "{expression}: {answer:?}");
    }
}

#[test]
fn deep_documents_are_refused_or_taken() {
    for source in [
        "[".repeat(100_000),
        "{a: ".repeat(50_000),
        "- ".repeat(50_000),
        "input: ".to_owned() + &"[".repeat(1_000) + &"]".repeat(1_000),
        "name: d\nversion: 1\noutput: ".to_owned() + &"{a: ".repeat(400) + &"}".repeat(400),
        "a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: &d [*c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e]\ng: &g [*f, *f, *f, *f, *f]\nh: [*g, *g, *g, *g, *g, *g, *g]\n".to_owned(),
        "x".repeat((1 << 20) + 1),
        String::new(),
        "\u{feff}".to_owned(),
        "---\n---\n".to_owned(),
        "!!binary x".to_owned(),
        "&a [*a]".to_owned(),
    ] {
        is_told_within(&source, &check(&source, None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_is_answered(source in "\\PC{0,200}") {
        is_told_within(&source, &check(&source, None));
    }

    #[test]
    fn yaml_like_garbage_is_answered(
        source in "([a-z_]{1,9}(:|: \\||: \\[|: \\{|: \\$\\{ )[ \n]|[-?&*!\"'{}\\[\\],#%|>]|\n {0,6}){0,40}"
    ) {
        is_told_within(&source, &check(&source, None));
    }

    #[test]
    fn expressions_are_answered(expression in "[a-z0-9.?(){}\\[\\]'\"\\\\+*/<=&|!:, @$-]{0,60}") {
        let source = with_expression(&expression);
        is_told_within(&source, &check(&source, None));
    }

    #[test]
    fn mutated_samples_are_answered(
        sample in 0_usize..4,
        at in any::<prop::sample::Index>(),
        length in 0_usize..12,
        patch in "[a-z0-9:{}\\[\\]$ \n\"'#&*-]{0,12}",
    ) {
        let mut letters: Vec<char> = SAMPLES[sample].1.chars().collect();
        let from = at.index(letters.len());
        let to = (from + length).min(letters.len());
        letters.splice(from..to, patch.chars());
        let source: String = letters.into_iter().collect();
        is_told_within(&source, &check(&source, None));
    }

    #[test]
    fn moved_lines_are_answered(
        sample in 0_usize..4,
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let mut lines: Vec<&str> = SAMPLES[sample].1.lines().collect();
        let line = lines.remove(from.index(lines.len()));
        lines.insert(to.index(lines.len()), line);
        let source = lines.join("\n");
        is_told_within(&source, &check(&source, None));
    }
}
