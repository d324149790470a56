//! The settings of a queue, as they are shown: each with what it comes to, also where nobody set it.

use nova_proto::queue::v1::{Queue, QueueSettings, RateLimit};
use nova_types::wire;
use serde_json::{Value, json};

use super::scope::Scope;
use crate::commands::{cells, output};

const NO_LIMIT: &str = "no limit";
/// Where the daemon's configuration decides.
const DAEMON: &str = "the daemon's limit";

/// Shows the settings of a queue.
pub(crate) fn show(scope: &Scope<'_>, queue: Queue) -> anyhow::Result<()> {
    let settings = queue.settings.unwrap_or_default();
    let record =
        json!({"queue": queue.name, "namespace": queue.namespace, "settings": self::record(&settings)});
    let mut fields = vec![("queue", queue.name), ("namespace", queue.namespace)];
    fields.extend(effective(&settings));
    output::fields(scope.context, &fields, &record)
}

fn effective(settings: &QueueSettings) -> [(&'static str, String); 9] {
    let keep_for = cells::duration(settings.keep_for.as_ref()).map(wire::in_units);
    [
        ("max running", or(NO_LIMIT, settings.max_running.into())),
        ("rate", per(settings.rate.as_ref())),
        ("group max running", or(NO_LIMIT, settings.group_max_running.into())),
        ("group rate", per(settings.group_rate.as_ref())),
        ("group weights", weights(settings)),
        ("strict priority", settings.strict_priority.to_string()),
        ("max tasks", or(DAEMON, settings.max_tasks)),
        ("keep for", keep_for.unwrap_or_else(|| DAEMON.to_owned())),
        ("keep bytes", or(NO_LIMIT, settings.keep_bytes)),
    ]
}

/// What lets no more start than so much, as far as it is set; `running` tasks are held.
pub(crate) fn limits(settings: &QueueSettings, running: u64) -> String {
    let at_once = |limit: u32, whose: &str| (limit > 0).then(|| format!("{limit} at once{whose}"));
    let reached = if running >= u64::from(settings.max_running) { ", which they are" } else { "" };
    let rate = |rate: Option<&RateLimit>, whose: &str| rate.map(|rate| per(Some(rate)) + whose);
    let all = [
        at_once(settings.max_running, reached),
        rate(settings.rate.as_ref(), ""),
        at_once(settings.group_max_running, " of each group"),
        rate(settings.group_rate.as_ref(), " of each group"),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn or(unset: &str, limit: u64) -> String {
    if limit == 0 { unset.to_owned() } else { limit.to_string() }
}

fn per(rate: Option<&RateLimit>) -> String {
    let Some(rate) = rate else { return NO_LIMIT.to_owned() };
    let period = cells::duration(rate.period.as_ref()).map(wire::in_units).unwrap_or_default();
    let burst = if rate.burst == 0 { rate.count } else { rate.burst };
    format!("{} each {period}, {burst} at once", rate.count)
}

fn weights(settings: &QueueSettings) -> String {
    let shares = settings.group_weights.iter();
    let mut shares: Vec<_> = shares.map(|(group, share)| format!("{group}={share}")).collect();
    shares.sort_unstable();
    let others = if shares.is_empty() { "1 for each" } else { "1 for each other" };
    shares.push(others.to_owned());
    shares.join(", ")
}

/// What is set, as programs see it.
pub(crate) fn record(settings: &QueueSettings) -> Value {
    json!({
        "max_running": settings.max_running,
        "rate": settings.rate.as_ref().map(limited),
        "group_max_running": settings.group_max_running,
        "group_rate": settings.group_rate.as_ref().map(limited),
        "group_weights": settings.group_weights,
        "strict_priority": settings.strict_priority,
        "max_tasks": settings.max_tasks,
        "keep_for_seconds": cells::duration(settings.keep_for.as_ref()).map(|time| time.as_secs_f64()),
        "keep_bytes": settings.keep_bytes,
    })
}

fn limited(rate: &RateLimit) -> Value {
    let period = cells::duration(rate.period.as_ref()).map(|time| time.as_secs_f64());
    json!({"count": rate.count, "period_seconds": period, "burst": rate.burst})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_a_value_though_nobody_set_it() {
        for (name, value) in effective(&QueueSettings::default()) {
            assert!(!value.is_empty(), "{name}");
        }
    }

    #[test]
    fn limits_are_told_where_they_are_set_and_when_they_are_reached() {
        let settings = QueueSettings { max_running: 8, group_max_running: 2, ..Default::default() };
        assert_eq!(limits(&settings, 7), "8 at once\n2 at once of each group");
        assert!(limits(&settings, 8).starts_with("8 at once, which they are\n"));
        assert_eq!(limits(&QueueSettings::default(), 8), "");
    }

    #[test]
    fn weights_say_what_those_have_that_are_not_named() {
        let named = [("silver", 3), ("gold", 5)].map(|(group, share)| (group.to_owned(), share));
        let settings = QueueSettings { group_weights: named.into(), ..Default::default() };
        assert_eq!(weights(&settings), "gold=5, silver=3, 1 for each other");
        assert_eq!(weights(&QueueSettings::default()), "1 for each");
    }
}
