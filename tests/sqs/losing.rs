//! An emulator that goes away and comes back, with nothing left in it.

use std::time::{Duration, Instant};

use amends::dispatch::broker::Published;
use support::eventually;
use support::moto::PrivateMoto;

use crate::bed::{Bed, Bringing, PATIENCE, command, publish, settings, until_down, until_up};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_at_the_start_and_goes_away_again() {
    let mut server = PrivateMoto::new();
    let bed = Bed::on(&server.url(), None).await;
    let broker = bed.launch();
    let mut bringing = Bringing::from(&broker, 64);
    let problem = until_down(&broker, "it cannot be reached").await;
    assert!(!problem.contains("127.0.0.1"), "{problem}");
    // Whoever gives up has nothing sent later.
    let other = command(&bed, 2);
    let waited = tokio::time::timeout(Duration::from_millis(50), broker.publish(&other)).await;
    assert!(waited.is_err(), "{waited:?}");
    let message = command(&bed, 1);
    let (published, ()) = tokio::join!(publish(&broker, &message), async { server.start() });
    assert_eq!(published, Published::Confirmed);
    until_up(&broker).await;
    assert_eq!(bed.lying(&bed.queue).await, 1);

    server.stop();
    let away = Instant::now();
    until_down(&broker, "it cannot be reached").await;
    let noticed = away.elapsed();
    assert!(noticed < Duration::from_secs(5), "after {noticed:?}");
    // The queues are gone with it: what is published meanwhile waits, and may come back as long as
    // they are not made again.
    let publishing = eventually("the queue to be there again", PATIENCE, async || {
        let published = publish(&broker, &message).await;
        let returned = matches!(published, Published::Returned(_));
        (!returned).then_some(published)
    });
    let (published, ()) = tokio::join!(publishing, async { server.start() });
    assert_eq!(published, Published::Confirmed);
    until_up(&broker).await;
    bed.send(&bed.replies(), "r").await;
    bringing.next().await.receipt.done().await;
    bed.until_lying(&bed.replies(), 0).await;
    bringing.ended().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_keeps_nobody_from_stopping() {
    let mut server = PrivateMoto::start_new();
    let bed = Bed::on(&server.url(), None).await;
    let broker = bed.launch_with(settings(&server.url(), &bed.prefix));
    let mut bringing = Bringing::from(&broker, 64);
    until_up(&broker).await;
    bed.send(&bed.replies(), "r").await;
    let in_hand = bringing.next().await;
    server.stop();
    in_hand.receipt.done().await;
    let begun = Instant::now();
    bringing.ended().await;
    broker.close().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_any_more_is_not_sent_and_is_no_problem() {
    let mut server = PrivateMoto::start_new();
    let bed = Bed::on(&server.url(), None).await;
    let broker = bed.launch();
    until_up(&broker).await;
    server.stop();
    let message = command(&bed, 1);
    {
        let publishing = publish(&broker, &message);
        tokio::pin!(publishing);
        tokio::select! {
            published = &mut publishing => panic!("{published:?}"),
            problem = until_down(&broker, "it cannot be reached") => drop(problem),
        }
    }
    until_up(&broker).await;
    server.start();
    let maker = bed.launch();
    until_up(&maker).await;
    let fate = publish(&broker, &command(&bed, 2)).await;
    assert_eq!(fate, Published::Confirmed);
    assert_eq!(bed.lying(&bed.queue).await, 1);
    broker.close().await;
    maker.close().await;
}
