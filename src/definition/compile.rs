//! From the document as it was written to the compiled definition.

use super::draft::Draft;
use super::draft::call::{DraftCall, DraftCompensation, DraftTarget};
use super::draft::step::{DraftAction, DraftKind, DraftStep};
use super::expression::{Compiler, Names, Read};
use super::headers;
use super::input::InputSchema;
use super::model::{
    Action, Compensation, CompensationOrder, Definition, Delay, OnCompensationFailure, ReplyMode,
    RetryPolicy, Step, StepIndex, StepKind, Wait,
};
use super::order::{self, Order};
use super::problem::{Place, Problems};
use super::request::{Call, CallBody, CallTarget};
use super::tree::{Entry, Node, Tree};
use super::{duration, fields};

/// How long one attempt of a compensation may take when it does not say.
const COMPENSATION_TIMEOUT_MS: u64 = 30_000;

/// What the expressions of a definition read, and where.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// By step, what the calls of its compensation read.
    pub(super) compensations: Vec<Vec<(Place, Read)>>,
    /// By step, what the condition of its compensation reads.
    pub(super) conditions: Vec<Vec<(Place, Read)>>,
    /// What the saga's output reads.
    pub(super) output: Vec<(Place, Read)>,
}

/// Compiles a draft. `None` when too much of it is missing; any problem is among `problems`.
pub(super) fn compile(
    draft: &Draft<'_>,
    order: &Order,
    root: &Node,
    problems: &mut Problems,
) -> (Option<Definition>, Reads) {
    let mut reads = Reads::default();
    let input = draft
        .input
        .and_then(|node| InputSchema::compile(node, problems));
    let mut steps = Vec::with_capacity(draft.steps.len());
    for (index, step) in order::indices(&draft.steps) {
        let compiled = StepCompiler {
            draft,
            order,
            index,
            step,
            reads: &mut reads,
        }
        .compile(problems);
        steps.extend(compiled);
    }
    let output = draft.output.map(|node| {
        let names = Names {
            steps: &order.by_id,
            ended: None,
            own: None,
        };
        let mut compiler = Compiler::new(names, problems);
        let template = compiler.template(node, "output");
        reads.output = compiler.reads;
        template
    });
    let (Some(name), Some(version)) = (draft.name.clone(), draft.version) else {
        return (None, reads);
    };
    let definition = Definition {
        name,
        version,
        version_place: draft.version_place,
        description: draft.description.clone(),
        labels: draft.labels.clone(),
        input,
        timeout_ms: draft.timeout.map(|(_, timeout_ms)| timeout_ms),
        compensation_order: draft
            .compensation
            .order
            .unwrap_or(CompensationOrder::Reverse),
        on_compensation_failure: draft
            .compensation
            .on_failure
            .unwrap_or(OnCompensationFailure::Halt),
        steps,
        topological: order.topological.clone(),
        pivot: order.pivot,
        output,
        document: root.to_json(),
    };
    (Some(definition), reads)
}

struct StepCompiler<'a, 'n> {
    draft: &'a Draft<'n>,
    order: &'a Order,
    index: StepIndex,
    step: &'a DraftStep<'n>,
    reads: &'a mut Reads,
}

impl StepCompiler<'_, '_> {
    /// The step; `None` when too much of it is missing.
    fn compile(mut self, problems: &mut Problems) -> Option<Step> {
        self.reads.compensations.push(Vec::new());
        self.reads.conditions.push(Vec::new());
        let id = self.step.id.as_ref().map_or("?", |(_, id)| id.as_str());
        let prefix = format!("steps.{id}");
        let when = self.step.when.and_then(|node| {
            self.compiler(None, problems)
                .condition(node, &format!("{prefix}.when"))
        });
        let kind = match self.step.kind.as_ref()? {
            DraftKind::Action(action) => self
                .action(action, &prefix, problems)
                .map(|action| StepKind::Action(Box::new(action))),
            DraftKind::Wait { signal, timeout_ms } => signal.as_ref().map(|(_, signal)| {
                StepKind::Wait(Wait {
                    signal: signal.clone(),
                    timeout_ms: *timeout_ms,
                })
            }),
            DraftKind::Delay(node) => self.delay(node, &prefix, problems).map(StepKind::Delay),
        };
        let offset = self.index.offset();
        Some(Step {
            id: id.to_owned(),
            index: self.index,
            place: self.step.place,
            after: self.order.after.get(offset)?.clone(),
            followers: self.order.followers.get(offset)?.clone(),
            position: *self.order.positions.get(offset)?,
            when,
            on_failure: self.step.on_failure,
            kind: kind?,
        })
    }

