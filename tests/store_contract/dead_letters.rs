//! Dead letters: kept whole, found again, settled once.

use std::sync::Arc;

use amends::definition::request::Phase;
use amends::saga::id::Timestamp;
use amends::store::{
    AuditAction, AuditFilter, DeadLetterFilter, DeadLetterId, DeadLetterStatus, Kept,
    NewDeadLetter, Settlement, Store, Transport,
};
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};

use crate::audit::record;
use crate::audit_lists::scans;
use crate::bed::{Bed, T0, saga};

crate::contract! {
    a_letter_is_kept_whole on sqlite postgres mariadb;
    what_comes_again_is_kept_once on sqlite postgres mariadb;
    a_letter_settles_once on sqlite postgres mariadb;
    of_two_who_settle_one_does on sqlite postgres mariadb;
    every_filter_of_letters_narrows on sqlite postgres mariadb;
    pages_have_every_letter_once on sqlite postgres mariadb;
    long_letters_make_short_pages on sqlite postgres mariadb;
    letters_are_counted_by_queue_and_status on sqlite postgres mariadb;
    the_rare_among_letters_are_found_in_an_index on postgres;
}

/// A letter that says nothing but its text, come `ms` after the beginning.
fn plain<'a>(headers: &'a Map<String, Value>, message: &'a [u8], ms: i64) -> NewDeadLetter<'a> {
    NewDeadLetter {
        transport: Transport::RabbitMq,
        queue: "amends.replies",
        participant: None,
        reason: "malformed",
        deliveries: 1,
        received_at: Timestamp(T0 + ms),
        saga: None,
        step: None,
        phase: None,
        message_id: None,
        message,
        headers,
        redelivered: false,
    }
}

async fn kept(store: &Store, new: &NewDeadLetter<'_>) -> DeadLetterId {
    match store.keep_dead_letter(new).await.unwrap() {
        Kept::New(id) => id,
        Kept::Same(id) => panic!("{id} was kept before"),
    }
}

fn discarded(reason: &str) -> Settlement {
    Settlement::Discarded {
        reason: reason.to_owned(),
    }
}

async fn a_letter_is_kept_whole(bed: Arc<Bed>) {
    let store = &bed.store;
    // Bytes that are no text in any of the databases, and texts that they find hard.
    let message: Vec<u8> = (0..=255).collect();
    let headers = json!({ "amends-replay": "3", "ключ": "\u{0}😀", "n": 1.5 });
    let headers = headers.as_object().unwrap();
    let long = "s".repeat(1_000);
    let whole = NewDeadLetter {
        transport: Transport::Sqs,
        queue: "payment.fifo",
        participant: Some("payment"),
        reason: "delivery\0limit",
        deliveries: u32::MAX,
        received_at: Timestamp(T0 + 7),
        saga: Some(saga(1)),
        step: Some(&long),
        phase: Some(Phase::Compensation),
        message_id: Some("a\0b😀"),
        message: &message,
        headers,
        redelivered: true,
    };
    let id = kept(store, &whole).await;
    let letter = store.dead_letter(id).await.unwrap().unwrap();
    assert_eq!((letter.id, letter.status), (id, DeadLetterStatus::Open));
    assert_eq!(
        (letter.transport.as_str(), letter.queue.as_str()),
        ("sqs", "payment.fifo")
    );
    assert_eq!(letter.participant.as_deref(), Some("payment"));
    assert_eq!(letter.reason, "delivery\u{fffd}limit");
    assert_eq!(letter.deliveries, u32::MAX);
    assert_eq!(letter.received_at, Timestamp(T0 + 7));
    assert_eq!(letter.saga, Some(saga(1)));
    assert_eq!(letter.step.as_deref(), Some(long.as_str()));
    assert_eq!(letter.phase.as_deref(), Some("compensation"));
    assert_eq!(letter.message_id.as_deref(), Some("a\u{fffd}b😀"));
    assert_eq!(letter.message, message);
    assert_eq!(&letter.headers, headers);
    assert_eq!(letter.replays, 3);
    assert_eq!(
        (letter.settled_at, letter.settled_by, letter.note),
        (None, None, None)
    );

    // And one with nothing in it, of a megabyte.
    let none = Map::new();
    let long = vec![0xff; 1 << 20];
    for message in [&b""[..], &long] {
        let id = kept(store, &plain(&none, message, 8)).await;
        let letter = store.dead_letter(id).await.unwrap().unwrap();
        assert_eq!(letter.message, message);
        assert_eq!((letter.saga, letter.step, letter.phase), (None, None, None));
        assert_eq!((letter.participant, letter.message_id), (None, None));
        assert_eq!((letter.headers, letter.replays), (Map::new(), 0));
    }
    let absent = DeadLetterId(saga(9).0);
    assert_eq!(store.dead_letter(absent).await.unwrap(), None);
}

