//! Who makes what, in which order, under which fingerprint.

use crate::toy;
use omni_pipeline::*;
use toy::*;

fn refused(stages: Vec<Box<dyn AnyStage>>) -> String {
    Plan::new(Box::new(Toy(Vec::new())), stages)
        .unwrap_err()
        .to_string()
}

#[test]
fn each_record_has_exactly_one_maker() {
    let draw = || Box::new(Draw(Wish::default())) as Box<dyn AnyStage>;
    let measure = || Box::new(Measure(Wish::default())) as Box<dyn AnyStage>;
    assert_eq!(
        refused(vec![draw()]),
        "stage `draw` needs `measured`, and no stage in this recipe makes it"
    );
    assert_eq!(
        refused(vec![measure(), measure()]),
        "stage `measure` is named twice in this recipe"
    );
}

#[test]
fn steps_run_after_what_they_need_and_a_setting_reaches_all_descendants() {
    let (one, other) = (
        plan(0..1, &Wish::default()),
        plan(
            0..1,
            &Wish {
                drop_below: 1,
                ..Wish::default()
            },
        ),
    );
    let names: Vec<_> = one.steps().iter().map(|step| step.stage).collect();
    assert_eq!(names, ["measure", "draw", "listen", "join"]);
    assert_eq!(one.steps()[3].needs, ["measured", "picture", "voice"]);
    for (a, b) in one.steps().iter().zip(other.steps()) {
        assert_ne!(a.fingerprint, b.fingerprint, "{} depends on measure", a.stage);
        assert_eq!(a.dir, format!("{}-{}", a.stage, &a.fingerprint[..12]));
    }
    let third = plan(
        0..1,
        &Wish {
            factor: 9,
            ..Wish::default()
        },
    );
    let same: Vec<_> = one
        .steps()
        .iter()
        .zip(third.steps())
        .map(|(a, b)| a.fingerprint == b.fingerprint)
        .collect();
    assert_eq!(same, [true, false, true, false]);
    assert!(
        one.mermaid().contains("draw -- picture --> join")
            && one.mermaid().contains("source -- listing --> measure")
    );
}
