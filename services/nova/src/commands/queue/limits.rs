//! The words for limits: a number, a rate, a length of time, and one that takes the limit away.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use nova_proto::queue::v1::RateLimit;
use nova_types::wire;

use crate::commands::arguments;
use crate::failure::Misuse;

/// A limit, or that there shall be none of the queue's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limit<T>(pub(crate) Option<T>);

impl<T: Default> Limit<T> {
    /// As the contract has it: 0 is none.
    pub(crate) fn or_zero(self) -> T {
        self.0.unwrap_or_default()
    }
}

/// Reads a whole number, or the word that takes the limit away. To the contract 0 is that word; to people it is its
/// opposite.
pub(crate) fn number<T: FromStr + Default + PartialEq>(
    none: &'static str,
) -> impl Fn(&str) -> Result<Limit<T>, String> + Clone {
    move |text| {
        if text == none {
            return Ok(Limit(None));
        }
        let number = text.parse().ok().filter(|number| *number != T::default());
        number
            .map(|number| Limit(Some(number)))
            .ok_or_else(|| format!("must be a whole number above 0, or {none}"))
    }
}

/// Reads a length of time, or `default`.
pub(crate) fn time(text: &str) -> Result<Limit<Duration>, String> {
    if text == "default" { Ok(Limit(None)) } else { arguments::duration(text).map(Some).map(Limit) }
}

/// Reads a rate, or `none`.
pub(crate) fn rate(text: &str) -> Result<Limit<RateLimit>, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let rule = "must be a number and a time, such as 100/1s, or none";
    let (count, period) = text.split_once('/').ok_or(rule)?;
    let count = count.parse().map_err(|_| format!("{count:?} must be a whole number"))?;
    let period = Some(wire::to_duration(arguments::duration(period)?));
    Ok(Limit(Some(RateLimit { count, period, burst: 0 })))
}

/// A rate that was given, with the burst that was given.
pub(crate) fn with_burst(
    rate: Option<Limit<RateLimit>>,
    burst: Option<u32>,
) -> anyhow::Result<Option<Option<RateLimit>>> {
    let Some(Limit(rate)) = rate else { return Ok(None) };
    if rate.is_none() && burst.is_some() {
        return Err(Misuse::of("without a rate there is no burst".to_owned()));
    }
    Ok(Some(rate.map(|rate| RateLimit { burst: burst.unwrap_or_default(), ..rate })))
}

/// The share of a group, or that all groups have the same again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Weight {
    Default,
    Of(String, u32),
}

/// Reads `group=share`, or `default`. The name of a group may hold `=`, and be empty.
pub(crate) fn weight(text: &str) -> Result<Weight, String> {
    if text == "default" {
        return Ok(Weight::Default);
    }
    let (group, share) = text.rsplit_once('=').ok_or("must be group=share, or default")?;
    let share = share.parse().map_err(|_| format!("{share:?} must be 1 to 1000"))?;
    Ok(Weight::Of(group.to_owned(), share))
}

/// The shares that take the place of all that were set; none when nothing is said of them.
pub(crate) fn weights(given: &[Weight]) -> anyhow::Result<Option<HashMap<String, u32>>> {
    let share = |weight: &Weight| match weight {
        Weight::Default => None,
        Weight::Of(group, share) => Some((group.clone(), *share)),
    };
    let shares = arguments::labels(given.iter().filter_map(share).collect())?;
    Ok((!given.is_empty()).then_some(shares))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_takes_a_limit_away() {
        assert_eq!(number::<u32>("none")("none"), Ok(Limit(None)));
        assert_eq!(number::<u32>("none")("8"), Ok(Limit(Some(8))));
        assert!(number::<u32>("none")("0").is_err() && rate("0").is_err());
        assert!(number::<u32>("none")("-1").is_err() && number::<u64>("default")("none").is_err());
        assert_eq!((rate("none"), time("default")), (Ok(Limit(None)), Ok(Limit(None))));
    }

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        let period = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let limit = RateLimit { count: 100, period, burst: 7 };
        assert_eq!(with_burst(rate("100/1m").ok(), Some(7)).unwrap(), Some(Some(limit)));
        assert!(rate("100").is_err() && rate("100/5").is_err() && rate("/1s").is_err());
    }

    #[test]
    fn a_group_may_be_called_anything() {
        assert_eq!(weight("a=b=5"), Ok(Weight::Of("a=b".to_owned(), 5)));
        assert_eq!(weight("=2"), Ok(Weight::Of(String::new(), 2)));
        assert!(weight("gold").is_err() && weight("gold=x").is_err());
    }

    #[test]
    fn a_burst_needs_a_rate() {
        assert!(with_burst(Some(Limit(None)), Some(7)).is_err());
        assert_eq!(with_burst(None, None).unwrap(), None);
    }

    #[test]
    fn shares_are_kept_unless_something_is_said_of_them() {
        assert_eq!(weights(&[]).unwrap(), None);
        assert_eq!(weights(&[Weight::Default]).unwrap(), Some(HashMap::new()));
        assert!(weights(&[Weight::Of("a".to_owned(), 1), Weight::Of("a".to_owned(), 2)]).is_err());
    }
}