async fn what_comes_again_is_kept_once(bed: Arc<Bed>) {
    let store = &bed.store;
    let none = Map::new();
    let first = kept(store, &plain(&none, b"one", 1)).await;
    let again = NewDeadLetter {
        redelivered: true,
        ..plain(&none, b"one", 60_000)
    };
    assert_eq!(
        store.keep_dead_letter(&again).await.unwrap(),
        Kept::Same(first)
    );
    // Nobody said that it came before: two messages may say the same.
    let second = kept(store, &plain(&none, b"one", 2)).await;
    assert_ne!(first, second);
    // What is settled is another one's story.
    for (n, id) in [(1, first), (2, second)] {
        let record = record(AuditAction::DeadLetterDiscarded, n, T0, "ada");
        let settled = store.settle_dead_letter(id, &discarded("x"), &record).await;
        assert!(settled.unwrap());
    }
    let third = kept(store, &again).await;
    assert_eq!(
        store.keep_dead_letter(&again).await.unwrap(),
        Kept::Same(third)
    );
    // A replay that died is none of the letters before it.
    let replayed = json!({ "amends-replay": "1" });
    let replayed = replayed.as_object().unwrap();
    let died = NewDeadLetter {
        headers: replayed,
        ..again
    };
    let fourth = kept(store, &died).await;
    assert_eq!(store.dead_letter(fourth).await.unwrap().unwrap().replays, 1);
    assert_eq!(
        store.keep_dead_letter(&died).await.unwrap(),
        Kept::Same(fourth)
    );
    assert_eq!(store.keep_dead_letter(&died).await.unwrap().id(), fourth);
}

async fn a_letter_settles_once(bed: Arc<Bed>) {
    let store = &bed.store;
    let none = Map::new();
    let replayed = kept(store, &plain(&none, b"one", 1)).await;
    let thrown = kept(store, &plain(&none, b"two", 2)).await;
    let by = |action| record(action, 5, T0 + 9_000, "ada");
    let replay = by(AuditAction::DeadLetterReplayed);
    let discard = by(AuditAction::DeadLetterDiscarded);
    let settle = async |id, settlement: &Settlement, record| {
        store
            .settle_dead_letter(id, settlement, record)
            .await
            .unwrap()
    };
    assert!(settle(replayed, &Settlement::Replayed, &replay).await);
    assert!(settle(thrown, &discarded("of a test"), &discard).await);
    for id in [replayed, thrown, DeadLetterId(saga(9).0)] {
        assert!(!settle(id, &Settlement::Replayed, &replay).await);
        assert!(!settle(id, &discarded("again"), &discard).await);
    }
    let letter = store.dead_letter(replayed).await.unwrap().unwrap();
    assert_eq!(
        (letter.status, letter.replays),
        (DeadLetterStatus::Replayed, 1)
    );
    assert_eq!(letter.settled_at, Some(Timestamp(T0 + 9_000)));
    assert_eq!(
        (letter.settled_by.as_deref(), letter.note),
        (Some("ada"), None)
    );
    let letter = store.dead_letter(thrown).await.unwrap().unwrap();
    assert_eq!(
        (letter.status, letter.replays),
        (DeadLetterStatus::Discarded, 0)
    );
    assert_eq!(letter.note.as_deref(), Some("of a test"));
    // One row of the audit for each that changed anything.
    let told = store
        .audit(&AuditFilter::default(), None, 10)
        .await
        .unwrap();
    let actions: Vec<_> = told.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["DEAD_LETTER_DISCARDED", "DEAD_LETTER_REPLAYED"]);
}

async fn of_two_who_settle_one_does(bed: Arc<Bed>) {
    let store = &bed.store;
    let none = Map::new();
    for n in 0..10 {
        let id = kept(store, &plain(&none, b"one", i64::from(n))).await;
        let replay = record(AuditAction::DeadLetterReplayed, n, T0, "ada");
        let discard = record(AuditAction::DeadLetterDiscarded, n, T0, "bob");
        let no = discarded("no");
        let (one, two) = tokio::join!(
            store.settle_dead_letter(id, &Settlement::Replayed, &replay),
            store.settle_dead_letter(id, &no, &discard),
        );
        assert_ne!(one.unwrap(), two.unwrap());
    }
    let told = store
        .audit(&AuditFilter::default(), None, 50)
        .await
        .unwrap();
    assert_eq!(told.len(), 10);
}

