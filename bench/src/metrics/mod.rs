//! One file per metric: its definition, the code, and what it was compared with.

pub mod tf;
