//! What a second, a changed, a repaired and a shared run do.

use crate::toy;
use omni_pipeline::{readers::Run, *};
use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};
use toy::*;

const ALL: std::ops::Range<usize> = 0..120;

fn changed(before: &Tree, after: &Tree) -> BTreeSet<String> {
    let folder = |path: &PathBuf| {
        path.iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .split('-')
            .next()
            .unwrap()
            .to_owned()
    };
    after
        .iter()
        .filter(|(path, file)| before.get(*path) != Some(file))
        .map(|(path, _)| folder(path))
        .collect()
}

#[test]
fn a_second_run_writes_nothing() {
    let out = tempfile::tempdir().unwrap();
    let (plan, options) = (
        plan(
            ALL,
            &Wish {
                drop_below: 10,
                ..Wish::default()
            },
        ),
        options(out.path()),
    );
    let first = go(&plan, &options);
    assert!(adds_up(&first) && first.outcome == Outcome::Complete, "{first:?}");
    assert_eq!(first.listed, 120);
    assert_eq!(first.dropped["no_file"], 14);
    assert!(first.dropped["mute"] > 0 && first.dropped["small"] > 0 && first.kept > 50);
    let before = tree(out.path());
    assert!(
        before
            .keys()
            .any(|path| path.extension().is_some_and(|e| e == "tar"))
    );
    let heard = Heard::default();
    let second = run(&plan, &options, &Cancel::new(), &heard).unwrap();
    assert_eq!(before, tree(out.path()));
    assert_eq!((second.kept, &second.dropped), (first.kept, &first.dropped));
    assert!(second.shards.values().all(|counts| counts.computed == 0));
    assert_eq!(heard.count(|event| matches!(event, Event::ClipStarted { .. })), 0);
}

#[test]
fn a_changed_setting_rewrites_that_stage_and_what_depends_on_it() {
    let out = tempfile::tempdir().unwrap();
    let options = options(out.path());
    go(&plan(ALL, &Wish::default()), &options);
    let before = tree(out.path());
    go(
        &plan(
            ALL,
            &Wish {
                factor: 3,
                ..Wish::default()
            },
        ),
        &options,
    );
    let after = tree(out.path());
    assert_eq!(
        changed(&before, &after),
        ["draw", "join", "run.json"].map(str::to_owned).into()
    );
}

#[test]
fn new_rows_leave_other_shards_alone() {
    let out = tempfile::tempdir().unwrap();
    let options = options(out.path());
    go(&plan(ALL, &Wish::default()), &options);
    let before = tree(out.path());
    let more: Vec<usize> = (0..60).chain([1000]).chain(60..120).collect();
    let summary = go(&plan(more, &Wish::default()), &options);
    assert_eq!(summary.listed, 121);
    let after = tree(out.path());
    let fresh = after
        .keys()
        .filter(|path| !before.contains_key(*path) && path.extension().unwrap() == "parquet");
    assert!(
        fresh.count() <= 4 * 2,
        "one shard of four stages, or two where the new row ends a shard"
    );
    let lost = before.iter().filter(|(path, file)| {
        path.file_name().unwrap().to_str().unwrap().starts_with("part-") && after.get(*path) != Some(file)
    });
    assert_eq!(lost.count(), 0);
}

#[test]
fn unsound_files_are_repaired_and_nothing_else() {
    let (out, sound) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (plan, options) = (plan(ALL, &Wish::default()), options(out.path()));
    go(&plan, &options);
    go(
        &plan,
        &RunOptions {
            out: sound.path().to_owned(),
            ..options.clone()
        },
    );
    let files: Vec<PathBuf> = tree(out.path()).into_keys().collect();
    let pick = |stage: &str, kind: &str| {
        let fits = |path: &&PathBuf| path.starts_with(stage) && path.extension().is_some_and(|e| e == kind);
        out.path().join(files.iter().find(fits).unwrap())
    };
    let dir = |number: usize| plan.steps()[number].dir.clone();
    let flip = |path: &PathBuf| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(path, bytes).unwrap();
    };
    flip(&pick(&dir(0), "parquet"));
    fs::remove_file(pick(&dir(1), "tar")).unwrap();
    fs::write(pick(&dir(2), "parquet"), b"").unwrap();
    let heard = Heard::default();
    let summary = run(&plan, &options, &Cancel::new(), &heard).unwrap();
    assert_eq!(heard.count(|event| matches!(event, Event::Repair { .. })), 3);
    let computed: Vec<u64> = plan
        .steps()
        .iter()
        .map(|step| summary.shards[step.stage].computed)
        .collect();
    assert_eq!(computed, [1, 1, 1, 0]);
    assert_same(out.path(), sound.path());

    let tar = out.path().join(
        files
            .iter()
            .find(|path| path.extension().is_some_and(|e| e == "tar"))
            .unwrap(),
    );
    flip(&tar);
    let index = files.iter().find(|path| path.ends_with("listing.json")).unwrap();
    fs::remove_file(out.path().join(index)).unwrap();
    go(&plan, &options);
    assert_same(out.path(), sound.path());
}

