//! The data pipeline: from a raw corpus of talking-people clips to training manifests (paper, section 3).
//!
//! Begin with [`recipe`], then [`plan`], then any file of [`stages`] or [`sources`]: each is one step, and the list
//! beside it is the only registration there is. Nothing here prints, and nothing here is imported by `bench` or `model`:
//! they meet in the records of `omni-schemas`.

pub mod agreement;
pub mod audit;
mod clip_media;
pub mod evidence;
pub mod export;
pub mod finished;
pub mod forget;
pub mod given;
mod http;
pub mod ingest;
pub mod kit;
pub mod masks;
pub mod plan;
pub mod pool;
pub mod prompt;
pub mod recipe;
pub mod report;
pub mod review;
pub mod select;
pub mod services;
pub mod sources;
pub mod stages;
mod vector;

use omni_schemas::clean;
