//! A token bucket as one number: the time at which it will be full again. Each task that starts moves that time on
//! by the interval between two tokens.

use crate::{record::RateLimit, task::Micros};

/// Nanoseconds since the epoch, for rates of up to one token each.
type Nanos = i128;

/// Holds tasks back that would start too soon; open until a limit says otherwise.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: Nanos,
    shut: bool,
    alarm: Option<Micros>,
    /// True when the ledger knows of it.
    pub(super) noted: bool,
}

impl Bucket {
    /// As the ledger knew it.
    pub(super) fn restored(full_at: Nanos) -> Self {
        Self { full_at, noted: true, ..Self::default() }
    }

    /// What the ledger must know of it.
    pub(super) fn full_at(&self) -> Nanos {
        self.full_at
    }

    /// True when no token is left.
    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    /// True when it never gave a token, or was seen full since.
    pub(super) fn is_full(&self) -> bool {
        self.full_at == 0
    }

    /// Gives a token away.
    pub(super) fn take(&mut self, limit: &RateLimit, now: Micros) {
        self.full_at = self.full_at.max(nanos(now)) + interval(limit);
    }

    /// Looks whether there is a token; answers when to be woken, unless that is known.
    /// A limit that changed, or a clock that went back, leave it empty at most.
    pub(super) fn look(&mut self, limit: Option<&RateLimit>, now: Micros) -> Option<Micros> {
        let now = nanos(now);
        let Some(limit) = limit else {
            (self.full_at, self.shut) = (0, false);
            return None;
        };
        let capacity = interval(limit) * i128::from(limit.burst());
        self.full_at = self.full_at.min(now + capacity);
        let open_at = self.full_at + interval(limit) - capacity;
        self.shut = open_at > now;
        if self.full_at <= now {
            self.full_at = 0;
        }
        if self.shut { self.wake(open_at) } else { None }
    }

    /// When to be woken because it is full, unless that is known.
    pub(super) fn wake_full(&mut self) -> Option<Micros> {
        self.wake(self.full_at)
    }

    fn wake(&mut self, at: Nanos) -> Option<Micros> {
        let at = Micros::try_from((at + 999).div_euclid(1_000)).unwrap_or(Micros::MAX);
        if self.alarm.is_some_and(|alarm| alarm <= at) {
            return None;
        }
        self.alarm = Some(at);
        Some(at)
    }

    /// True when it asked to be woken at `at`, which is over now.
    pub(super) fn woken(&mut self, at: Micros) -> bool {
        let asked = self.alarm == Some(at);
        if asked {
            self.alarm = None;
        }
        asked
    }
}

fn nanos(at: Micros) -> Nanos {
    i128::from(at) * 1_000
}

/// Between two tokens; rounded up, so that a rate is never exceeded.
fn interval(limit: &RateLimit) -> Nanos {
    let period = i128::try_from(limit.period.as_nanos()).unwrap_or(i128::MAX);
    let count = i128::from(limit.count.max(1));
    (period + count - 1) / count
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn limit(count: u32, millis: u64, burst: u32) -> RateLimit {
        RateLimit { count, period: Duration::from_millis(millis), burst }
    }

    /// Takes as many tokens as there are.
    fn drain(bucket: &mut Bucket, limit: &RateLimit, now: Micros) -> u32 {
        let mut taken = 0;
        loop {
            bucket.look(Some(limit), now);
            if bucket.is_shut() {
                return taken;
            }
            bucket.take(limit, now);
            taken += 1;
        }
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_its_rate() {
        let (mut bucket, limit) = (Bucket::default(), limit(10, 1_000, 25));
        assert_eq!(drain(&mut bucket, &limit, 5_000_000), 25);
        assert_eq!(drain(&mut bucket, &limit, 5_099_999), 0);
        assert_eq!(drain(&mut bucket, &limit, 5_100_000), 1);
        assert_eq!(drain(&mut bucket, &limit, 6_100_000), 10);
        assert_eq!(drain(&mut bucket, &limit, 60_000_000), 25);
    }

    #[test]
    fn a_bucket_asks_to_be_woken_once_and_is_open_then() {
        let (mut bucket, limit) = (Bucket::default(), limit(1, 1_000, 1));
        bucket.take(&limit, 7);
        let at = bucket.look(Some(&limit), 7).unwrap();
        assert_eq!(bucket.look(Some(&limit), 8), None, "it has asked");
        assert!(bucket.woken(at) && !bucket.woken(at));
        assert_eq!(bucket.look(Some(&limit), at), None);
        assert!(!bucket.is_shut());
    }

    #[test]
    fn a_clock_that_goes_back_leaves_it_empty_at_most() {
        let (mut bucket, limit) = (Bucket::default(), limit(1, 1_000, 2));
        drain(&mut bucket, &limit, 3_600_000_000);
        assert_eq!(drain(&mut bucket, &limit, 1_000_000), 0);
        assert_eq!(drain(&mut bucket, &limit, 2_000_000), 1);
    }

    #[test]
    fn another_limit_holds_at_once() {
        let (mut bucket, slow, fast) = (Bucket::default(), limit(1, 86_400_000, 1), limit(10, 1_000, 10));
        drain(&mut bucket, &slow, 1_000_000);
        assert_eq!(drain(&mut bucket, &fast, 1_000_000), 0);
        assert_eq!(drain(&mut bucket, &fast, 1_100_000), 1);
        bucket.look(None, 1_100_000);
        assert!(!bucket.is_shut() && bucket.is_full());
    }

    proptest! {
        #[test]
        fn no_span_of_time_gives_more_than_its_burst_and_its_rate(
            count in 1u32..50, millis in 1u64..100_000, burst in 0u32..50,
            pauses in proptest::collection::vec(0i64..3_000_000, 1..60),
        ) {
            let limit = limit(count, millis, burst);
            let (mut bucket, mut now) = (Bucket::default(), 1_700_000_000_000_000);
            let mut given = Vec::new();
            for pause in pauses {
                now += pause;
                given.push((now, drain(&mut bucket, &limit, now)));
            }
            for from in 0..given.len() {
                let mut sum = 0;
                for (at, taken) in &given[from..] {
                    sum += u64::from(*taken);
                    let span = u128::try_from(at - given[from].0).unwrap();
                    let refilled = span * u128::from(count) / (u128::from(millis) * 1_000);
                    prop_assert!(u128::from(sum) <= refilled + u128::from(limit.burst()));
                }
            }
        }

        #[test]
        fn waits_of_an_empty_bucket_are_bounded_by_its_interval(
            count in 1u32..1_000_000, millis in 1u64..86_400_000, burst in 0u32..100,
        ) {
            let (mut bucket, limit, now) = (Bucket::default(), limit(count, millis, burst), 1_000_000);
            drain(&mut bucket, &limit, now);
            let wait = bucket.alarm.unwrap() - now;
            prop_assert!(u128::try_from(wait).unwrap() * u128::from(count) <= u128::from(millis) * 1_000 + 2 * u128::from(count));
        }
    }
}
