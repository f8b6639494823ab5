//! Clips that wait: their step has no part, everything else goes on, and the next run ends as if nothing had been.

use crate::toy;
use omni_pipeline::*;
use std::{collections::BTreeMap, path::Path};
use toy::*;

const WAIT: [&str; 3] = ["clip-7", "clip-40", "clip-41"];

fn parts(out: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for path in tree(out).keys() {
        let (folder, name) = (path.iter().next().unwrap(), path.file_name().unwrap());
        if name.to_string_lossy().ends_with(".parquet") {
            let stage = folder.to_string_lossy().split('-').next().unwrap().to_owned();
            *found.entry(stage).or_default() += 1;
        }
    }
    found
}

#[test]
fn a_clip_that_waits_holds_back_its_step_and_what_follows_and_nothing_else() {
    let (out, undisturbed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let wish = |waits: bool| Wish {
        drop_below: 10,
        wait_at: WAIT[..if waits { 3 } else { 0 }].to_vec(),
        ..Wish::default()
    };
    let heard = Heard::default();
    let options = options(out.path());
    let first = run(&plan(0..120, &wish(true)), &options, &Cancel::new(), &heard).unwrap();
    assert!(adds_up(&first) && first.outcome == Outcome::Waiting, "{first:?}");
    let waiting = &first.waiting[0];
    assert_eq!((first.waiting.len(), waiting.stage.as_str()), (1, "draw"));
    assert_eq!((waiting.clips, waiting.wait.why.as_str()), (3, "closed"));
    assert!(first.pending > 3, "they and their shards");
    assert_eq!(heard.count(|event| matches!(event, Event::ClipWaits { .. })), 3);
    let steps = heard.count(|event| matches!(event, Event::StepPending { .. }));
    let done = parts(out.path());
    assert!(steps > 0 && done["draw"] == done["measure"] - steps && done["join"] == done["draw"]);
    assert_eq!(done["listen"], done["measure"], "what does not need them goes on");

    let second = go(&plan(0..120, &wish(false)), &options);
    assert!(second.outcome == Outcome::Complete && second.waiting.is_empty());
    assert_eq!(
        second.shards["draw"].computed, steps as u64,
        "exactly the pending ones"
    );
    assert_eq!(second.shards["listen"].computed, 0);
    go(&plan(0..120, &wish(false)), &toy::options(undisturbed.path()));
    assert_same(out.path(), undisturbed.path());
}