    /// A compiler for expressions of the step, or of its compensation with `own`.
    fn compiler<'p>(&self, own: Option<StepIndex>, problems: &'p mut Problems) -> Compiler<'p>
    where
        Self: 'p,
    {
        let ended = self
            .order
            .before
            .get(self.index.offset())
            .map(Vec::as_slice);
        Compiler::new(
            Names {
                steps: &self.order.by_id,
                ended,
                own,
            },
            problems,
        )
    }

    fn action(
        &mut self,
        action: &DraftAction<'_>,
        prefix: &str,
        problems: &mut Problems,
    ) -> Option<Action> {
        let call = action.call.as_ref().and_then(|call| {
            let path = format!("{prefix}.action");
            compile_call(call, &path, &mut self.compiler(None, problems))
        });
        let compensation = action
            .compensation
            .as_ref()
            .map(|compensation| self.compensation(compensation, prefix, problems));
        let (_, participant) = action.participant.as_ref()?;
        Some(Action {
            participant: participant.clone(),
            call: call?,
            // One that was written wrongly is among the problems.
            compensation: compensation.flatten(),
            timeout_ms: action.timeout.map(|(_, timeout_ms)| timeout_ms),
            retry: action
                .retry
                .over(self.draft.retry.over(RetryPolicy::ACTION)),
            reply: action.reply.map_or(ReplyMode::Sync, |(_, reply)| reply),
            reply_place: action.reply.map(|(place, _)| place),
            participant_place: action
                .participant
                .as_ref()
                .map_or(self.step.place, |(place, _)| *place),
            compensate: action.compensate,
            refuse_on: action
                .refuse_on
                .clone()
                .map(|(_, list)| list)
                .unwrap_or_default(),
            retry_on: action
                .retry_on
                .clone()
                .map(|(_, list)| list)
                .unwrap_or_default(),
        })
    }

    fn compensation(
        &mut self,
        compensation: &DraftCompensation<'_>,
        prefix: &str,
        problems: &mut Problems,
    ) -> Option<Compensation> {
        let own = Some(self.index);
        let path = format!("{prefix}.compensation");
        let offset = self.index.offset();
        let when = compensation.when.and_then(|node| {
            let mut compiler = self.compiler(own, problems);
            let condition = compiler.condition(node, &format!("{path}.when"));
            let reads = std::mem::take(&mut compiler.reads);
            drop(compiler);
            if let Some(slot) = self.reads.conditions.get_mut(offset) {
                *slot = reads;
            }
            condition
        });
        let mut compiler = self.compiler(own, problems);
        let call = compile_call(&compensation.call, &path, &mut compiler);
        let reads = std::mem::take(&mut compiler.reads);
        drop(compiler);
        if let Some(slot) = self.reads.compensations.get_mut(offset) {
            *slot = reads;
        }
        let base = self
            .draft
            .compensation
            .retry
            .over(RetryPolicy::COMPENSATION);
        Some(Compensation {
            call: call?,
            when,
            retry: compensation.retry.over(base),
            timeout_ms: compensation.timeout_ms.unwrap_or(COMPENSATION_TIMEOUT_MS),
        })
    }

    fn delay(&self, node: &Node, prefix: &str, problems: &mut Problems) -> Option<Delay> {
        let (_, text) = fields::text(node, "delay", problems)?;
        if let Ok(duration_ms) = duration::parse_ms(text) {
            return Some(Delay::For(duration_ms));
        }
        if text.contains("${") {
            let path = format!("{prefix}.delay");
            let template = self.compiler(None, problems).template(node, &path);
            return Some(Delay::Computed(template));
        }
        fields::duration_ms(node, "delay", problems);
        None
    }
}

/// Compiles a call, of which `path` says where it stands.
fn compile_call(call: &DraftCall<'_>, path: &str, compiler: &mut Compiler<'_>) -> Option<Call> {
    let target = match call.target.as_ref() {
        None => None,
        Some(DraftTarget::Command(command)) => Some(CallTarget::Command(command.clone())),
        Some(DraftTarget::Http {
            method, path: node, ..
        }) => {
            let path = format!("{path}.{}", method.as_str().to_ascii_lowercase());
            compiler.path(node, &path).map(|path| CallTarget::Http {
                method: *method,
                path,
            })
        }
    };
    let query = call
        .query
        .iter()
        .map(|Entry { key, value, .. }| {
            check_query(key, value, compiler);
            (
                key.clone(),
                compiler.template(value, &format!("{path}.query.{key}")),
            )
        })
        .collect();
    let headers = headers::compile(call.headers, path, compiler);
    let body = call.body.map_or(CallBody::Default, |node| {
        CallBody::Declared(compiler.template(node, &format!("{path}.body")))
    });
    Some(Call {
        target: target?,
        query,
        headers,
        body,
    })
}

fn check_query(key: &str, value: &Node, compiler: &mut Compiler<'_>) {
    if matches!(value.tree, Tree::List(_) | Tree::Map(_)) {
        fields::wrong_type(
            value,
            key,
            "a text, a number or a boolean",
            compiler.problems,
        );
    }
}
