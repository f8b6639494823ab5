//! What calls cost, and the sum that is never passed: a call is booked at its largest price when it is sent, corrected
//! when the answer tells its use, and not sent at all when the booking could pass the budget.

use std::fmt;
use std::str::FromStr;
use std::sync::{Condvar, Mutex, PoisonError};

use super::{ServiceError, locked};

/// Millionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(pub u64);

impl Money {
    /// From dollars, rounded up to a millionth; nothing for what is no amount.
    pub fn dollars(dollars: f64) -> Money {
        Money((dollars.max(0.0) * 1e6).ceil() as u64)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10_000 {
            0 => write!(f, "{}.{:02} usd", self.0 / 1_000_000, self.0 % 1_000_000 / 10_000),
            _ => write!(f, "{}.{:06} usd", self.0 / 1_000_000, self.0 % 1_000_000),
        }
    }
}

impl FromStr for Money {
    type Err = String;

    /// `50usd`, `0.25 usd`.
    fn from_str(text: &str) -> Result<Money, String> {
        let bad = || format!("`{text}` is no amount; write it as 50usd");
        let number = text.trim().to_lowercase();
        let number = number.strip_suffix("usd").ok_or_else(bad)?.trim();
        let dollars: f64 = number.parse().map_err(|_| bad())?;
        match dollars.is_finite() && (0.0..=1e9).contains(&dollars) {
            true => Ok(Money::dollars(dollars)),
            false => Err(bad()),
        }
    }
}

/// Prices of an endpoint, US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// For a million tokens sent.
    pub input_per_million: f64,
    /// For a million tokens made.
    pub output_per_million: f64,
    /// For an hour of sound made or heard.
    pub per_hour: f64,
}

/// What a call uses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Tokens sent.
    pub input: u64,
    /// Tokens made, thinking included.
    pub output: u64,
    /// Sound made or heard.
    pub seconds: f64,
}

impl Rates {
    /// Price of a use.
    pub fn of(&self, usage: &Usage) -> Money {
        let tokens =
            usage.input as f64 * self.input_per_million + usage.output as f64 * self.output_per_million;
        Money::dollars(tokens / 1e6 + usage.seconds / 3600.0 * self.per_hour)
    }
}

/// Reads what was used from an answer's body, when that tells.
pub type ReadUsage = fn(&[u8]) -> Option<Usage>;

/// Price of one call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Price {
    /// The endpoint's prices.
    pub rates: Rates,
    /// The most that this call can use.
    pub most: Usage,
    /// Reads the true use from an answer's body.
    pub read: Option<ReadUsage>,
}

impl Price {
    /// The most that the call may cost.
    pub fn largest(&self) -> Money {
        self.rates.of(&self.most)
    }

    /// What it did cost, when the answer tells.
    pub fn actual(&self, body: &[u8]) -> Option<Money> {
        Some(self.rates.of(&(self.read?)(body)?))
    }
}

/// A worker's part of the budget.
#[derive(Debug)]
pub struct Budget {
    limit: Option<Money>,
    part: u64,
    taken: Mutex<Taken>,
    freed: Condvar,
}

/// Millionths of a dollar.
#[derive(Debug, Default)]
struct Taken {
    /// Booked and paid.
    sum: u64,
    /// What of it is booked for calls that are out, and may come out cheaper.
    out: u64,
}

impl Budget {
    /// No bound.
    pub fn unlimited() -> Budget {
        Budget {
            limit: None,
            part: u64::MAX,
            taken: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// An equal part for each of `world` workers; `spent` is what this worker's part has paid in earlier runs.
    pub fn new(limit: Money, world: usize, spent: Money) -> Budget {
        Budget {
            limit: Some(limit),
            part: limit.0 / world.max(1) as u64,
            taken: Mutex::new(Taken { sum: spent.0, out: 0 }),
            freed: Condvar::new(),
        }
    }

    /// Books a call at its largest price, and waits for calls that are out where these may come out so much cheaper that
    /// there is room; so an end of the budget is one. Every booking must be followed by [`Budget::correct`].
    ///
    /// # Errors
    /// [`ServiceError::Budget`] when the sum could be passed.
    pub fn book(&self, service: &'static str, price: Money) -> Result<(), ServiceError> {
        let mut taken = locked(&self.taken);
        let fits = |sum: u64| sum.checked_add(price.0).filter(|sum| *sum <= self.part);
        loop {
            if let Some(sum) = fits(taken.sum) {
                (taken.sum, taken.out) = (sum, taken.out.saturating_add(price.0));
                return Ok(());
            }
            if taken.out == 0 || fits(taken.sum.saturating_sub(taken.out)).is_none() {
                return Err(ServiceError::Budget {
                    service,
                    limit: self.limit.unwrap_or_default().to_string(),
                    left: Money(self.part.saturating_sub(taken.sum)).to_string(),
                    price: price.to_string(),
                });
            }
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts what was paid in the place of a booking: the call is back.
    pub fn correct(&self, booked: Money, paid: Money) {
        let mut taken = locked(&self.taken);
        taken.sum = taken.sum.saturating_sub(booked.0).saturating_add(paid.0);
        taken.out = taken.out.saturating_sub(booked.0);
        drop(taken);
        self.freed.notify_all();
    }

    /// Booked and paid so far, earlier runs included.
    pub fn taken(&self) -> Money {
        Money(locked(&self.taken).sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown() {
        assert_eq!("50usd".parse(), Ok(Money(50_000_000)));
        assert_eq!(" 0.25 USD".parse(), Ok(Money(250_000)));
        for bad in ["50", "usd", "-1usd", "nanusd", "50eur", "1e300usd"] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
        assert_eq!(Money(50_000_000).to_string(), "50.00 usd");
        assert_eq!(Money(1_234).to_string(), "0.001234 usd");
    }

    #[test]
    fn a_price_is_rounded_up() {
        let rates = Rates {
            input_per_million: 1.25,
            output_per_million: 10.0,
            per_hour: 36.0,
        };
        let usage = Usage {
            input: 1_000_000,
            output: 100_000,
            seconds: 0.0001,
        };
        assert_eq!(rates.of(&usage), Money(2_250_001));
    }

    #[test]
    fn the_sum_is_never_passed_and_a_correction_makes_room() {
        let budget = Budget::new(Money(100), 2, Money(10));
        budget.book("qwen", Money(40)).unwrap();
        let error = budget.book("qwen", Money(41)).unwrap_err();
        assert!(
            error.is_pending() && error.to_string().contains("--budget"),
            "{error}"
        );
        budget.correct(Money(40), Money(5));
        budget.book("qwen", Money(35)).unwrap();
        assert_eq!(budget.taken(), Money(50));
        budget.correct(Money(35), Money(35));
        assert!(budget.book("qwen", Money(1)).is_err());
        Budget::unlimited().book("qwen", Money(1 << 60)).unwrap();
    }

    #[test]
    fn a_call_waits_for_those_that_are_out_and_may_leave_room() {
        let budget = Budget::new(Money(100), 1, Money(0));
        budget.book("qwen", Money(80)).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| budget.book("qwen", Money(80)));
            std::thread::sleep(std::time::Duration::from_millis(20));
            budget.correct(Money(80), Money(5));
            second.join().unwrap().unwrap();
        });
        assert_eq!(budget.taken(), Money(85));
        budget.correct(Money(80), Money(80));
        assert!(budget.book("qwen", Money(80)).is_err(), "nobody is out");
    }
}
