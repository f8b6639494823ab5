//! Asking a run to end soon.

use crate::stage::Pulse;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A flag shared by everything that may end a run early. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    raised: Arc<AtomicBool>,
    above: Option<Arc<Cancel>>,
    /// The clip whose stage asks, if a stage does.
    pulse: Option<Arc<Pulse>>,
}

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag of its own that counts as raised as soon as this one is: the end of a part of the work.
    pub(crate) fn below(&self) -> Self {
        Cancel {
            above: Some(Arc::new(self.clone())),
            ..Cancel::default()
        }
    }

    /// The same flag in the hands of a stage: asking is a sign of life of the clip.
    pub(crate) fn heard_by(&self, pulse: Arc<Pulse>) -> Self {
        Cancel {
            pulse: Some(pulse),
            ..self.clone()
        }
    }

    /// Raises the flag, for good. It only stores to an atomic, so a signal handler may call it.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }

    /// Whether the flag is raised. Stages with long loops ask now and then and return early; what they return is
    /// thrown away. A stage that asks is alive, as with [`Cx::alive`](crate::Cx::alive).
    pub fn is_cancelled(&self) -> bool {
        if let Some(pulse) = &self.pulse {
            pulse.alive();
        }
        self.raised.load(Ordering::SeqCst) || self.above.as_ref().is_some_and(|above| above.is_cancelled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_below_hears_the_one_above_and_not_the_other_way() {
        let (above, other) = (Cancel::new(), Cancel::new());
        let (below, last) = (above.below(), other.below());
        last.cancel();
        assert!(last.is_cancelled() && !other.is_cancelled());
        above.cancel();
        assert!(below.is_cancelled());
    }
}
