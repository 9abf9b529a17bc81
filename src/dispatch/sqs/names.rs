//! What the queues are called (participants.md, "SQS").

/// What a queue that keeps the order is called at the end.
const FIFO: &str = ".fifo";
/// What a dead-letter queue has behind the name of its queue.
const DEAD: &str = "-dlq";
/// The longest name that SQS takes, in characters.
const NAME_CHARS_MAX: usize = 80;

/// Whether a queue keeps the order of its messages.
pub(crate) fn is_fifo(queue: &str) -> bool {
    queue.ends_with(FIFO)
}

/// The dead-letter queue of a queue.
pub(crate) fn dead_letters_of(queue: &str) -> String {
    match queue.strip_suffix(FIFO) {
        Some(name) => format!("{name}{DEAD}{FIFO}"),
        None => format!("{queue}{DEAD}"),
    }
}

/// The queue that replies come to.
pub(crate) fn replies(prefix: &str) -> String {
    format!("{prefix}-replies")
}

/// Whether SQS takes a name, and one for its dead letters too; `Err` says why not.
pub(crate) fn check(queue: &str) -> Result<(), String> {
    let name = queue.strip_suffix(FIFO).unwrap_or(queue);
    let fits = !name.is_empty()
        && dead_letters_of(queue).len() <= NAME_CHARS_MAX
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if fits {
        return Ok(());
    }
    let chars_max = NAME_CHARS_MAX - DEAD.len();
    Err(format!(
        "`{queue}` is no name for a queue: it must be 1 to {chars_max} of A-Z a-z 0-9 - _, and may \
         end with {FIFO}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_have_a_queue_of_the_same_kind() {
        assert_eq!(dead_letters_of("pay"), "pay-dlq");
        assert_eq!(dead_letters_of("pay.fifo"), "pay-dlq.fifo");
        assert!(is_fifo("pay-dlq.fifo") && !is_fifo("pay-fifo"));
        assert_eq!(replies("shop"), "shop-replies");
    }

    #[test]
    fn a_name_is_one_that_sqs_takes() {
        for good in ["pay", "a_b-C9", "pay.fifo", &"q".repeat(76)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".fifo",
            "a.b",
            "a b",
            "pay.fifo.x",
            "ä",
            &"q".repeat(77),
            &format!("{}.fifo", "q".repeat(72)),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
