//! A run over the clips of one method: what they answer ([`outputs`]), how they are scored ([`stages`]) on the runner of
//! `omni-pipeline`, and what is said of it all ([`header`]).
//!
//! The root of a plan is a listing, so [`outputs::Answers`] lists each clip by its key, its path and one mark over its
//! bytes, its case and the references; the stage `generation` makes the record of it, and `score` the readings. A clip that is
//! made anew, or a case that changes, therefore redoes its own shard and no other.

pub mod curated;
pub mod header;
mod mark;
pub mod outputs;
mod paradigm;
pub mod stages;

pub use header::Header;
pub use outputs::{Answers, Found, Method};
pub use paradigm::{Paradigm, base};
pub use stages::Scorer;
