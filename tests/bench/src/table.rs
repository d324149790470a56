//! Figures for people: a row for what was measured, a column for who did it.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};

use crate::figures::Figure;
use crate::goals::{self, Goal};
use crate::nova::SYSTEMS;

/// What stands in a peer's cells.
const LEGEND: &str =
    "In a peer's column, behind its value: how many times better nova-sqlite / nova-redis did.";

/// All figures.
pub(crate) fn table(figures: &[Figure]) -> String {
    let (mut systems, mut rows) = (Vec::new(), Vec::new());
    for figure in figures {
        note(&mut systems, figure.system.as_str());
        note(&mut rows, (figure.scenario.as_str(), figure.metric.as_str(), figure.unit));
    }
    // A scenario's rows stand together, though the systems run one after the other.
    let mut scenarios = Vec::new();
    rows.iter().for_each(|row| note(&mut scenarios, row.0));
    rows.sort_by_key(|row| scenarios.iter().position(|scenario| *scenario == row.0));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SCENARIO", "METRIC", "UNIT"].into_iter().chain(systems.iter().copied()));
    for (scenario, metric, unit) in rows {
        let of = Row { figures, scenario, metric };
        let cells = systems.iter().map(|system| of.cell(system));
        table.add_row([scenario, metric, unit].map(str::to_owned).into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n\n{LEGEND}")
}

/// What was done in each scenario: a line for all systems, or for each where they differ.
pub(crate) fn settings(figures: &[Figure]) -> String {
    let mut scenarios: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for figure in figures {
        let settings = scenarios.entry(&figure.scenario).or_default();
        note(settings.entry(&figure.settings).or_default(), &figure.system);
    }
    let mut lines = String::new();
    for (scenario, settings) in &scenarios {
        for (text, systems) in settings {
            let of = if settings.len() == 1 { String::new() } else { format!(", {}", systems.join(", ")) };
            lines.push_str(&format!("{scenario}{of}: {text}\n"));
        }
    }
    lines
}

fn note<T: PartialEq>(seen: &mut Vec<T>, value: T) {
    if !seen.contains(&value) {
        seen.push(value);
    }
}

/// What one row is about.
struct Row<'a> {
    figures: &'a [Figure],
    scenario: &'a str,
    metric: &'a str,
}

impl Row<'_> {
    fn of(&self, system: &str) -> Option<&Figure> {
        let mut all = self.figures.iter();
        all.find(|figure| {
            figure.scenario == self.scenario && figure.metric == self.metric && figure.system == system
        })
    }

    fn cell(&self, system: &str) -> String {
        let Some(figure) = self.of(system) else { return String::new() };
        format!("{}{}{}", figure.value, beside_goal(figure), self.ratios(figure))
    }

    /// How ours compare with a peer.
    fn ratios(&self, peer: &Figure) -> String {
        let ratio = |ours: &&str| goals::ratio(self.of(ours)?, peer);
        let ratios = SYSTEMS.map(|ours| ratio(&ours).map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
        if ratios.iter().all(|ratio| ratio == "–") {
            String::new()
        } else {
            format!(" ({})", ratios.join(" / "))
        }
    }
}

fn beside_goal(figure: &Figure) -> String {
    let Some(goal) = goals::goal(figure) else { return String::new() };
    let goal = match goal {
        Goal::AtLeast(goal) => format!("≥ {goal}"),
        Goal::AtMost(goal) => format!("≤ {goal}"),
    };
    let verdict = goals::missed_by(figure).map_or("met".to_owned(), |times| format!("missed by {times:.2}"));
    format!(" ({goal}: {verdict})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(system: &str, value: f64) -> Figure {
        let (scenario, metric) = ("unary-128".to_owned(), goals::LIVES.to_owned());
        let settings = "as it comes".to_owned();
        Figure { scenario, system: system.to_owned(), metric, value, unit: "1/s", settings }
    }

    #[test]
    fn goals_and_ratios_stand_beside_the_values() {
        let figures = [figure("nova-sqlite", 25_000.0), figure("bullmq", 10_000.0)];
        let text = table(&figures);
        assert!(text.contains("25000 (≥ 50000: missed by 2.00)"), "{text}");
        assert!(text.contains("10000 (2.50 / –)"), "{text}");
        assert_eq!(settings(&figures), "unary-128: as it comes\n");
    }
}
