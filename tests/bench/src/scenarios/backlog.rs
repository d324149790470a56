//! What a task costs while others stand: rounds of enqueue, then work, on top of a backlog that stays; and how long it
//! takes to come back with all of it.

use std::time::{Duration, Instant};

use super::{Bench, loads};
use crate::job::{CONCURRENCY, Job};
use crate::process;

/// What a standing task needs, and what a life on top of it costs.
struct Standing {
    backlog: u64,
    micros: f64,
    bytes: f64,
}

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    // Before anything stands: to measure it takes whole lives.
    let half = loads::half(bench).await?;
    let mut at: Vec<Standing> = Vec::new();
    for backlog in bench.plan.backlogs.clone() {
        let stands = at.last().map_or(0, |less| less.backlog);
        bench.run(&Job::Add { callers: 8, batch: 64, tasks: backlog - stands }).await?;
        at.push(rounds(bench, backlog).await?);
        beside(bench, backlog, half).await?;
        if let Some(seconds) = bench.system.expire().await? {
            let late = format!("expiry_late_at_{backlog}");
            bench.note("backlog", &adding(bench.plan.round), &[(late.as_str(), seconds * 1e3, "ms")]);
        }
    }
    let Some((few, more)) = at.split_first() else { return Ok(()) };
    if let Some(seconds) = bench.system.recover().await? {
        let metric = format!("recovery_at_{}", more.last().unwrap_or(few).backlog);
        bench.note("backlog", &adding(bench.plan.round), &[(metric.as_str(), seconds, "s")]);
    }
    for many in more {
        let metric = format!("cost_{}_over_{}", many.backlog, few.backlog);
        let bytes = (many.bytes - few.bytes) / (many.backlog - few.backlog) as f64;
        let held = format!("server_memory_per_task_at_{}", many.backlog);
        let figures = [(metric.as_str(), many.micros / few.micros, "times"), (held.as_str(), bytes, "B")];
        bench.note("backlog", &adding(bench.plan.round), &figures);
    }
    Ok(())
}

fn adding(tasks: u64) -> Job {
    Job::Add { callers: CONCURRENCY, batch: 1, tasks }
}

/// How long the tasks of another queue take meanwhile, at half of the load that there may be.
async fn beside(bench: &mut Bench<'_>, backlog: u64, rate: f64) -> anyhow::Result<()> {
    let job = loads::at_pace(rate, bench.plan.seconds);
    bench.system.aside(&loads::at_pace(rate, bench.plan.warm_up)).await?;
    let Some(outcome) = bench.system.aside(&job).await? else { return Ok(()) };
    for (what, spread) in [("enqueue", outcome.enqueue), ("enqueue_to_start", outcome.start)] {
        let Some(spread) = spread else { continue };
        let (p50, p99) = (format!("{what}_p50_at_{backlog}"), format!("{what}_p99_at_{backlog}"));
        bench.note("backlog", &job, &[(&p50, spread.p50, "ms"), (&p99, spread.p99, "ms")]);
    }
    Ok(())
}

/// Enqueues and works a round's tasks over and over. Those at the head are worked, so that the backlog moves on.
async fn rounds(bench: &mut Bench<'_>, backlog: u64) -> anyhow::Result<Standing> {
    let tasks = bench.plan.round;
    let until = Instant::now() + Duration::from_secs_f64(bench.plan.seconds);
    // Worked too many, by those who cannot stop in time: they are added again.
    let mut early = 0;
    let (mut adds, mut works, mut server_cpu, mut rounds) = (0.0, 0.0, 0.0, 0.0);
    while rounds == 0.0 || Instant::now() < until {
        let (added, cost) = bench.cost(&adding(tasks + early)).await?;
        server_cpu += cost.server_cpu;
        let (worked, cost) = bench.cost(&Job::Work { concurrency: CONCURRENCY, tasks }).await?;
        server_cpu += cost.server_cpu;
        early = (early + worked.completed).saturating_sub(added.enqueued);
        adds += added.seconds / added.enqueued as f64;
        works += worked.seconds / worked.completed as f64;
        rounds += 1.0;
    }
    let bytes = process::memory_bytes(&bench.system.servers());
    let micros = (adds + works) * 1e6 / rounds;
    let (time, cpu) = (format!("cost_at_{backlog}"), format!("server_cpu_at_{backlog}"));
    let cpu_micros = server_cpu * 1e6 / (rounds * tasks as f64);
    bench.note("backlog", &adding(tasks), &[(&time, micros, "µs"), (&cpu, cpu_micros, "µs")]);
    Ok(Standing { backlog, micros, bytes })
}
