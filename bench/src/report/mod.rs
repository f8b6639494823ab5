//! What runs of methods come to: the paper's tables with intervals and counts, as text and as a page.
//!
//! [`MethodRun`] reads one run, [`Sheet`] is a table of several, and the forms of a sheet are in [`text`] and [`page`].
//! A column holds readings made in one way only: one metric version, one set of settings, one set of networks.

mod ablation;
mod alike;
mod columns;
pub mod page;
mod published;
mod run;
mod sheet;
pub mod text;

pub use ablation::{Ablation, AblationRow};
pub(crate) use alike::{difference, differing};
pub use columns::Base;
pub(crate) use columns::rank;
pub use run::{CaseOf, CaseValue, Clip, MethodRun, ReadError, Readings};
pub use sheet::{Column, Group, Mark, Row, Sheet, SheetCell, SheetError};
