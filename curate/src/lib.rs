//! curate

pub mod pool;
pub mod select;
pub mod sources;
mod vector;
