//! What was measured, as a table for people or as lines for programs.

use std::io::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Whole task lives: the metric that systems are compared by.
pub(crate) const LIVES: &str = "lives_per_second";

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What was done.
    pub(crate) scenario: String,
    /// Who did it.
    pub(crate) system: String,
    /// What was measured.
    pub(crate) metric: String,
    /// The value.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it depends on.
    #[serde(skip)]
    pub(crate) settings: String,
}

/// All values of a run, and what could not be measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    all: Vec<Figure>,
    skipped: Vec<String>,
}

/// Under which names values are added.
#[derive(Clone, Debug)]
pub(crate) struct Measured<'a> {
    /// What was done.
    pub(crate) scenario: &'a str,
    /// Who did it.
    pub(crate) system: &'a str,
    /// What it depends on.
    pub(crate) settings: &'a str,
}

impl Figures {
    /// Adds a value, and tells it at once on standard error: a run takes minutes.
    pub(crate) fn add(&mut self, of: &Measured<'_>, metric: &str, value: f64, unit: &'static str) {
        let figure = Figure {
            scenario: of.scenario.to_owned(),
            system: of.system.to_owned(),
            metric: metric.to_owned(),
            value: (value * 100.0).round() / 100.0,
            unit,
            settings: of.settings.to_owned(),
        };
        progress(&format!("{} · {} · {metric}: {} {unit}", of.scenario, of.system, figure.value));
        self.all.push(figure);
    }

    /// Notes what is not measured, and why.
    pub(crate) fn skip(&mut self, system: &str, why: &str) {
        let line = format!("skipped: {system}: {why}");
        progress(&line);
        self.skipped.push(line);
    }

    /// Best rate of `system` in a scenario.
    pub(crate) fn lives(&self, scenario: &str, system: &str) -> Option<f64> {
        let of = |figure: &&Figure| {
            figure.metric == LIVES && figure.scenario == scenario && figure.system == system
        };
        self.all.iter().filter(of).map(|figure| figure.value).reduce(f64::max)
    }

    /// Adds how much faster each of `ours` is than `peer`, in each scenario that both did.
    pub(crate) fn compare(&mut self, ours: &[&str], peer: &str) {
        let theirs: Vec<Figure> = self
            .all
            .iter()
            .filter(|figure| figure.system == peer && figure.metric == LIVES)
            .cloned()
            .collect();
        for their in theirs {
            for system in ours {
                if let Some(our) = self.lives(&their.scenario, system) {
                    let settings = format!("ours: {our}, theirs: {}", their.value);
                    let of = Measured { scenario: &their.scenario, system, settings: &settings };
                    self.add(&of, &format!("ratio_to_{peer}"), our / their.value, "times");
                }
            }
        }
    }

    /// Prints all of it on standard output.
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            for figure in &self.all {
                writeln!(out, "{}", serde_json::to_string(figure)?)?;
            }
            return Ok(());
        }
        writeln!(out, "{}", self.table())?;
        for line in &self.skipped {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["SCENARIO", "SYSTEM", "METRIC", "VALUE", "UNIT", "SETTINGS"]);
        for figure in &self.all {
            let Figure { scenario, system, metric, value, unit, settings } = figure;
            table.add_row([scenario, system, metric, &value.to_string(), *unit, settings]);
        }
        if let Some(values) = table.column_mut(3) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// Says what happens, to people.
pub(crate) fn progress(line: &str) {
    // Who closed standard error does not want to know.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The value below which `share` of them lie, in milliseconds.
pub(crate) fn percentile(micros: &mut [u32], share: f64) -> f64 {
    if micros.is_empty() {
        return f64::NAN;
    }
    micros.sort_unstable();
    let at = (micros.len() as f64 * share) as usize;
    f64::from(micros[at.min(micros.len() - 1)]) / 1_000.0
}