#[test]
fn a_stop_leaves_no_part_and_a_panic_is_a_stop() {
    for panic in [false, true] {
        let out = tempfile::tempdir().unwrap();
        let at = Some("clip-40".to_owned());
        let bad = if panic {
            Wish {
                panic_at: at,
                ..Wish::default()
            }
        } else {
            Wish {
                stop_at: at,
                ..Wish::default()
            }
        };
        let options = options(out.path());
        let error = run(&plan(ALL, &bad), &options, &Cancel::new(), &Silent)
            .unwrap_err()
            .to_string();
        let cause = if panic { "bug: a slip" } else { "no service" };
        assert_eq!(error, format!("stage `draw` stopped at `clip-40`: {cause}"));
        let told: Summary =
            serde_json::from_slice(&fs::read(out.path().join("summary.json")).unwrap()).unwrap();
        assert!(told.outcome == Outcome::Failed && adds_up(&told) && told.pending > 0);
        assert!(
            tree(out.path())
                .keys()
                .all(|path| !path.to_str().unwrap().ends_with(".tmp"))
        );
        let good = plan(ALL, &Wish::default());
        assert_eq!(go(&good, &options).outcome, Outcome::Complete);
        let clean = tempfile::tempdir().unwrap();
        go(
            &good,
            &RunOptions {
                out: clean.path().to_owned(),
                ..options
            },
        );
        assert_same(out.path(), clean.path());
    }
}

#[test]
fn too_many_drops_stop_the_run() {
    let out = tempfile::tempdir().unwrap();
    let plan = plan(
        ALL,
        &Wish {
            drop_below: 60,
            ..Wish::default()
        },
    );
    let mut options = RunOptions {
        shard_clips: 1000,
        max_drop_rate: 0.3,
        ..options(out.path())
    };
    let error = run(&plan, &options, &Cancel::new(), &Silent).unwrap_err();
    let Error::DropRate {
        stage,
        reason,
        dropped,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((stage.as_str(), reason.as_str()), ("measure", "small"));
    assert!(error.to_string().contains("max_drop_rate"));
    options.min_drops = dropped + 1;
    go(&plan, &options);
}

#[test]
fn a_limit_takes_the_same_clips_every_time() {
    let keys = |seed: u64| {
        let out = tempfile::tempdir().unwrap();
        let options = RunOptions {
            limit: Some(10),
            seed,
            ..options(out.path())
        };
        let summary = go(&plan(ALL, &Wish::default()), &options);
        assert!(adds_up(&summary));
        assert_eq!((summary.listed, summary.beyond_limit), (10 + 14, 120 - 14 - 10));
        let run = Run::open(out.path()).unwrap();
        run.table::<Measured>()
            .unwrap()
            .map(|row| row.unwrap().clip)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(1), keys(1));
    assert_ne!(keys(1), keys(2));
}

#[test]
fn two_workers_give_the_files_of_one() {
    let (together, shared, alone) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let wish = Wish {
        sleep: Duration::from_millis(1),
        ..Wish::default()
    };
    go(&plan(ALL, &wish), &options(alone.path()));
    std::thread::scope(|scope| {
        for rank in 0..2 {
            let (together, shared, wish) = (&together, &shared, &wish);
            scope.spawn(move || go(&plan(ALL, wish), &options(together.path())));
            scope.spawn(move || {
                go(
                    &plan(ALL, wish),
                    &RunOptions {
                        rank,
                        world: 2,
                        ..options(shared.path())
                    },
                )
            });
        }
    });
    assert_same(alone.path(), together.path());
    assert_same(alone.path(), shared.path());
}

#[test]
fn ranks_and_only_leave_the_rest_pending() {
    let out = tempfile::tempdir().unwrap();
    let plan = plan(ALL, &Wish::default());
    let options = options(out.path());
    let half = go(
        &plan,
        &RunOptions {
            world: 2,
            ..options.clone()
        },
    );
    assert!(
        adds_up(&half) && half.pending > 0 && half.pending == half.elsewhere,
        "{half:?}"
    );
    assert_eq!(half.outcome, Outcome::ShareComplete);
    let draw = RunOptions {
        only: vec!["draw".into()],
        rank: 1,
        world: 2,
        ..options.clone()
    };
    let heard = Heard::default();
    let waiting = run(&plan, &draw, &Cancel::new(), &heard).unwrap();
    assert!(adds_up(&waiting) && waiting.outcome == Outcome::Pending);
    assert!(heard.count(|event| matches!(event, Event::StepWaits { on: "measure", .. })) > 0);
    let unknown = RunOptions {
        only: vec!["drow".into()],
        ..options.clone()
    };
    let error = run(&plan, &unknown, &Cancel::new(), &Silent)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "no stage `drow` in this recipe; it has: measure, draw, listen, join"
    );
    let status = status(&plan, &options).unwrap();
    assert!(
        status
            .iter()
            .all(|step| step.done > 0 && Some(step.done) < step.total),
        "{status:?}"
    );
    assert_eq!(go(&plan, &options).outcome, Outcome::Complete);
}

