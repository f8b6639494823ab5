//! A token bucket: so many a minute, a burst of at most a sixth of that.

use std::time::{Duration, SystemTime};

/// Level of one bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    level: f64,
    at: Option<SystemTime>,
}

impl Bucket {
    pub(crate) fn per_minute(rate: f64) -> Bucket {
        let burst = (rate / 6.0).max(1.0);
        Bucket {
            per_second: rate / 60.0,
            burst,
            level: burst,
            at: None,
        }
    }

    /// How long to wait until `amount` may be taken; a larger amount than the burst waits for a full bucket.
    pub(crate) fn wait(&mut self, amount: f64, now: SystemTime) -> Duration {
        let passed = self
            .at
            .map_or(0.0, |at| now.duration_since(at).unwrap_or_default().as_secs_f64());
        self.level = (self.level + passed * self.per_second).min(self.burst);
        self.at = Some(now);
        let lacking = amount.min(self.burst) - self.level;
        match lacking > 1e-9 {
            true => Duration::from_secs_f64(lacking / self.per_second) + Duration::from_millis(1),
            false => Duration::ZERO,
        }
    }

    /// Takes an amount; a larger one than the burst leaves a debt, so the rate holds on average.
    pub(crate) fn take(&mut self, amount: f64) {
        self.level -= amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_a_minute_and_large_amounts_leave_a_debt() {
        let mut now = SystemTime::UNIX_EPOCH;
        for (amount, rate, at_most) in [(1.0, 60.0, 70), (500.0, 600.0, 3)] {
            let mut bucket = Bucket::per_minute(rate);
            let end = now + Duration::from_secs(60);
            let mut taken = 0;
            while now < end {
                match bucket.wait(amount, now) {
                    Duration::ZERO => {
                        bucket.take(amount);
                        taken += 1;
                    }
                    wait => now += wait,
                }
            }
            assert!(
                taken <= at_most && taken + 12 >= at_most,
                "{taken} of {amount} at {rate}"
            );
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_takes_nothing() {
        let mut bucket = Bucket::per_minute(6.0);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(bucket.wait(1.0, now), Duration::ZERO);
        bucket.take(1.0);
        let back = bucket.wait(1.0, SystemTime::UNIX_EPOCH);
        assert!((9..=11).contains(&back.as_secs()), "{back:?}");
    }
}
