//! How schedules look: their ticks in their own time zone.

use nova_proto::queue::v1::{NewTask, Schedule};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::MISSED_PREFIX;
use crate::commands::queue::scope::Scope;
use crate::commands::queue::template;
use crate::commands::{cells, output};

/// A row of the list.
pub(super) fn row(schedule: &Schedule) -> [String; 7] {
    let NewTask { queue, kind, .. } = schedule.task.clone().unwrap_or_default();
    let next =
        if schedule.paused { "paused".to_owned() } else { tick(schedule, schedule.next_time.as_ref()) };
    let last = cells::relative(schedule.last_time.as_ref());
    [schedule.name.clone(), schedule.cron.clone(), zone(schedule).to_owned(), queue, kind, next, last]
}

fn zone(schedule: &Schedule) -> &str {
    if schedule.time_zone.is_empty() { "UTC" } else { &schedule.time_zone }
}

/// A tick of a schedule, as the clocks of its time zone show it.
fn tick(schedule: &Schedule, time: Option<&Timestamp>) -> String {
    cells::moment_in(zone(schedule), time)
}

/// Shows one.
pub(super) fn one(scope: &Scope<'_>, schedule: &Schedule) -> anyhow::Result<()> {
    let task = schedule.task.clone().unwrap_or_default();
    let skipped = if schedule.skipped > 0 { schedule.skipped.to_string() } else { String::new() };
    let mut fields = vec![
        ("schedule", schedule.name.clone()),
        ("namespace", scope.namespace()),
        ("cron", schedule.cron.clone()),
        ("time zone", zone(schedule).to_owned()),
    ];
    fields.extend(template::fields(&task));
    fields.extend([
        ("missed ticks", missed(schedule)),
        ("paused", if schedule.paused { "yes".to_owned() } else { String::new() }),
        ("next", tick(schedule, schedule.next_time.as_ref())),
        ("last", tick(schedule, schedule.last_time.as_ref())),
        ("last task", schedule.last_task_id.clone()),
        ("skipped", skipped),
    ]);
    output::fields(scope.context, &fields, &record(schedule))
}

fn missed(schedule: &Schedule) -> String {
    cells::name(schedule.missed().as_str_name(), MISSED_PREFIX)
}

/// A schedule as programs see it, with what it says of its tasks.
pub(super) fn record(schedule: &Schedule) -> Value {
    let mut record = template::record(&schedule.task.clone().unwrap_or_default());
    record["name"] = json!(schedule.name);
    record["cron"] = json!(schedule.cron);
    record["time_zone"] = json!(zone(schedule));
    record["missed"] = json!(missed(schedule));
    record["paused"] = json!(schedule.paused);
    record["next_time"] = json!(cells::rfc3339(schedule.next_time.as_ref()));
    record["last_time"] = json!(cells::rfc3339(schedule.last_time.as_ref()));
    record["last_task_id"] = json!(schedule.last_task_id);
    record["skipped"] = json!(schedule.skipped);
    record
}
