//! All tests of this package that go through its public surface, in one program: one link instead of many.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and says what it passed over"
)]

mod bench;
mod bench_cases;
mod bench_cases_people;
mod bench_made;
mod bench_odd;
mod bench_page;
mod bench_report;
mod bench_run;
mod bench_whole;
mod bind_service;
mod browser;
mod common;
mod damage;
mod encoded;
mod export;
mod forget;
mod forget_answers;
mod generated;
mod generated_again;
mod index_kills;
mod kills;
mod kit;
mod layers;
mod made;
mod model;
mod pending;
mod ranks;
mod real_clips;
mod report;
mod review;
mod sample;
mod score;
mod score_clips;
mod service_kills;
mod services;
mod sources;
mod train;
mod train_corpus;
mod train_faults;
mod train_samples;
mod usage;
mod verify;
