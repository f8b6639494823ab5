//! What a run says while it goes: bars on a terminal, plain lines elsewhere.

use crate::{exit::Code, output, signals};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use omni_pipeline::{Event, Progress, Wait};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Plain lines appear at most this often per stage.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The listener of a run.
pub struct Console {
    state: Mutex<State>,
    bars: Option<MultiProgress>,
}

#[derive(Default)]
struct State {
    stages: BTreeMap<&'static str, Stage>,
    /// What was said of clips that wait: stage, whom for, why.
    waits: BTreeSet<(&'static str, String, String)>,
    /// When a line on the listing was said.
    listing: Option<Instant>,
}

struct Stage {
    bar: Option<ProgressBar>,
    /// Clips it will see, as far as known: those that earlier stages dropped come off when its steps begin.
    total: u64,
    done: u64,
    dropped: u64,
    /// When the first clip began in this run; the rate counts from there.
    began: Option<Instant>,
    fresh: u64,
    said: Option<Instant>,
}

impl Console {
    /// Bars when stderr is a terminal.
    pub fn new(terminal: bool) -> Self {
        Self {
            state: Mutex::default(),
            bars: terminal.then(MultiProgress::new),
        }
    }

    /// Takes the bars away, so that the closing table stands alone.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }

    fn ready(&self, state: &mut State, stages: &[&'static str], clips: u64, shards: usize) {
        for name in stages {
            let bar = self.bars.as_ref().map(|bars| bars.add(bar(name, clips)));
            state.stages.insert(
                name,
                Stage {
                    bar,
                    total: clips,
                    done: 0,
                    dropped: 0,
                    began: None,
                    fresh: 0,
                    said: None,
                },
            );
        }
        self.say(&format!("{clips} clips in {shards} shards"));
    }

    fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(text)),
            None => output::note(text),
        }
    }

    fn skipped(&self, state: &mut State, name: &'static str, clips: u64) {
        if let Some(stage) = state.stages.get_mut(name) {
            stage.done += clips;
            stage.bar.iter().for_each(|bar| bar.inc(clips));
        }
    }

    /// Once for each cause: thousands of clips may wait for the same.
    fn waits(&self, state: &mut State, stage: &'static str, key: &str, wait: &Wait) {
        if state.waits.insert((stage, wait.on.clone(), wait.why.clone())) {
            self.say(&format!(
                "{stage}: {key} stays pending, as will others for this reason, and everything else goes on: {}",
                wait.what
            ));
        }
    }

    fn clip_done(&self, state: &mut State, name: &'static str, key: &str, dropped: Option<&str>) {
        let Some(stage) = state.stages.get_mut(name) else {
            return;
        };
        stage.done += 1;
        stage.fresh += 1;
        stage.dropped += u64::from(dropped.is_some());
        match &stage.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(if stage.dropped > 0 {
                    format!("{} dropped", stage.dropped)
                } else {
                    String::new()
                });
            }
            None => {
                if let Some(reason) = dropped {
                    output::note(&format!("{name}: {key} dropped: {reason}"));
                }
                let last = stage.done == stage.total;
                if last || stage.said.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                    stage.said = Some(Instant::now());
                    output::note(&stage.line(name));
                }
            }
        }
    }
}

impl Stage {
    fn begin(&mut self, clips: u64, listed: u64) {
        self.began.get_or_insert_with(Instant::now);
        self.total = self.total.saturating_sub(listed.saturating_sub(clips));
        self.bar.iter().for_each(|bar| bar.set_length(self.total));
    }

    fn line(&self, name: &str) -> String {
        let seconds = self.began.map_or(0.0, |at| at.elapsed().as_secs_f64());
        let rate = if seconds > 0.5 {
            self.fresh as f64 / seconds
        } else {
            0.0
        };
        let left = self.total.saturating_sub(self.done) as f64;
        let eta = if rate > 0.0 && left > 0.0 {
            format!(", {rate:.2} clips/s, about {:.0} s left", left / rate)
        } else {
            String::new()
        };
        format!("{name}: {}/{}{eta}", self.done, self.total)
    }
}

