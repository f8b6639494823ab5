//! Judging bindings by eye and ear (`omni review`): a random sample of the pairs of face and voice that a run claims, as
//! cards that a person calls right, wrong or unsure, and the precision that follows, with its interval.
//!
//! A card does not say which binder made the claim nor how sure it was, so that neither is judged in its place. Verdicts
//! are for one state of the binding's step (its fingerprint): those on claims of another are counted apart.

mod cards;
mod precision;
mod sample;
pub mod serve;
mod verdicts;

pub use precision::{Precision, Summary, summary, wilson};
pub use sample::{Claim, Claims, sample};
pub use verdicts::{Said, Verdict, Verdicts, forget};