/// Twelve letters, a second apart: of three queues, two transports, two sagas; every third is
/// discarded, and the very first replayed.
async fn fill(store: &Store) -> Vec<DeadLetterId> {
    let none = Map::new();
    let mut ids = Vec::new();
    for n in 0..12_u32 {
        let texts = ["a", "b", "A"];
        let text = texts[n as usize % 3];
        let new = NewDeadLetter {
            transport: Transport::ALL[n as usize % 2],
            queue: text,
            participant: (n >= 6).then_some(text),
            reason: if n < 4 { "rejected" } else { "expired" },
            saga: (n % 4 != 0).then(|| saga(n % 2)),
            ..plain(&none, b"x", i64::from(n) * 1_000)
        };
        let id = kept(store, &new).await;
        let settlement = match n {
            0 => Some((Settlement::Replayed, AuditAction::DeadLetterReplayed)),
            n if n % 3 == 1 => Some((discarded("no"), AuditAction::DeadLetterDiscarded)),
            _ => None,
        };
        if let Some((settlement, action)) = settlement {
            let record = record(action, n, T0, "ada");
            assert!(
                store
                    .settle_dead_letter(id, &settlement, &record)
                    .await
                    .unwrap()
            );
        }
        ids.push(id);
    }
    ids
}

/// The places, in `fill`'s order, of the letters that a filter finds, page by page.
async fn found(
    store: &Store,
    ids: &[DeadLetterId],
    filter: &DeadLetterFilter,
    limit: u64,
) -> Vec<usize> {
    let mut places = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.dead_letters(filter, cursor, limit).await.unwrap();
        assert!(page.letters.len() as u64 <= limit);
        let place = |id| ids.iter().position(|known| *known == id).unwrap();
        places.extend(page.letters.iter().map(|letter| place(letter.id)));
        if !page.more {
            return places;
        }
        cursor = page.letters.last().map(|letter| letter.id);
    }
}

