//! The four scenarios of bullmq-bench (<https://github.com/taskforcesh/bullmq-bench>), under its names and with its
//! numbers of jobs, but with our payload: jobs are added while nobody works, or worked when all were added.

use super::Bench;
use crate::job::Job;

/// Jobs of one call where it adds in bulk.
const BULK: usize = 100;
/// Jobs worked at once where it works concurrently.
const CONCURRENCY: usize = 10;

/// What is added is worked: each scenario begins with an empty queue.
pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    add(bench, "queue-add", 1).await?;
    work(bench, "worker-generic", 1).await?;
    add(bench, "queue-add-bulk", BULK).await?;
    work(bench, "worker-concurrent", CONCURRENCY).await
}

async fn add(bench: &mut Bench<'_>, scenario: &str, batch: usize) -> anyhow::Result<()> {
    let adding = |tasks| Job::Add { callers: 1, batch, tasks };
    bench.run(&adding(bench.plan.warm_up_jobs)).await?;
    let job = adding(bench.plan.jobs);
    measured(bench, scenario, &job, &job).await
}

async fn work(bench: &mut Bench<'_>, scenario: &str, concurrency: usize) -> anyhow::Result<()> {
    let working = |tasks| Job::Work { concurrency, tasks };
    let warm = bench.run(&working(bench.plan.warm_up_jobs)).await?;
    let early = warm.completed.saturating_sub(bench.plan.warm_up_jobs);
    let job = working(bench.plan.jobs);
    measured(bench, scenario, &job, &working(bench.plan.jobs.saturating_sub(early))).await
}

/// Notes under the name of `job` what came of `rest`: what is left of it after those that were done too early.
async fn measured(bench: &mut Bench<'_>, scenario: &str, job: &Job, rest: &Job) -> anyhow::Result<()> {
    let outcome = bench.run(rest).await?;
    bench.note(scenario, job, &[("jobs_per_second", outcome.rate(), "1/s")]);
    Ok(())
}
