//! When to try again: exponential back-off with full jitter, plus the server's own delay.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Error;

/// Time and chance, so that tests control both.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> SystemTime;
    /// Waits.
    fn sleep(&self, duration: Duration);
    /// A number in 0..1.
    fn uniform(&self) -> f64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn uniform(&self) -> f64 {
        // The standard library's hash keys are random per call: enough to spread clients apart.
        let bits = RandomState::new().build_hasher().finish() >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

/// The retry policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub tries: u32,
    /// Upper end of the first delay.
    pub base: Duration,
    /// Upper end of any delay.
    pub cap: Duration,
    /// A server that asks for a longer delay than this ends the request.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            tries: 6,
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            longest_wait: Duration::from_secs(600),
        }
    }
}

impl Retry {
    /// Delay after the `failed`-th failure (from 1), or `None` when it is time to give up.
    pub fn delay(&self, failed: u32, error: &Error, clock: &dyn Clock) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        self.wait(failed, error.retry_after().unwrap_or_default(), clock)
    }

    /// Delay after the `failed`-th failure (from 1) of something worth another try; `asked` is the server's own delay.
    pub fn wait(&self, failed: u32, asked: Duration, clock: &dyn Clock) -> Option<Duration> {
        if failed >= self.tries || asked > self.longest_wait {
            return None;
        }
        let doubled = self
            .base
            .saturating_mul(2u32.saturating_pow(failed.saturating_sub(1)));
        Some(doubled.min(self.cap).mul_f64(clock.uniform()) + asked)
    }
}

/// Reads `Retry-After`: seconds, or a date as HTTP writes them (`Sun, 06 Nov 1994 08:49:37 GMT`).
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(http_date(value)?))?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of an IMF-fixdate (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<u64> {
    let rest = text.split_once(", ")?.1.strip_suffix(" GMT")?;
    let mut parts = rest.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let year: u64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = names.iter().position(|name| *name == month)? as u64 + 1;
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from 1970 in a calendar that starts its years in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)? * 24 + hour) * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Fixed(f64);
    impl Clock for Fixed {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH
        }
        fn sleep(&self, _: Duration) {}
        fn uniform(&self) -> f64 {
            self.0
        }
    }

    fn busy(retry_after: Option<Duration>) -> Error {
        Error::Status {
            url: String::new(),
            status: 503,
            message: String::new(),
            retry_after,
        }
    }

    #[test]
    fn delays_double_up_to_the_cap_and_end() {
        let retry = Retry::default();
        let delays: Vec<_> = (1..=6)
            .map(|n| retry.delay(n, &busy(None), &Fixed(0.5)))
            .collect();
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(delays, [ms(500), ms(1000), ms(2000), ms(4000), ms(8000), None]);
        let many = Retry { tries: 100, ..retry };
        assert_eq!(many.delay(90, &busy(None), &Fixed(0.5)), ms(30_000));
    }

    #[test]
    fn the_servers_delay_is_added_or_too_long() {
        let retry = Retry::default();
        let asked = |seconds| busy(Some(Duration::from_secs(seconds)));
        assert_eq!(
            retry.delay(1, &asked(7), &Fixed(0.5)),
            Some(Duration::from_millis(7500))
        );
        assert_eq!(retry.delay(1, &asked(601), &Fixed(0.5)), None);
    }

    #[test]
    fn a_missing_file_is_not_asked_for_again() {
        let missing = Error::NotFound {
            url: String::new(),
            status: 404,
        };
        assert_eq!(Retry::default().delay(1, &missing, &Fixed(0.5)), None);
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after("12", now), Some(Duration::from_secs(12)));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            retry_after("Sat, 05 Nov 1994 08:49:37 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(retry_after("soon", now), None);
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_harm(text in "\\PC{0,60}") {
            let _ = retry_after(&text, UNIX_EPOCH);
        }

        #[test]
        fn chance_stays_below_one(_ in 0..50u8) {
            let value = SystemClock.uniform();
            prop_assert!((0.0..1.0).contains(&value));
        }
    }
}
