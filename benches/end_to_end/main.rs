//! The reference load of amends over real HTTP on loopback, from the start of a saga to its end,
//! beside its ceiling: a bare proxy that makes the same calls and keeps nothing. `README.md` says
//! how to read what it prints.
//!
//! Everything that has CPU and memory of its own to be read is a process of its own: the
//! participants, the proxy and the relay are this binary again, in another role; the coordinator is
//! `amends`.

mod arguments;
mod broker;
mod client;
mod database;
mod definitions;
mod driver;
mod lone;
mod overload;
mod participants;
mod process;
mod proxy;
mod relay;
mod report;
mod throughput;
mod waiting;

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;

use arguments::{Arguments, Kind, Role};
use broker::Broker;
use process::RoleProcess;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        report::progress("nothing is measured but by: cargo bench --bench end_to_end");
        return Ok(());
    }
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
    };
    match arguments.role {
        Some(Role::Participants) => runtime()?.block_on(participants::serve(&arguments)),
        Some(Role::Collector) => runtime()?.block_on(participants::collect()),
        Some(Role::Proxy) => proxy::serve(&arguments.participants),
        Some(Role::Relay) => {
            relay::serve(&Broker::of(&arguments).context("the relay needs --rabbitmq")?)
        }
        None => runtime()?.block_on(async {
            // What was started is stopped where its values are dropped, so an interrupt must not
            // end the process at once.
            tokio::select! {
                done = measure(&arguments) => done,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    bail!("interrupted")
                }
            }
        }),
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let broker = Broker::of(arguments);
    let told = broker.as_ref().map_or(Vec::new(), Broker::told);
    let participants = RoleProcess::start_with(Role::Participants, &told)?;
    if arguments.rounds() > 0 {
        throughput::run(arguments, &participants, broker.as_ref()).await?;
    }
    if let Some(broker) = &broker {
        broker.clean_up().await?;
    }
    if arguments.lone() > 0 && arguments.databases.contains(&Kind::Postgres) {
        lone::run(arguments, &participants).await?;
    }
    if arguments.overload > 0 {
        overload::run(arguments, &participants).await?;
    }
    if arguments.waiting > 0 {
        waiting::run(arguments, &participants).await?;
    }
    Ok(())
}