#[test]
fn a_cancelled_run_goes_on_later() {
    let (out, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plan = plan(
        ALL,
        &Wish {
            sleep: Duration::from_millis(1),
            ..Wish::default()
        },
    );
    struct After(Cancel, std::sync::atomic::AtomicUsize);
    impl Progress for After {
        fn on(&self, event: &Event) {
            let done = matches!(event, Event::ClipDone { .. });
            if done && self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 100 {
                self.0.cancel();
            }
        }
    }
    let cancel = Cancel::new();
    let summary = run(
        &plan,
        &options(out.path()),
        &cancel,
        &After(cancel.clone(), Default::default()),
    )
    .unwrap();
    assert!(adds_up(&summary) && summary.outcome == Outcome::Stopped && summary.pending > 0);
    go(&plan, &options(out.path()));
    go(&plan, &options(alone.path()));
    assert_same(out.path(), alone.path());
}

#[test]
fn a_clip_is_explained_from_source_to_end() {
    let out = tempfile::tempdir().unwrap();
    go(
        &plan(
            ALL,
            &Wish {
                drop_below: 10,
                ..Wish::default()
            },
        ),
        &options(out.path()),
    );
    let run = Run::open(out.path()).unwrap();
    let views = run.explain("clip-9").unwrap();
    assert_eq!((views.len(), views[0].drop.as_deref()), (1, Some("no_file")));
    assert!(run.explain("clip-4000").unwrap().is_empty());
    let joined: Joined = run.table::<Joined>().unwrap().next().unwrap().unwrap();
    let views = run.explain(&joined.clip).unwrap();
    let stages: Vec<_> = views.iter().map(|view| view.stage.as_str()).collect();
    assert_eq!(stages, ["source", "measure", "draw", "listen", "join"]);
    assert_eq!(views[4].rows[0]["words"], joined.words);
    assert_eq!(views[2].rows.len() as i64, joined.pictures);
    let picture: Picture = run
        .table::<Picture>()
        .unwrap()
        .map(Result::unwrap)
        .find(|p| p.image.length > 0)
        .unwrap();
    let part = &run.explain(&picture.clip).unwrap()[2].part;
    let bytes = omni_manifests::read_blob(&part.with_extension("tar"), &picture.image).unwrap();
    assert_eq!(bytes.len() as u64, picture.image.length);
    assert!(
        run.record_parts("nothing")
            .unwrap_err()
            .to_string()
            .contains("measured, picture")
    );
}

#[test]
fn slow_clips_are_reported_once() {
    let out = tempfile::tempdir().unwrap();
    let plan = plan(
        1..4,
        &Wish {
            sleep: Duration::from_millis(150),
            ..Wish::default()
        },
    );
    let heard = Heard::default();
    let options = RunOptions {
        slow_after: Duration::from_millis(40),
        ..options(out.path())
    };
    run(&plan, &options, &Cancel::new(), &heard).unwrap();
    let slow = heard.count(|event| matches!(event, Event::ClipSlow { stage: "measure", .. }));
    assert_eq!(slow, 3);
}