async fn every_filter_of_letters_narrows(bed: Arc<Bed>) {
    use DeadLetterStatus::{Discarded, Open, Replayed};
    let store = &bed.store;
    let ids = fill(store).await;
    let of = |set: &dyn Fn(&mut DeadLetterFilter)| {
        let mut filter = DeadLetterFilter::default();
        set(&mut filter);
        filter
    };
    let second = |n: i64| Some(Timestamp(T0 + n * 1_000));
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (of(&|_| ()), vec![11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (of(&|f| f.statuses = vec![Open]), vec![11, 9, 8, 6, 5, 3, 2]),
        (of(&|f| f.statuses = vec![Replayed]), vec![0]),
        (
            of(&|f| f.statuses = vec![Replayed, Discarded, Replayed]),
            vec![10, 7, 4, 1, 0],
        ),
        (of(&|f| f.queue = text("a")), vec![9, 6, 3, 0]),
        (of(&|f| f.queue = text("A")), vec![11, 8, 5, 2]),
        (of(&|f| f.queue = text("a ")), vec![]),
        (of(&|f| f.participant = text("a")), vec![9, 6]),
        (
            of(&|f| f.transport = Some(Transport::Sqs)),
            vec![11, 9, 7, 5, 3, 1],
        ),
        (of(&|f| f.reason = text("rejected")), vec![3, 2, 1, 0]),
        (of(&|f| f.saga = Some(saga(0))), vec![10, 6, 2]),
        (of(&|f| f.saga = Some(saga(9))), vec![]),
        (of(&|f| f.received_after = second(10)), vec![11, 10]),
        (of(&|f| f.received_before = second(2)), vec![1, 0]),
        (
            of(&|f| {
                (f.received_after, f.received_before) = (second(2), second(9));
                (f.queue, f.statuses) = (text("a"), vec![Open, Discarded]);
            }),
            vec![6, 3],
        ),
    ];
    for (filter, expected) in cases {
        for limit in [1, 3, 500] {
            let found = found(store, &ids, &filter, limit).await;
            assert_eq!(found, expected, "{filter:?} by {limit}");
        }
    }
}

async fn pages_have_every_letter_once(bed: Arc<Bed>) {
    let store = &bed.store;
    let none = Map::new();
    let mut ids = Vec::new();
    for _ in 0..20 {
        // All in one millisecond, in which ids are in no order.
        ids.push(kept(store, &plain(&none, b"x", 0)).await);
    }
    for limit in [1, 7, 19, 20, 21] {
        let mut found = found(store, &ids, &DeadLetterFilter::default(), limit).await;
        found.sort_unstable();
        assert_eq!(found, (0..20).collect::<Vec<_>>(), "{limit}");
    }
}

async fn long_letters_make_short_pages(bed: Arc<Bed>) {
    let store = &bed.store;
    let none = Map::new();
    let (long, longest) = (vec![b'x'; 3 << 20], vec![b'y'; 9 << 20]);
    let mut ids = Vec::new();
    for (message, ms) in [
        (&long, 1),
        (&long, 2),
        (&long, 3),
        (&longest, 4),
        (&long, 5),
    ] {
        ids.push(kept(store, &plain(&none, message, ms)).await);
    }
    let mut sizes = Vec::new();
    let mut cursor = None;
    loop {
        let page = store
            .dead_letters(&DeadLetterFilter::default(), cursor, 500)
            .await
            .unwrap();
        sizes.push(page.letters.len());
        cursor = page.letters.last().map(|letter| letter.id);
        if !page.more {
            break;
        }
    }
    assert_eq!(sizes, [1, 1, 2, 1]);
    let all = found(store, &ids, &DeadLetterFilter::default(), 500).await;
    assert_eq!(all, [4, 3, 2, 1, 0]);
}

async fn letters_are_counted_by_queue_and_status(bed: Arc<Bed>) {
    let store = &bed.store;
    assert_eq!(store.count_dead_letters().await.unwrap(), []);
    fill(store).await;
    let counts = store.count_dead_letters().await.unwrap();
    let counts: Vec<_> = counts
        .iter()
        .map(|count| {
            (
                count.queue.as_str(),
                count.open,
                count.replayed,
                count.discarded,
            )
        })
        .collect();
    assert_eq!(counts, [("A", 4, 0, 0), ("a", 3, 1, 0), ("b", 0, 0, 4)]);
}

/// The few among many are looked for in their index, by the server's own count.
async fn the_rare_among_letters_are_found_in_an_index(bed: Arc<Bed>) {
    let store = &bed.store;
    let raw = bed.raw().await;
    raw.execute_unprepared(
        "INSERT INTO dead_letters (id, received_at, deliveries, replays, digest, status, \
         transport, queue, participant, reason, headers, message) \
         SELECT gen_random_uuid(), 0, 1, 0, '\\x00', 'open', 'sqs', 'many', 'many', 'x', '{}', \
         convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, 6000)",
    )
    .await
    .unwrap();
    let none = Map::new();
    let rare = NewDeadLetter {
        participant: Some("rare"),
        saga: Some(saga(1)),
        ..plain(&none, b"x", 0)
    };
    let settled = kept(store, &rare).await;
    let discard = record(AuditAction::DeadLetterDiscarded, 1, T0, "ada");
    let no = discarded("no");
    let was_open = store.settle_dead_letter(settled, &no, &discard).await;
    assert!(was_open.unwrap());
    let again = NewDeadLetter {
        queue: "many",
        redelivered: true,
        ..plain(&none, b"y", 0)
    };
    let open = kept(store, &again).await;
    raw.execute_unprepared("ANALYZE").await.unwrap();
    let of = |set: &dyn Fn(&mut DeadLetterFilter)| {
        let mut filter = DeadLetterFilter::default();
        set(&mut filter);
        filter
    };
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (
            of(&|f| f.statuses = vec![DeadLetterStatus::Discarded]),
            "dead_letters_by_status",
        ),
        (
            of(&|f| f.queue = text("amends.replies")),
            "dead_letters_by_queue",
        ),
        (
            of(&|f| f.participant = text("rare")),
            "dead_letters_by_participant",
        ),
        (of(&|f| f.saga = Some(saga(1))), "dead_letters_by_saga"),
    ];
    let indices = cases.iter().map(|(_, index)| *index);
    let mut before = Vec::new();
    for index in indices.chain(["dead_letters_by_digest"]) {
        before.push((index, scans(&raw, index).await));
    }
    for (filter, _) in &cases {
        let page = store.dead_letters(filter, None, 5).await.unwrap();
        assert_eq!(page.letters.len(), 1, "{filter:?}");
    }
    let same = store.keep_dead_letter(&again).await.unwrap();
    assert_eq!(same, Kept::Same(open));
    // The server counts some seconds later.
    for (index, before) in before {
        while scans(&raw, index).await == before {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    raw.close().await.unwrap();
}
