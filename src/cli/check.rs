//! `amends check`: what a check finds, as file:line:column.

use std::path::Path;

use serde::Serialize;

use super::Verdict;
use super::arguments::Check;
use super::error::CliError;
use super::output::{Output, Tone};
use crate::config::{Config, Sources};
use crate::definition::{Definition, Problem, Severity, Surroundings, check, conflicts};

/// A problem and its file.
#[derive(Debug, Serialize)]
struct Found<'a> {
    file: &'a str,
    #[serde(flatten)]
    problem: &'a Problem,
}

/// `amends check FILE…`
pub(super) fn run(arguments: &Check, output: &mut Output) -> Result<Verdict, CliError> {
    let surroundings = surroundings(arguments.config.as_deref())?;
    let files = arguments
        .files
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let found = check_all(&files, surroundings.as_ref());
    if arguments.json {
        let problems: Vec<_> = found
            .iter()
            .flat_map(|(file, problems)| {
                problems.iter().map(move |problem| Found { file, problem })
            })
            .collect();
        output.json(&serde_json::json!({ "problems": problems }))?;
    } else {
        for (file, problems) in &found {
            for problem in problems {
                output.line(line(file, problem, output))?;
            }
        }
        output.line(summary(&found, output))?;
    }
    Ok(if count(&found, Severity::Error) == 0 {
        Verdict::Yes
    } else {
        Verdict::No
    })
}

fn surroundings(config: Option<&Path>) -> Result<Option<Surroundings>, CliError> {
    let Some(path) = config else { return Ok(None) };
    let config = Config::load(&Sources::of_process(Some(path.to_owned()), Vec::new()))?;
    Ok(Some(config.surroundings()))
}

fn read(path: &Path) -> Result<(String, String), CliError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| CliError::Usage(format!("{name} cannot be read: {error}")))?;
    // Bytes that are not UTF-8 show as what they are in the problem that they make.
    Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
}

/// The problems of every file, those of several together included.
fn check_all(
    files: &[(String, String)],
    surroundings: Option<&Surroundings>,
) -> Vec<(String, Vec<Problem>)> {
    let checked: Vec<_> = files
        .iter()
        .map(|(name, source)| (name, check(source, surroundings)))
        .collect();
    let good: Vec<(&str, &Definition)> = checked
        .iter()
        .filter_map(|(name, checked)| Some((name.as_str(), checked.definition.as_deref()?)))
        .collect();
    let mut found: Vec<_> = checked
        .iter()
        .map(|(name, checked)| ((*name).clone(), checked.problems.clone()))
        .collect();
    for conflict in conflicts(&good) {
        add(&mut found, &conflict.path, [conflict.problem]);
    }
    found
}

fn add(
    found: &mut [(String, Vec<Problem>)],
    file: &str,
    problems: impl IntoIterator<Item = Problem>,
) {
    if let Some((_, known)) = found.iter_mut().find(|(name, _)| name == file) {
        known.extend(problems);
    }
}

fn line(file: &str, problem: &Problem, output: &Output) -> String {
    let (word, tone) = match problem.severity {
        Severity::Error => ("error", Tone::Bad),
        Severity::Warning => ("warning", Tone::Doubt),
    };
    format!(
        "{}: {}: {} {}",
        output.toned(
            Tone::Strong,
            &format!("{file}:{}:{}", problem.line, problem.column)
        ),
        output.toned(tone, word),
        problem.message,
        output.toned(Tone::Faint, &format!("[{}]", problem.code)),
    )
}

fn summary(found: &[(String, Vec<Problem>)], output: &Output) -> String {
    let (errors, warnings) = (
        count(found, Severity::Error),
        count(found, Severity::Warning),
    );
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let files = plural(found.len(), "file");
    if errors + warnings == 0 {
        return output.toned(Tone::Good, &format!("✓ {files}, nothing found"));
    }
    let tone = if errors > 0 { Tone::Bad } else { Tone::Doubt };
    let said = format!(
        "{files}: {}, {}",
        plural(errors, "error"),
        plural(warnings, "warning")
    );
    output.toned(tone, &said)
}

fn count(found: &[(String, Vec<Problem>)], severity: Severity) -> usize {
    let problems = found.iter().flat_map(|(_, problems)| problems);
    problems
        .filter(|problem| problem.severity == severity)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name: a\nversion: 1\nsteps:\n  - { id: s, delay: 1s }\n";

    fn file(name: &str, source: &str) -> (String, String) {
        (name.to_owned(), source.to_owned())
    }

    #[test]
    fn a_problem_has_its_place() {
        let files = [
            file("a.yaml", GOOD),
            file("b.yaml", "name: b\nversion: x\nsteps: []\n"),
        ];
        let found = check_all(&files, None);
        assert_eq!(found[0].1, []);
        assert!(count(&found, Severity::Error) >= 2);
        let first = line("b.yaml", &found[1].1[0], &Output::plain());
        assert!(first.starts_with("b.yaml:2:10: error: "), "{first}");
    }

    #[test]
    fn files_that_contradict_each_other_are_told() {
        let other = GOOD.replace("1s", "2s");
        let files = [file("a.yaml", GOOD), file("b.yaml", &other)];
        let found = check_all(&files, None);
        assert_eq!(found[1].1[0].code, "version_conflict");
        assert_eq!(
            summary(&found, &Output::plain()),
            "2 files: 1 error, 0 warnings"
        );
    }

    #[test]
    fn nothing_found_is_said() {
        let found = check_all(&[file("a.yaml", GOOD)], None);
        assert_eq!(summary(&found, &Output::plain()), "✓ 1 file, nothing found");
    }
}
