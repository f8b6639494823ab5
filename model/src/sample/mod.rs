//! From noise to latents.

mod denoise;
mod dpm;
mod euler;
mod schedule;
mod solver;
mod unipc;

pub use denoise::{Conditions, Guidance, Plan, denoise};
pub use schedule::Schedule;
pub use solver::{Solver, SolverKind};
