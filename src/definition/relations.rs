//! What has to fit together: timeouts with each other, and steps with the configuration.

use super::draft::Draft;
use super::draft::call::{DraftCall, DraftTarget};
use super::draft::step::{DraftAction, DraftKind};
use super::duration::format_ms;
use super::model::ReplyMode;
use super::problem::{Place, Problems, suggestion};
use super::{Surroundings, TransportKind};

/// Checks what no field tells by itself.
pub(super) fn check(
    draft: &Draft<'_>,
    surroundings: Option<&Surroundings>,
    problems: &mut Problems,
) {
    for step in &draft.steps {
        let Some(DraftKind::Action(action)) = &step.kind else {
            continue;
        };
        check_timeout(draft, action, problems);
        if let Some(surroundings) = surroundings {
            check_participant(action, surroundings, problems);
        }
    }
}

fn check_timeout(draft: &Draft<'_>, action: &DraftAction<'_>, problems: &mut Problems) {
    let (Some((place, saga_ms)), Some((_, action_ms))) = (draft.timeout, action.timeout) else {
        return;
    };
    if saga_ms < action_ms {
        let message = format!(
            "The saga's `timeout` of {} is shorter than the {} that one of its actions may take; make it longer.",
            format_ms(saga_ms),
            format_ms(action_ms)
        );
        problems.error(place, "timeout_too_short", message);
    }
}

fn check_participant(
    action: &DraftAction<'_>,
    surroundings: &Surroundings,
    problems: &mut Problems,
) {
    if let Some((place, ReplyMode::Async)) = action.reply
        && !surroundings.has_public_url
    {
        let message = "`reply: async` needs `server.public_url` in the configuration, where the participant posts its reply.";
        problems.error(place, "public_url_missing", message);
    }
    let Some((place, participant)) = &action.participant else {
        return;
    };
    let Some(transport) = surroundings.participants.get(participant) else {
        let near = suggestion(
            participant,
            surroundings.participants.keys().map(String::as_str),
        );
        let end = if near.is_empty() {
            "; add it there."
        } else {
            &near
        };
        let message = format!("The configuration has no participant `{participant}`{end}");
        problems.error(*place, "unknown_participant", message);
        return;
    };
    match transport {
        TransportKind::Http => {}
        TransportKind::RabbitMq | TransportKind::Sqs => {
            check_command_only(action, participant, problems);
        }
        TransportKind::Local => {
            check_command_only(action, participant, problems);
            check_no_headers(action, participant, problems);
        }
    }
}

/// A function in this process is given the command and nothing beside it.
fn check_no_headers(action: &DraftAction<'_>, participant: &str, problems: &mut Problems) {
    let compensation = action.compensation.as_ref().map(|undo| &undo.call);
    for call in action.call.iter().chain(compensation) {
        if let Some(first) = call.headers.first() {
            let message = format!(
                "`headers` go nowhere, because `{participant}` is reached in this process; put them into the `body`."
            );
            problems.error(first.place, "transport_mismatch", message);
        }
    }
}

/// Over any transport but HTTP there are commands, and replies say their outcome themselves.
fn check_command_only(action: &DraftAction<'_>, participant: &str, problems: &mut Problems) {
    let mut refuse = |place: Place, what: &str, instead: &str| {
        let message = format!(
            "{what} is for participants reached over HTTP, and `{participant}` is not; {instead}."
        );
        problems.error(place, "transport_mismatch", message);
    };
    let compensation = action
        .compensation
        .as_ref()
        .map(|compensation| &compensation.call);
    for call in action.call.iter().chain(compensation) {
        if let DraftCall {
            target: Some(DraftTarget::Http { method, verb, .. }),
            ..
        } = call
        {
            let verb_name = format!("`{}`", method.as_str().to_ascii_lowercase());
            refuse(*verb, &verb_name, "use a `command`");
        }
        if let Some(first) = call.query.first() {
            refuse(first.place, "`query`", "put it into the `body`");
        }
    }
    if let Some((place, ReplyMode::Sync)) = action.reply {
        refuse(place, "`reply: sync`", "leave it out");
    }
    for (key, list) in [
        ("`refuse_on`", &action.refuse_on),
        ("`retry_on`", &action.retry_on),
    ] {
        if let Some((place, _)) = list {
            refuse(*place, key, "leave it out");
        }
    }
}
