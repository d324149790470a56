//! When a cron expression ticks: a pure function of expression, time zone and instant.
//!
//! The time zones are those that are built in ([`jiff`]'s copy of IANA's), so that every daemon of a shared store
//! knows the same ones.

use croner::parser::{CronParser, Year};
use jiff::{
    Span, Timestamp, Zoned,
    civil::{DateTime, date},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};

use crate::task::Micros;

/// Why there is no schedule in an expression and a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The expression cannot be read.
    #[error("{0:?} must be a cron expression of five or six fields, or such as @daily: {1}")]
    Expression(String, String),
    /// The zone is not known.
    #[error("{0:?} must be an IANA time zone, such as Europe/Berlin")]
    Zone(String),
    /// The expression is right and names no day that comes.
    #[error("{0:?} must fire some day, and it never does")]
    Never(String),
}

/// An expression in its time zone, read.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: Box<str>,
    zone_name: Box<str>,
    parsed: croner::Cron,
    zone: TimeZone,
    times_of_day: bool,
}

impl Cron {
    /// Reads an expression of five or six fields, or a nickname such as `@daily`; an empty zone means UTC.
    ///
    /// # Errors
    /// It cannot be read, or the zone is not known.
    pub fn parse(expression: &str, zone_name: &str) -> Result<Self, Problem> {
        let wrong = |why: String| Problem::Expression(expression.to_owned(), why);
        let spelled = spelled_out(expression);
        let fields: Vec<&str> = spelled.split_whitespace().collect();
        let hour = match fields.len() {
            5 => fields[1],
            6 => fields[2],
            count => return Err(wrong(format!("it has {count}"))),
        };
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let parsed = parser.parse(spelled).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            expression: expression.into(),
            zone_name: zone_name.into(),
            parsed,
            zone: zone(zone_name)?,
            times_of_day: !hour.contains(['*', '/', '?']),
        })
    }

    /// The expression as it came.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The zone as it came.
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// Fails when no tick ever comes. A search that finds none goes on to the end of time, which croner puts at the
    /// year 5000; so it begins 28 years before, in which every kind of year (leap or not, from each weekday) occurs.
    ///
    /// # Errors
    /// None comes.
    pub fn check(&self) -> Result<(), Problem> {
        let found = self.parsed.find_next_occurrence(&date(4971, 12, 31).at(23, 59, 59, 0), false);
        found.map(|_| ()).map_err(|_| Problem::Never(self.expression.to_string()))
    }

    /// The first tick after an instant.
    pub fn next(&self, after: Micros) -> Option<Micros> {
        let after = self.zoned(after)?;
        if self.times_of_day {
            return self.next_time_of_day(&after).map(Timestamp::as_microsecond);
        }
        let tick = self.parsed.find_next_occurrence(&after, false).ok()?;
        Some(tick.timestamp().as_microsecond())
    }

    /// The last tick up to an instant, where clocks are not put forward or back.
    pub fn latest(&self, until: Micros) -> Option<Micros> {
        let tick = self.parsed.find_previous_occurrence(&self.zoned(until)?, true).ok()?;
        Some(tick.timestamp().as_microsecond())
    }

    /// Goes through the times that the expression names, whether the zone shows them never, once or twice.
    fn next_time_of_day(&self, after: &Zoned) -> Option<Timestamp> {
        let mut civil = after.datetime();
        loop {
            civil = self.parsed.find_next_occurrence(&civil, false).ok()?;
            let tick = self.instant(civil)?;
            if tick > after.timestamp() {
                return Some(tick);
            }
        }
    }

    /// When a time of day is: the first of two, the end of the gap that swallowed it.
    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let shown = self.zone.to_ambiguous_zoned(civil);
        let gap = matches!(shown.offset(), AmbiguousOffset::Gap { .. });
        let instant = shown.compatible().ok()?.timestamp();
        if !gap {
            return Some(instant);
        }
        // Found as if the clock had not been put forward, it lies within an hour or so behind the gap's end.
        let past = instant.checked_add(Span::new().seconds(1)).ok()?;
        self.zone.preceding(past).next().map(|transition| transition.timestamp())
    }

    fn zoned(&self, at: Micros) -> Option<Zoned> {
        Some(Timestamp::from_microsecond(at).ok()?.to_zoned(self.zone.clone()))
    }
}

