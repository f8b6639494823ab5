//! A server on the loopback interface that looks like the services `omni` calls, and misbehaves on request.
//!
//! [`Server::start`] binds 127.0.0.1, port 0. [`Rule`]s say which request gets which answer or fault, [`Server::log`] what
//! was asked. Canned answers only: nothing here hears or sees.

mod answer;
mod decode;
mod personality;
mod request;
mod rule;
mod server;
mod wire;

pub use personality::Personality;
pub use request::Request;
pub use rule::{Fault, Match, Rule, Say};
pub use server::{Limiter, Options, Seen, Server};
