//! One file per metric: its definition, the code, and what it was compared with. [`diff`] shows what made an error rate.

pub mod av_offset;
pub mod binding;
pub mod brisque;
pub mod caption_leak;
pub mod diff;
pub mod dnsmos;
pub mod face;
pub mod imagebind;
pub mod mouths;
pub mod pictures;
pub mod pq;
pub mod sync;
pub mod t_sim;
pub mod tf;
pub mod wer;
