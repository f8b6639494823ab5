//! What is said while a clip is made: a bar with the time left on a terminal, plain lines elsewhere.

use crate::{output, signals};
use indicatif::{ProgressBar, ProgressStyle};
use omni_model::generate::Event;
use omni_pipeline::Cancel;
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

/// Plain lines appear at most this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The listener of one clip.
pub struct Watching<'a> {
    stem: String,
    cancel: &'a Cancel,
    bar: Option<ProgressBar>,
    phase: &'static str,
    began: Instant,
    said: Instant,
    notes: Vec<String>,
}

impl<'a> Watching<'a> {
    pub fn new(stem: &str, cancel: &'a Cancel) -> Self {
        let style = "{msg} [{bar:30}] {pos}/{len}, {eta} left";
        let bar = signals::stderr_is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            // a template that does not parse would be a slip of ours; the plain style is no worse
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        });
        Self {
            stem: stem.to_owned(),
            cancel,
            bar,
            phase: "",
            began: Instant::now(),
            said: Instant::now(),
            notes: Vec::new(),
        }
    }

    pub fn event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Phase(name) => {
                self.phase = name;
                self.began = Instant::now();
                self.say(&format!("{}: {name}", self.stem));
            }
            Event::Step(done, of) => self.step(done, of),
            Event::Note(note) => {
                self.say(&format!("{}: {note}", self.stem));
                self.notes.push(note);
            }
        }
        match self.cancel.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn step(&mut self, done: usize, of: usize) {
        if let Some(bar) = &self.bar {
            if done <= 1 {
                bar.reset_eta();
            }
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            bar.set_message(format!("{}: {}", self.stem, self.phase));
        } else if done > 0 && self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let left = self.began.elapsed().as_secs_f64() * (of - done) as f64 / done as f64;
            output::note(&format!(
                "{}: {} {done} of {of}, {left:.0} s left",
                self.stem, self.phase
            ));
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// What was said of the request.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}
