//! The names that an expression may use where it stands, and what it was found to read.

use std::collections::BTreeMap;

use super::path::{Path, Root, Segment};
use crate::definition::model::StepIndex;
use crate::definition::problem::suggestion;

/// The names that are known where an expression stands.
#[derive(Clone, Copy, Debug)]
pub(in crate::definition) struct Names<'a> {
    /// Every step of the definition.
    pub(in crate::definition) steps: &'a BTreeMap<String, StepIndex>,
    /// By step, whether it has ended whenever the expression is evaluated; `None` for all have.
    pub(in crate::definition) ended: Option<&'a [bool]>,
    /// The step whose compensation the expression belongs to.
    pub(in crate::definition) own: Option<StepIndex>,
}

/// A step's fact that an expression reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::definition) struct Read {
    /// The step.
    pub(in crate::definition) step: StepIndex,
    /// Whether it is the output, and not only the status.
    pub(in crate::definition) output: bool,
    /// Whether what is missing there is no failure (`.?`, `has`).
    pub(in crate::definition) guarded: bool,
}

/// What is wrong with an expression: a code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::definition) struct Fault {
    pub(in crate::definition) code: &'static str,
    pub(in crate::definition) message: String,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

const ROOTS: [&str; 4] = ["input", "steps", "saga", "failure"];

impl Names<'_> {
    /// Whether `name` is one of ours.
    pub(super) fn is_root(name: &str) -> bool {
        ROOTS.contains(&name)
    }

    /// What to say of a name that nothing has.
    pub(super) fn unknown(name: &str) -> Fault {
        let near = suggestion(name, ROOTS);
        Fault::new(
            "unknown_name",
            format!(
                "`{name}` is unknown: an expression sees `input`, `steps`, `saga` and, in a compensation, `failure`{near}"
            ),
        )
    }

    /// The path of `root` and what is selected on it.
    pub(super) fn path(&self, root: &str, segments: Vec<Segment>) -> Result<Path, Fault> {
        match root {
            "input" => Ok(Path {
                root: Root::Input,
                segments,
            }),
            "saga" => field(Root::Saga, segments, &SAGA_FIELDS),
            "failure" if self.own.is_some() => field(Root::Failure, segments, &FAILURE_FIELDS),
            "failure" => Err(Fault::new(
                "unknown_name",
                "`failure` is known in compensations only; use `steps.<id>.status` here.",
            )),
            "steps" => self.step(segments),
            other => Err(Self::unknown(other)),
        }
    }

    fn step(&self, segments: Vec<Segment>) -> Result<Path, Fault> {
        let mut segments = segments.into_iter();
        let id = match segments.next() {
            Some(Segment::Key(id) | Segment::OptionalKey(id) | Segment::Has(id)) => id,
            Some(Segment::Index(_) | Segment::OptionalIndex(_)) | None => {
                return Err(Fault::new(
                    "unknown_name",
                    "`steps` is read one step at a time: write `steps.<id>.output`.",
                ));
            }
        };
        let Some(&step) = self.steps.get(&id) else {
            let near = suggestion(&id, self.steps.keys().map(String::as_str));
            return Err(Fault::new(
                "unknown_step",
                format!("There is no step `{id}`{near}"),
            ));
        };
        self.admit(step, &id)?;
        let rest: Vec<Segment> = segments.collect();
        field(
            Root::Step(step),
            rest,
            &[
                ("output", Root::Output(step)),
                ("status", Root::Status(step)),
            ],
        )
    }

    fn admit(&self, step: StepIndex, id: &str) -> Result<(), Fault> {
        let Some(ended) = self.ended else {
            return Ok(());
        };
        if self.own == Some(step) || ended.get(step.offset()).copied().unwrap_or(true) {
            return Ok(());
        }
        Err(if self.own.is_some() {
            Fault::new(
                "compensation_reads_unfinished",
                format!(
                    "The step `{id}` need not have ended when this compensation runs; read the compensation's own step, or one that comes before it."
                ),
            )
        } else {
            Fault::new(
                "step_not_before",
                format!(
                    "The step `{id}` does not come before this one, so it may not have ended; name it in `after`."
                ),
            )
        })
    }
}

const SAGA_FIELDS: [(&str, Root); 5] = [
    ("id", Root::SagaId),
    ("key", Root::SagaKey),
    ("definition", Root::SagaDefinition),
    ("version", Root::SagaVersion),
    ("started_at", Root::SagaStartedAt),
];

const FAILURE_FIELDS: [(&str, Root); 3] = [
    ("step", Root::FailureStep),
    ("code", Root::FailureCode),
    ("message", Root::FailureMessage),
];

/// A path that begins with one of the fixed fields of `whole`, or is `whole` itself.
fn field(whole: Root, segments: Vec<Segment>, fields: &[(&str, Root)]) -> Result<Path, Fault> {
    let key = match segments.first() {
        None => {
            return Ok(Path {
                root: whole,
                segments,
            });
        }
        Some(Segment::Key(key) | Segment::OptionalKey(key) | Segment::Has(key)) => key.clone(),
        Some(Segment::Index(_) | Segment::OptionalIndex(_)) => {
            return Err(Fault::new(
                "unknown_name",
                "This is not a list; select a field of it.",
            ));
        }
    };
    let Some((_, root)) = fields.iter().find(|(name, _)| *name == key) else {
        let known: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let near = suggestion(&key, known.iter().copied());
        return Err(Fault::new(
            "unknown_name",
            format!(
                "There is no `{key}` here, only `{}`{near}",
                known.join("`, `")
            ),
        ));
    };
    if matches!(segments.first(), Some(Segment::Has(_))) {
        return Ok(Path {
            root: whole,
            segments,
        });
    }
    let optional = matches!(segments.first(), Some(Segment::OptionalKey(_)));
    if optional {
        return Ok(Path {
            root: whole,
            segments,
        });
    }
    Ok(Path {
        root: *root,
        segments: segments.into_iter().skip(1).collect(),
    })
}

impl Path {
    /// What the path reads of a step.
    pub(super) fn read(&self) -> Option<Read> {
        let guarded = self.segments.iter().any(Segment::is_guarded);
        match self.root {
            Root::Output(step) => Some(Read {
                step,
                output: true,
                guarded,
            }),
            Root::Status(step) => Some(Read {
                step,
                output: false,
                guarded,
            }),
            Root::Step(step) => {
                let status = matches!(
                    self.segments.first(),
                    Some(Segment::OptionalKey(key) | Segment::Has(key)) if key == "status"
                );
                Some(Read {
                    step,
                    output: !status,
                    guarded,
                })
            }
            Root::Input
            | Root::Saga
            | Root::SagaId
            | Root::SagaKey
            | Root::SagaDefinition
            | Root::SagaVersion
            | Root::SagaStartedAt
            | Root::Failure
            | Root::FailureStep
            | Root::FailureCode
            | Root::FailureMessage => None,
        }
    }
}
