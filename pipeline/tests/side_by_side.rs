//! Steps and shards side by side: no core waits for the last clip of a step, and nothing on disk shows it.

use crate::toy;
use omni_pipeline::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};
use toy::*;

const ALL: std::ops::Range<usize> = 0..120;

/// Clips in flight over time, and who was in flight together with whom.
#[derive(Default)]
struct Flights(Mutex<State>, Condvar);

#[derive(Default)]
struct State {
    flying: BTreeSet<(&'static str, String)>,
    most: BTreeMap<&'static str, usize>,
    most_of_all: usize,
    /// Clips begun, in order.
    begun: Vec<(&'static str, String)>,
}

impl Progress for Flights {
    fn on(&self, event: &Event) {
        let mut state = self.0.lock().unwrap();
        match event {
            Event::ClipStarted { stage, key } => {
                state.flying.insert((stage, key.clone()));
                state.begun.push((stage, key.clone()));
                let all = state.flying.len();
                let same = state.flying.iter().filter(|(name, _)| name == stage).count();
                state.most_of_all = state.most_of_all.max(all);
                let most = state.most.entry(stage).or_default();
                *most = (*most).max(same);
            }
            Event::ClipDone { stage, key, .. } => drop(state.flying.remove(&(*stage, key.clone()))),
            _ => {}
        }
        self.1.notify_all();
    }
}

fn flights(wish: &Wish, options: &RunOptions) -> (Arc<Flights>, Summary) {
    let flights = Arc::new(Flights::default());
    let summary = run(&plan(ALL, wish), options, &Cancel::new(), &*flights).unwrap();
    (flights, summary)
}

#[test]
fn the_last_clip_of_a_shard_flies_beside_those_of_the_next() {
    let (alone, both) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = RunOptions {
        threads: 1,
        ..options(alone.path())
    };
    let (calm, _) = flights(&Wish::default(), &one);
    let state = calm.0.lock().unwrap();
    assert_eq!(state.most_of_all, 1);
    // With one thread the clips of a step come together: runs of `measure` are the shards.
    let mut shards: Vec<Vec<String>> = Vec::new();
    let mut before = "";
    for (stage, key) in &state.begun {
        match (*stage, before == "measure") {
            ("measure", true) => shards.last_mut().unwrap().push(key.clone()),
            ("measure", false) => shards.push(vec![key.clone()]),
            _ => {}
        }
        before = stage;
    }
    let number = shards.iter().position(|shard| shard.len() > 2).unwrap();
    let last = shards[number].last().unwrap().clone();
    let later: Vec<String> = shards[number + 1..].concat();
    assert!(later.len() > 20);
    // The last clip of that shard ends only when three clips of later shards were in flight beside it.
    let flights = Arc::new(Flights::default());
    let seen = flights.clone();
    let hold = Hold::new(move |stage, key| {
        if stage != "measure" || key != last {
            return true;
        }
        let others = |state: &State| {
            state
                .begun
                .iter()
                .filter(|(stage, key)| *stage == "measure" && later.contains(key))
                .count()
        };
        let state = seen.0.lock().unwrap();
        let waited = seen
            .1
            .wait_timeout_while(state, Duration::from_secs(20), |state| others(state) < 3);
        !waited.unwrap().1.timed_out()
    });
    let wish = Wish {
        hold: Some(hold),
        ..Wish::default()
    };
    let two = RunOptions {
        threads: 2,
        ..options(both.path())
    };
    let summary = run(&plan(ALL, &wish), &two, &Cancel::new(), &*flights).unwrap();
    assert_eq!(summary.outcome, Outcome::Complete);
    assert_eq!(
        flights.0.lock().unwrap().most_of_all,
        2,
        "two threads are two clips"
    );
    assert_same(alone.path(), both.path());
}

#[test]
fn a_stage_of_one_lane_has_one_over_all_shards() {
    let (alone, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let wish = Wish {
        sleep: Duration::from_millis(1),
        lanes_of_listen: Some(1),
        ..Wish::default()
    };
    let options = RunOptions {
        threads: 6,
        shard_clips: 4,
        ..options(many.path())
    };
    let (flights, summary) = flights(&wish, &options);
    assert!(adds_up(&summary) && summary.outcome == Outcome::Complete);
    let state = flights.0.lock().unwrap();
    assert_eq!(state.most["listen"], 1);
    assert!(
        state.most_of_all > 1 && state.most_of_all <= 6,
        "{}",
        state.most_of_all
    );
    let one = RunOptions {
        threads: 1,
        out: alone.path().to_owned(),
        ..options
    };
    go(&plan(ALL, &wish), &one);
    assert_same(alone.path(), many.path());
}

#[test]
fn a_fault_in_one_shard_ends_the_others_cleanly() {
    let (out, clean) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = RunOptions {
        shard_clips: 4,
        ..options(out.path())
    };
    let bad = Wish {
        sleep: Duration::from_millis(2),
        stop_at: Some("clip-40".into()),
        ..Wish::default()
    };
    let flights = Flights::default();
    let error = run(&plan(ALL, &bad), &options, &Cancel::new(), &flights).unwrap_err();
    assert_eq!(error.to_string(), "stage `draw` stopped at `clip-40`: no service");
    let state = flights.0.lock().unwrap();
    assert!(
        state.begun.len() < 4 * 106,
        "the other shards went on: {}",
        state.begun.len()
    );
    let told: Summary =
        serde_json::from_slice(&std::fs::read(out.path().join("summary.json")).unwrap()).unwrap();
    assert!(told.outcome == Outcome::Failed && adds_up(&told) && told.pending > 0);
    let good = plan(ALL, &Wish::default());
    go(&good, &options);
    let undisturbed = RunOptions {
        out: clean.path().to_owned(),
        ..options
    };
    go(&good, &undisturbed);
    assert_same(out.path(), clean.path());
}

/// A listener with a bug.
struct Clumsy;
impl Progress for Clumsy {
    fn on(&self, event: &Event) {
        assert!(
            !matches!(event, Event::StepDone { stage: "measure", .. }),
            "a slip"
        );
    }
}

#[test]
fn a_bug_beside_the_stages_ends_the_run_and_nobody_waits() {
    let out = tempfile::tempdir().unwrap();
    let wrong = std::panic::AssertUnwindSafe(|| {
        run(
            &plan(ALL, &Wish::default()),
            &options(out.path()),
            &Cancel::new(),
            &Clumsy,
        )
    });
    assert!(std::panic::catch_unwind(wrong).is_err());
}
