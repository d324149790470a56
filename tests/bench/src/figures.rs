//! What was measured: every figure of a run, with its settings, its goal and its ratio to each peer.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde::Serialize;

use crate::{goals, table};

pub(crate) const MEBIBYTE: f64 = 1_048_576.0;

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
    /// What it depends on, beside the settings of its system.
    #[serde(skip)]
    pub(crate) settings: String,
}

/// All values of a run, and what could not be measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    all: Vec<Figure>,
    skipped: Vec<String>,
    remarks: Vec<String>,
    /// What all figures of a system depend on.
    systems: BTreeMap<String, String>,
}

/// Under which names values are added.
#[derive(Clone, Copy, Debug)]
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
        if !value.is_finite() {
            return self.skip(of.system, &format!("{} {metric} came to no number", of.scenario));
        }
        let figure = Figure {
            scenario: of.scenario.to_owned(),
            system: of.system.to_owned(),
            metric: metric.to_owned(),
            value: rounded(value),
            unit,
            settings: of.settings.to_owned(),
        };
        progress(&format!("{} · {} · {metric}: {} {unit}", of.scenario, of.system, figure.value));
        self.all.push(figure);
    }

    /// Notes what is not measured, and why.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        let line = format!("skipped: {what}: {why}");
        progress(&line);
        self.skipped.push(line);
    }

    /// Tells what all figures of a system depend on.
    pub(crate) fn describe(&mut self, system: &str, settings: &str) {
        self.systems.insert(system.to_owned(), settings.to_owned());
    }

    /// Text for people, to be printed below the figures.
    pub(crate) fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// A value of this run.
    pub(crate) fn value(&self, scenario: &str, system: &str, metric: &str) -> Option<f64> {
        let is = |figure: &&Figure| {
            figure.metric == metric && figure.scenario == scenario && figure.system == system
        };
        self.all.iter().find(is).map(|figure| figure.value)
    }

    /// Everything as lines of JSON, then by how much each goal is missed and how each peer compares.
    fn lines(&self) -> anyhow::Result<String> {
        let derived =
            self.all.iter().flat_map(|figure| goals::miss(figure).into_iter().chain(self.ratios(figure)));
        let all = self.all.iter().cloned().chain(derived);
        Ok(all
            .map(|figure| serde_json::to_string(&figure).map(|line| line + "\n"))
            .collect::<Result<_, _>>()?)
    }

    /// How many times better one of ours is than each peer that did the same.
    fn ratios(&self, our: &Figure) -> Vec<Figure> {
        let same = |other: &&Figure| other.scenario == our.scenario && other.metric == our.metric;
        let ratio = |other: &Figure| {
            let value = rounded(goals::ratio(our, other)?);
            Some(Figure {
                metric: format!("{}_ratio_to_{}", our.metric, other.system),
                value,
                unit: "times",
                ..our.clone()
            })
        };
        self.all.iter().filter(same).filter_map(ratio).collect()
    }

    /// Prints all of it on standard output. As JSON, what stands beside the figures goes to standard error.
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        let systems = self.systems.iter().map(|(system, settings)| format!("{system}: {settings}\n"));
        let lines = self.remarks.iter().chain(&self.skipped).map(|line| format!("{line}\n"));
        let remarks = table::settings(&self.all) + &systems.chain(lines).collect::<String>();
        let mut out = std::io::stdout().lock();
        if json {
            progress(&remarks);
            write!(out, "{}", self.lines()?)?;
        } else {
            writeln!(out, "{}\n{remarks}", table::table(&self.all))?;
        }
        Ok(out.flush()?)
    }
}

/// Four digits that count, and all that stand before the point.
fn rounded(value: f64) -> f64 {
    let digits = (3 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 6);
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// Says what happens, to people.
pub(crate) fn progress(line: &str) {
    // Who closed standard error does not want to know.
    drop(writeln!(std::io::stderr(), "{line}"));
}
