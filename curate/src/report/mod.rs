//! The gallery (`omni report`): a page in `OUT/report` that shows every clip of a run, what was found in it, or why it
//! was dropped.
//!
//! The page is static: `index.html` with its style and script, and data in small script files, so that it opens from
//! a disk without a server. A shard's files carry a hash of all they were made from in their names; what is there
//! under its name is not made again. [`make`] writes the page, [`serve`](serve::Server) shows it over HTTP.

mod build;
pub(crate) mod card;
pub(crate) mod media;
mod names;
pub(crate) mod place;
pub mod serve;

pub use build::{Made, Options, make};
pub use names::{files_of, orphans};