fn bar(name: &'static str, clips: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix:16} {bar:28} {pos:>7}/{len} {per_sec:>9} ETA {eta:>4} {msg}");
    let bar = ProgressBar::new(clips).with_prefix(name);
    // The template above is a constant; if it were wrong the plain bar would show.
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

/// A thread that hangs in a decoder cannot be ended, only the process can; this is what the user reads then.
fn stuck(stage: &str, key: &str, seconds: f64, times: u32, unnoted: Option<&str>) -> String {
    let next = match (unnoted, times) {
        (Some(why), _) => format!("it could not be noted, so move the clip away ({why})"),
        (None, 1) => "run the same command again: it goes on, with this clip alone at first".to_owned(),
        (None, _) => "run the same command again: it goes on without this clip (dropped: stuck)".to_owned(),
    };
    format!(
        "{stage}: {key} has shown no sign of life for {seconds:.0} s (run.stuck_after), so this run ends; {next}"
    )
}

impl Progress for Console {
    fn on(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Listing { rows, done: true } => self.say(&format!("listed {rows} rows")),
            Event::Listing { rows, .. } if state.listing.is_none_or(|at| at.elapsed() >= LINE_EVERY) => {
                state.listing = Some(Instant::now());
                self.say(&format!("listing: {rows} rows so far"));
            }
            Event::PlanReady {
                stages,
                mine,
                my_clips,
                ..
            } => self.ready(&mut state, stages, *my_clips, *mine),
            Event::StepSkipped { stage, clips, .. } => self.skipped(&mut state, stage, *clips),
            Event::StepStarted {
                stage, clips, listed, ..
            } => {
                if let Some(stage) = state.stages.get_mut(stage) {
                    stage.begin(*clips, *listed);
                }
            }
            Event::ClipDone {
                stage, key, dropped, ..
            } => {
                self.clip_done(&mut state, stage, key, dropped.as_deref());
            }
            Event::ClipWaits { stage, key, wait } => self.waits(&mut state, stage, key, wait),
            Event::ClipSlow { stage, key, seconds } => {
                self.say(&format!("{stage}: {key} has been silent for {seconds:.0} s"));
            }
            Event::Repair { path, why } => self.say(&format!("repairing {}: {why}", path.display())),
            Event::ClipStuck {
                stage,
                key,
                seconds,
                times,
                unnoted,
            } => {
                self.finish();
                output::note(&stuck(stage, key, *seconds, *times, unnoted.as_deref()));
                signals::leave(Code::Stuck.number());
            }
            Event::Suspect {
                stage,
                key,
                crashes,
                stuck,
            } => {
                self.say(&format!(
                    "{stage}: {key} was in flight in {crashes} crashed run(s) and hung in {stuck}; {}",
                    if crashes + stuck > 1 {
                        "it is dropped"
                    } else {
                        "it runs alone"
                    }
                ));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_complete_without_the_clips_that_never_reach_it() {
        let console = Console::new(false);
        console.on(&Event::PlanReady {
            stages: vec!["track"],
            shards: 2,
            mine: 2,
            clips: 5,
            my_clips: 5,
        });
        console.on(&Event::StepSkipped {
            stage: "track",
            shard: "a".into(),
            clips: 2,
        });
        console.on(&Event::StepStarted {
            stage: "track",
            shard: "b".into(),
            clips: 1,
            listed: 3,
        });
        console.on(&Event::ClipDone {
            stage: "track",
            key: "x".into(),
            dropped: None,
            seconds: 0.1,
            counts: BTreeMap::new(),
        });
        let state = console.state.lock().unwrap();
        assert_eq!(state.stages["track"].line("track"), "track: 3/3");
    }
}