fn zone(name: &str) -> Result<TimeZone, Problem> {
    if name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    TimeZoneDatabase::bundled().get(name).map_err(|_| Problem::Zone(name.to_owned()))
}

/// What a nickname stands for, as in Vixie's cron.
fn spelled_out(expression: &str) -> &str {
    match expression.trim() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        fields => fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ticks after `from`, as UTC.
    #[track_caller]
    fn check(expression: &str, zone: &str, from: &str, ticks: &[&str]) {
        let cron = Cron::parse(expression, zone).unwrap();
        let from: Timestamp = from.parse().unwrap();
        let next = |at: &Micros| cron.next(*at);
        let found = std::iter::successors(cron.next(from.as_microsecond()), next).take(ticks.len());
        let text = |at: Micros| Timestamp::from_microsecond(at).unwrap().to_string();
        assert_eq!(found.map(text).collect::<Vec<_>>(), ticks);
    }

    #[test]
    fn a_time_of_day_is_that_of_its_zone() {
        let ticks = ["2026-01-05T08:00:00Z", "2026-01-06T08:00:00Z"];
        check("0 9 * * MON-FRI", "Europe/Berlin", "2026-01-02T09:00:00Z", &ticks);
        check("0 9 * * *", "", "2026-01-02T09:00:00Z", &["2026-01-03T09:00:00Z"]);
    }

    #[test]
    fn a_nickname_is_what_it_stands_for() {
        let from = "2026-01-31T22:30:00Z";
        check("@hourly", "", from, &["2026-01-31T23:00:00Z", "2026-02-01T00:00:00Z"]);
        check("@daily", "Europe/Berlin", from, &["2026-01-31T23:00:00Z", "2026-02-01T23:00:00Z"]);
        check("@weekly", "", from, &["2026-02-01T00:00:00Z", "2026-02-08T00:00:00Z"]);
        check("@monthly", "", from, &["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"]);
        check("@yearly", "", from, &["2027-01-01T00:00:00Z"]);
    }

    #[test]
    fn six_fields_begin_with_seconds() {
        check(
            "*/20 * * * * *",
            "",
            "2026-01-01T00:00:00.5Z",
            &["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z"],
        );
    }

    #[test]
    fn a_time_of_day_in_a_gap_fires_once_at_its_end() {
        let ticks = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        check("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", &ticks);
    }

    #[test]
    fn several_times_of_day_in_a_gap_fire_once_together() {
        let ticks = ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"];
        check("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &ticks);
    }

    #[test]
    fn a_time_of_day_that_comes_twice_fires_the_first_time() {
        let ticks = ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &ticks);
        check("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15:00Z", &ticks[1..]);
        let ticks = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:00:00Z"];
        check("0,30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &ticks);
    }

    #[test]
    fn what_names_no_hours_goes_with_the_clock() {
        let ticks = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"];
        check("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &ticks);
        let ticks = [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z",
        ];
        check("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", &ticks);
    }

    #[test]
    fn the_29th_of_february_comes_every_four_years() {
        let ticks = ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"];
        check("0 0 29 2 *", "", "2026-01-01T00:00:00Z", &ticks);
    }

    #[test]
    fn the_latest_tick_may_be_now() {
        let cron = Cron::parse("0 * * * *", "Europe/Berlin").unwrap();
        let hour = 3_600_000_000;
        assert_eq!(cron.latest(500_000 * hour), Some(500_000 * hour));
        assert_eq!(cron.latest(500_000 * hour - 1), Some(499_999 * hour));
    }

    #[test]
    fn what_is_no_schedule_says_why() {
        let never = Cron::parse("0 0 30 2 *", "Europe/Berlin").unwrap();
        assert!(matches!(never.check(), Err(Problem::Never(_))));
        for rare in ["0 0 29 2 *", "0 0 29 2 +SUN", "0 0 * 2 MON#5", "0 0 31W 10 *"] {
            assert_eq!(Cron::parse(rare, "").unwrap().check(), Ok(()), "{rare}");
        }
        for wrong in ["", "* * * *", "* * * * * * 2027", "61 * * * *", "@every 5m", "nonsense a b c d"] {
            assert!(matches!(Cron::parse(wrong, ""), Err(Problem::Expression(..))), "{wrong}");
        }
        assert_eq!(Cron::parse("* * * * *", "Mars/Base").unwrap_err(), Problem::Zone("Mars/Base".into()));
    }
}
