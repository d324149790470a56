//! `nova queue schedules`: tasks that are enqueued again and again.

use clap::{Args, Subcommand};
use nova_client::Mesh;
use nova_proto::queue::v1::{
    DeleteScheduleRequest, GetScheduleRequest, ListSchedulesRequest, MissedTicks, NewTask,
    PutScheduleRequest, Schedule,
};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::commands::pages::Limit;
use crate::commands::{arguments, cells, output};

const MISSED: [&str; 3] = ["once", "skip", "all"];
const MISSED_PREFIX: &str = "MISSED_TICKS_";

/// Show and change schedules.
#[derive(Debug, Args)]
pub(crate) struct Schedules {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List schedules by name.
    Ls {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one schedule.
    Show {
        /// Name of the schedule.
        schedule: String,
    },
    /// Store a schedule, in place of one of the same name.
    Put(Put),
    /// End a schedule; the tasks that it made stay.
    Delete {
        /// Name of the schedule.
        schedule: String,
    },
}

/// Store a schedule.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  nova queue schedules put digest '0 7 * * 1-5' mail digest --time-zone Europe/Berlin"
)]
struct Put {
    /// Name of the schedule.
    schedule: String,
    /// Cron expression: minute, hour, day of month, month, day of week; seconds may come first.
    cron: String,
    /// Queue of its tasks.
    queue: String,
    /// What kind of work they are.
    kind: String,
    /// What their handler is given: text, @FILE, or @- for standard input.
    #[arg(long, value_name = "TEXT|@FILE", default_value = "", hide_default_value = true)]
    payload: String,
    /// IANA time zone, such as Europe/Berlin [default: UTC].
    #[arg(long, value_name = "ZONE", default_value = "", hide_default_value = true)]
    time_zone: String,
    /// What becomes of ticks that nobody saw.
    #[arg(long, value_parser = MISSED, default_value = "once")]
    missed: String,
    /// Store it without letting a tick fire.
    #[arg(long)]
    paused: bool,
}

impl Schedules {
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self.action, Action::Ls { .. } | Action::Show { .. })
    }

    pub(crate) async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        match self.action {
            Action::Ls { limit } => list(context, mesh, &limit).await,
            Action::Show { schedule } => {
                let request = GetScheduleRequest { name: schedule, ..Default::default() };
                show(context, mesh.queue().get_schedule(request).await?.into_inner().schedule)
            }
            Action::Put(put) => put.run(context, mesh).await,
            Action::Delete { schedule } => {
                let request = DeleteScheduleRequest { name: schedule, ..Default::default() };
                mesh.queue().delete_schedule(request).await?;
                Ok(())
            }
        }
    }
}

impl Put {
    async fn run(self, context: &Context, mesh: &Mesh) -> anyhow::Result<()> {
        let payload = arguments::content(&self.payload)?.into();
        let task = NewTask { queue: self.queue, kind: self.kind, payload, ..Default::default() };
        let missed = MissedTicks::from_str_name(&cells::wire_name(&self.missed, MISSED_PREFIX));
        let schedule = Schedule {
            name: self.schedule,
            cron: self.cron,
            time_zone: self.time_zone,
            task: Some(task),
            paused: self.paused,
            missed: missed.unwrap_or_default().into(),
            ..Default::default()
        };
        let request = PutScheduleRequest { schedule: Some(schedule), ..Default::default() };
        show(context, mesh.queue().put_schedule(request).await?.into_inner().schedule)
    }
}

async fn list(context: &Context, mesh: &Mesh, limit: &Limit) -> anyhow::Result<()> {
    let page = async |page_size, page_token| {
        let request = ListSchedulesRequest { namespace: String::new(), page_size, page_token };
        let page = mesh.queue().list_schedules(request).await?.into_inner();
        Ok((page.schedules, page.next_page_token))
    };
    let schedules = limit.gather(page).await?;
    let records: Vec<Value> = schedules.iter().map(record).collect();
    let headers = ["SCHEDULE", "CRON", "TIME ZONE", "QUEUE", "KIND", "NEXT", "LAST"];
    output::rows(context, headers, schedules.iter().map(row).collect(), &records)
}

fn row(schedule: &Schedule) -> [String; 7] {
    let task = schedule.task.clone().unwrap_or_default();
    let next = if schedule.paused { "paused".to_owned() } else { cells::moment(schedule.next_time.as_ref()) };
    let last = cells::relative(schedule.last_time.as_ref());
    [schedule.name.clone(), schedule.cron.clone(), zone(schedule), task.queue, task.kind, next, last]
}

fn zone(schedule: &Schedule) -> String {
    if schedule.time_zone.is_empty() { "UTC".to_owned() } else { schedule.time_zone.clone() }
}

fn show(context: &Context, schedule: Option<Schedule>) -> anyhow::Result<()> {
    let schedule = schedule.unwrap_or_default();
    let task = schedule.task.clone().unwrap_or_default();
    let fields = [
        ("schedule", schedule.name.clone()),
        ("cron", schedule.cron.clone()),
        ("time zone", zone(&schedule)),
        ("queue", task.queue.clone()),
        ("kind", task.kind.clone()),
        ("payload", cells::readable(&task.payload)),
        ("missed ticks", cells::name(schedule.missed().as_str_name(), MISSED_PREFIX)),
        ("paused", if schedule.paused { "yes".to_owned() } else { String::new() }),
        ("next", cells::moment(schedule.next_time.as_ref())),
        ("last", cells::moment(schedule.last_time.as_ref())),
        ("last task", schedule.last_task_id.clone()),
        ("skipped", if schedule.skipped > 0 { schedule.skipped.to_string() } else { String::new() }),
    ];
    output::fields(context, &fields, &record(&schedule))
}

fn record(schedule: &Schedule) -> Value {
    let task = schedule.task.clone().unwrap_or_default();
    json!({
        "name": schedule.name,
        "cron": schedule.cron,
        "time_zone": zone(schedule),
        "queue": task.queue,
        "kind": task.kind,
        "payload": cells::content(&task.payload),
        "missed": cells::name(schedule.missed().as_str_name(), MISSED_PREFIX),
        "paused": schedule.paused,
        "next_time": cells::rfc3339(schedule.next_time.as_ref()),
        "last_time": cells::rfc3339(schedule.last_time.as_ref()),
        "last_task_id": schedule.last_task_id,
        "skipped": schedule.skipped,
    })
}
