//! The report of a run, in Markdown: what came of it, what did not go as planned, what was found; then how it went.
//! Pure: the state of the run and the evidence that was gathered are all that it knows.

mod markdown;
mod sections;

use nova_types::Timestamp;

use super::mesh::{Denial, ProcessView};
use super::state::State;
use markdown::Document;

/// Largest report, in bytes; what comes beyond is cut.
const MAX_BYTES: usize = 900 << 10;

/// What other daemons know of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Calls that policy denied.
    pub denials: Vec<Denial>,
    /// Processes of agents.
    pub processes: Vec<ProcessView>,
}

/// The report of a run; of one that goes on, the report so far.
pub fn report(state: &State, evidence: &Evidence) -> String {
    let mut document = Document::default();
    sections::head(&mut document, state);
    sections::attention(&mut document, state);
    sections::findings(&mut document, state);
    sections::input(&mut document, state);
    sections::phases(&mut document, state);
    sections::steps(&mut document, state);
    sections::failed_attempts(&mut document, state);
    sections::denials(&mut document, state, &evidence.denials);
    sections::resources(&mut document, state, &evidence.processes);
    sections::next_steps(&mut document, state);
    document.finish(MAX_BYTES)
}

/// Time between two moments, for people.
fn elapsed(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    let (Some(from), Some(to)) = (from, to) else { return "–".to_owned() };
    let millis = to.since(from).as_millis();
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
    }
}
