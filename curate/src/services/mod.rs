//! The services of the paper's curation (section 3): exact wire formats, answers never believed unchecked.
//!
//! Each client is a request, a reply and pure functions between them; [`ask`] holds the rule for answers that cannot be
//! used, and `omni_net::service` the rest: retries, rates, the reply log, the budget.

pub mod ask;
pub mod binding;
pub mod cosyvoice;
pub mod gemini;
pub mod hearing;
mod hub;
pub mod json;
pub mod question;
pub mod qwen;
pub mod routes;
pub mod sentences;
pub mod transcript;
pub mod whisper;

pub use hub::{Endpoint, Hub, HubSettings, Line, Mode};
