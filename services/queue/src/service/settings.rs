//! Settings of queues, to and from the wire.

use std::{collections::BTreeMap, time::Duration};

use nova_proto::queue::v1 as pb;
use nova_types::{Violation, Violations, wire as check};

use crate::{
    record::{QueueSettings, RateLimit},
    service::parse,
};

/// Fields that a mask may name.
const FIELDS: [&str; 9] = [
    "max_running",
    "rate",
    "group_max_running",
    "group_rate",
    "group_weights",
    "strict_priority",
    "max_tasks",
    "keep_for",
    "keep_bytes",
];

/// Most that a rate may count, and burst.
const MOST_TOKENS: u32 = 1_000_000;

/// Most groups that have a weight, and the greatest.
const MOST_WEIGHTS: usize = 1_000;
const GREATEST_WEIGHT: u32 = 1_000;

/// Spans that a rate may be for.
const PERIODS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// How long ended tasks may be kept.
const KEEP: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);

/// What an update does to the settings, once all of it is known to be right.
pub(super) fn change(
    settings: Option<pb::QueueSettings>,
    mask: Option<prost_types::FieldMask>,
    longest_kept: Duration,
) -> Result<impl FnOnce(&mut QueueSettings) + Send + 'static, Violations> {
    let mut violations = Violations::new();
    let Some(wire) = settings else {
        return Err(Violation::new("settings", "must be set").into());
    };
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    for (index, path) in paths.iter().enumerate() {
        let field = format!("update_mask.paths[{index}]");
        let rule = format!("{path:?} must be one of {}", FIELDS.join(", "));
        violations.require(FIELDS.contains(&path.as_str()), &field, &rule);
    }
    let new = parse(wire, &mut violations);
    if new.keep_for.is_some_and(|keep| keep > longest_kept) {
        let longest = longest_kept.as_secs();
        let rule =
            format!("must be at most {longest} s, for which the daemon keeps ended tasks at the longest");
        violations.push(Violation::new("settings.keep_for", rule));
    }
    violations.finish()?;
    let plain = QueueSettings::default();
    Ok(move |settings: &mut QueueSettings| {
        let named = |field: &str, set: bool| {
            if paths.is_empty() { set } else { paths.iter().any(|path| path == field) }
        };
        macro_rules! put {
            ($($field:ident),*) => {$(
                if named(stringify!($field), new.$field != plain.$field) {
                    settings.$field = new.$field;
                }
            )*};
        }
        put!(max_running, rate, group_max_running, group_rate, group_weights, strict_priority);
        put!(max_tasks, keep_for, keep_bytes);
    })
}

fn parse(wire: pb::QueueSettings, violations: &mut Violations) -> QueueSettings {
    let limit = |limit: u32| (limit > 0).then_some(limit);
    let keep_for = check::duration("settings.keep_for", wire.keep_for.as_ref(), KEEP, Duration::ZERO);
    QueueSettings {
        max_running: limit(wire.max_running),
        rate: rate("settings.rate", wire.rate.as_ref(), violations),
        group_max_running: limit(wire.group_max_running),
        group_rate: rate("settings.group_rate", wire.group_rate.as_ref(), violations),
        group_weights: weights(wire.group_weights, violations),
        strict_priority: wire.strict_priority,
        max_tasks: (wire.max_tasks > 0).then_some(wire.max_tasks),
        keep_for: violations.take(keep_for).filter(|keep| !keep.is_zero()),
        keep_bytes: (wire.keep_bytes > 0).then_some(wire.keep_bytes),
        ..QueueSettings::default()
    }
}

fn rate(field: &str, wire: Option<&pb::RateLimit>, violations: &mut Violations) -> Option<RateLimit> {
    let wire = wire?;
    let rule = format!("{} must be 1 to {MOST_TOKENS}", wire.count);
    violations.require((1..=MOST_TOKENS).contains(&wire.count), &format!("{field}.count"), &rule);
    let rule = format!("{} must be at most {MOST_TOKENS}", wire.burst);
    violations.require(wire.burst <= MOST_TOKENS, &format!("{field}.burst"), &rule);
    let name = format!("{field}.period");
    if wire.period.is_none() {
        violations.push(Violation::new(name, "must be set"));
        return None;
    }
    let period = violations.take(check::duration(&name, wire.period.as_ref(), PERIODS, Duration::ZERO))?;
    Some(RateLimit { count: wire.count, period, burst: wire.burst })
}

fn weights(
    wire: std::collections::HashMap<String, u32>,
    violations: &mut Violations,
) -> BTreeMap<Box<str>, u32> {
    let rule = format!("{} entries must be at most {MOST_WEIGHTS}", wire.len());
    violations.require(wire.len() <= MOST_WEIGHTS, "settings.group_weights", &rule);
    let weights: BTreeMap<Box<str>, u32> =
        wire.into_iter().map(|(group, weight)| (group.into_boxed_str(), weight)).collect();
    for (group, weight) in &weights {
        let field = format!("settings.group_weights[{group:?}]");
        let rule = format!("{weight} must be 1 to {GREATEST_WEIGHT}");
        violations.take(parse::group(&field, group));
        violations.require((1..=GREATEST_WEIGHT).contains(weight), &field, &rule);
    }
    weights
}

/// Settings as they are shown.
pub(super) fn shown(settings: QueueSettings) -> pb::QueueSettings {
    let rate = |limit: RateLimit| pb::RateLimit {
        count: limit.count,
        period: Some(check::to_duration(limit.period)),
        burst: limit.burst,
    };
    let weights = settings.group_weights.into_iter();
    pb::QueueSettings {
        max_running: settings.max_running.unwrap_or(0),
        rate: settings.rate.map(rate),
        group_max_running: settings.group_max_running.unwrap_or(0),
        group_rate: settings.group_rate.map(rate),
        group_weights: weights.map(|(group, weight)| (group.into_string(), weight)).collect(),
        strict_priority: settings.strict_priority,
        max_tasks: settings.max_tasks.unwrap_or(0),
        keep_for: settings.keep_for.map(check::to_duration),
        keep_bytes: settings.keep_bytes.unwrap_or(0),
    }
}
