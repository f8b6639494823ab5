//! Stages, sources, and the runner that turns a plan into parts on disk.
//!
//! The graph is the types: a [`Stage`] names the records it reads and the one record it makes, and [`Plan::new`]
//! finds the edges. A shard of the listing is the unit of work and of resume; a part on disk is the only state.
//! This crate knows no media, no network and no concrete stage, and it never prints: it speaks through
//! [`Progress`]. Begin with [`Stage`], then [`Plan`], then [`run()`].

mod any;
mod budget;
mod cancel;
mod error;
mod event;
mod files;
mod forget;
mod forgotten;
mod gc;
mod inputs;
mod journal;
mod lanes;
mod listing;
mod nearest;
mod options;
mod plan;
pub mod readers;
mod run;
mod schedule;
mod shard;
mod source;
mod stage;
mod summary;
mod tally;
mod wait;
mod watch;
mod worker;

pub use any::{AnyStage, Description};
pub use cancel::Cancel;
pub use error::Error;
pub use event::{Event, Progress, Silent};
pub use forget::{Forgot, forget};
pub use forgotten::Forgotten;
pub use gc::{Garbage, garbage, sweep};
pub use inputs::{Inputs, Many, Need, One, Tables};
pub use journal::CrashMarker;
pub use lanes::{StepEnd, Work};
pub use nearest::nearest;
pub use options::{RunOptions, Verify};
pub use plan::{Plan, Step};
pub use run::{StepStatus, run, status};
pub use source::{ListingSink, Source, SourceError};
pub use stage::{Cx, Fault, Pack, Stage};
pub use summary::{Outcome, ShardCounts, Summary};
pub use wait::{Wait, Waiting};
