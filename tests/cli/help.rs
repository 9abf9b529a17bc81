//! Every command says how it is used.

use super::run;

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "demo",
        "serve",
        "migrate",
        "check",
        "start",
        "list",
        "get",
        "watch",
        "explain",
        "cancel",
        "suspend",
        "resume",
        "retry",
        "resolve",
        "signal",
        "definitions",
        "audit",
        "dead-letters",
        "graph",
    ] {
        let ran = run(&[command, "--help"]).ends(0);
        assert!(
            ran.out.contains(&format!("amends {command}")),
            "{}",
            ran.out
        );
        let example = ["Example:", "Examples:"];
        let has_one = example.iter().any(|word| ran.out.contains(word));
        assert!(has_one, "{}", ran.out);
    }
    let nested = [
        ("definitions", ["list", "publish", "pause", "resume"]),
        ("dead-letters", ["list", "show", "replay", "discard"]),
    ];
    for (command, of_it) in nested {
        for below in of_it {
            let ran = run(&[command, below, "--help"]).ends(0);
            let example = format!("amends {command} {below}");
            assert!(ran.out.contains("Example:") && ran.out.contains(&example));
        }
    }
}
