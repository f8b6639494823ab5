//! Everything that goes over the network: one blocking client over one private async run time.
//!
//! * [`Client::download`] brings a file: streamed, resumed, hashed on the way, renamed only when right.
//! * [`Retry`] and [`Clock`] hold the one retry policy; tests hand in a clock of their own.
//!
//! * [`service`] calls paid services: recorded, bounded, replayed.
//!
//! The crate knows nothing of networks, corpora or what an answer means; it reads no environment variables of
//! its own (the proxy variables are honoured when [`Settings::system_proxy`] says so).

mod client;
mod download;
mod error;
mod part;
mod retry;
pub mod service;
mod settings;

pub use client::Client;
pub use download::{Download, Downloaded, Progress};
pub use error::Error;
pub use retry::{Clock, Retry, SystemClock};
pub use settings::{Settings, Token};
