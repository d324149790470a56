//! What Nova owes, and what counts as better.

use crate::figures::Figure;
use crate::nova::SYSTEMS;

/// A bound on one of Nova's own figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// The more the better.
    AtLeast(f64),
    /// The less the better.
    AtMost(f64),
}

/// Scenario, metric, and the goals over SQLite and over Redis.
const GOALS: &[(&str, &str, [Goal; 2])] = &[
    ("mesh", "ready", [Goal::AtMost(1.0), Goal::AtMost(1.0)]),
    ("mesh", "memory", [Goal::AtMost(200.0), Goal::AtMost(200.0)]),
    ("unary-128", LIVES, [Goal::AtLeast(50_000.0), Goal::AtLeast(35_000.0)]),
    ("unary-256", LIVES, [Goal::AtLeast(50_000.0), Goal::AtLeast(35_000.0)]),
    ("batched-64", LIVES, [Goal::AtLeast(200_000.0), Goal::AtLeast(120_000.0)]),
    ("half-load", "enqueue_to_start_p99", [Goal::AtMost(4.0), Goal::AtMost(4.0)]),
    ("backlog", GROWTH, [Goal::AtMost(1.3), Goal::AtMost(1.3)]),
    ("backlog", "enqueue_to_start_p99_at_1000000", [Goal::AtMost(4.0), Goal::AtMost(4.0)]),
    ("backlog", "enqueue_to_start_p99_at_10000000", [Goal::AtMost(4.0), Goal::AtMost(4.0)]),
    ("backlog", "expiry_late_at_1000000", [Goal::AtMost(500.0), Goal::AtMost(500.0)]),
    ("backlog", "expiry_late_at_10000000", [Goal::AtMost(500.0), Goal::AtMost(500.0)]),
    ("purge", "enqueue_to_start_p99_meanwhile", [Goal::AtMost(4.0), Goal::AtMost(4.0)]),
];

/// What TLS, and what traces leave of a rate: of each one in ten may go.
const SHARES: &[&str] = &[TLS_SHARE, TRACED_SHARE];
const LEAST_SHARE: Goal = Goal::AtLeast(0.9);

/// Whole task lives a second: enqueue, lease, complete.
pub(crate) const LIVES: &str = "lives_per_second";
/// Rate with TLS over that without.
pub(crate) const TLS_SHARE: &str = "with_tls_over_without";
/// Rate with every call traced over that without traces.
pub(crate) const TRACED_SHARE: &str = "share_of_untraced";
/// Cost of a task at a million standing, over that at a thousand.
pub(crate) const GROWTH: &str = "cost_1000000_over_1000";

/// The goal of a figure, if it has one: with TLS and without, the same. Systems with every call traced have none but
/// that of their share.
pub(crate) fn goal(figure: &Figure) -> Option<Goal> {
    if SHARES.contains(&figure.metric.as_str()) {
        return Some(LEAST_SHARE);
    }
    let store = store(&figure.system)?;
    let is =
        |(scenario, metric, _): &&(&str, &str, _)| *scenario == figure.scenario && *metric == figure.metric;
    GOALS.iter().find(is).map(|(_, _, goals)| goals[store])
}

/// Which of ours over its stores a system is; none of peers, and of one with every call traced.
fn store(system: &str) -> Option<usize> {
    let system = system.strip_suffix("-plaintext").unwrap_or(system);
    SYSTEMS.iter().position(|ours| *ours == system)
}

/// By how many times a figure misses its goal; none when it reaches it or has none.
pub(crate) fn missed_by(figure: &Figure) -> Option<f64> {
    let missed = match goal(figure)? {
        Goal::AtLeast(goal) => goal / figure.value,
        Goal::AtMost(goal) => figure.value / goal,
    };
    (missed > 1.0).then_some(missed)
}

/// A missed goal, as a figure.
pub(crate) fn miss(figure: &Figure) -> Option<Figure> {
    let value = (missed_by(figure)? * 100.0).round() / 100.0;
    Some(Figure { metric: format!("{}_missed_by", figure.metric), value, unit: "times", ..figure.clone() })
}

/// How many times better `our` figure is than that of a peer; none where neither is better, or one is no peer.
pub(crate) fn ratio(our: &Figure, peer: &Figure) -> Option<f64> {
    if store(&our.system).is_none() || peer.system.starts_with("nova") || peer.value <= 0.0 {
        return None;
    }
    match our.unit {
        "1/s" => Some(our.value / peer.value),
        "ms" | "µs" | "MiB" | "B" if our.value > 0.0 => Some(peer.value / our.value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(system: &str, metric: &str, value: f64, unit: &'static str) -> Figure {
        let (system, metric) = (system.to_owned(), metric.to_owned());
        Figure { scenario: "unary-128".to_owned(), system, metric, value, unit, settings: String::new() }
    }

    #[test]
    fn each_store_has_a_goal_of_its_own() {
        assert_eq!(missed_by(&figure("nova-sqlite", LIVES, 20_000.0, "1/s")), Some(2.5));
        assert_eq!(missed_by(&figure("nova-redis", LIVES, 35_000.0, "1/s")), None);
        assert_eq!(missed_by(&figure("nova-redis-plaintext", LIVES, 17_500.0, "1/s")), Some(2.0));
        assert_eq!(goal(&figure("bullmq", LIVES, 1.0, "1/s")), None);
        assert_eq!(goal(&figure("nova-sqlite-traced", LIVES, 1.0, "1/s")), None);
        assert_eq!(missed_by(&figure("nova-sqlite-traced", TRACED_SHARE, 0.45, "times")), Some(2.0));
    }

    #[test]
    fn above_one_nova_is_better() {
        let ours = |value, unit| figure("nova-redis", "any", value, unit);
        assert_eq!(ratio(&ours(30.0, "1/s"), &figure("celery", "any", 10.0, "1/s")), Some(3.0));
        assert_eq!(ratio(&ours(2.0, "ms"), &figure("celery", "any", 10.0, "ms")), Some(5.0));
        assert_eq!(ratio(&ours(2.0, "ms"), &figure("nova-sqlite", "any", 10.0, "ms")), None);
        let unencrypted = figure("nova-redis-plaintext", "any", 30.0, "1/s");
        assert_eq!(ratio(&unencrypted, &figure("celery", "any", 10.0, "1/s")), Some(3.0));
    }
}
