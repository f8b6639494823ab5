//! Rows and receipts in Parquet parts, artifacts in tars, and scans over the tables of others.
//!
//! A part is one file that exists only when it is done; any altered bit in it is found. Rows are the records of
//! `omni-schemas`; no type of the table library shows. This crate knows nothing of stages, sources or media.

mod bounds;
mod error;
mod fingerprint;
mod footer;
mod from_rows;
mod listing;
mod node;
mod pack;
mod part;
mod receipt;
mod rewrite;
mod scan;
mod table;
mod temporary;
mod thrift;
mod to_rows;

pub use error::{Error, hush_readers};
pub use fingerprint::fingerprint;
pub use listing::{ListingReader, ListingWriter};
pub use pack::{PackWriter, read_blob};
pub use part::{for_each_row, for_each_row_where, read_part, read_receipt, verify_part, write_part};
pub use receipt::{Receipt, TarSeal};
pub use rewrite::{Removed, rewrite_part};
pub use scan::{Comparison, ObjectFault, ObjectMember, ObjectStream, RowReader, TableRow, TableScan};
pub use temporary::{orphans, sweep_temporaries, write_file};
