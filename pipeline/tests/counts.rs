//! `listed = kept + dropped + pending`, whatever happens.

use crate::toy;
use omni_pipeline::*;
use proptest::prelude::*;
use toy::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn counts_add_up(
        clips in 0usize..90, drop_below in 0u64..101, shard_clips in 1usize..40, threads in 1usize..5,
        limit in proptest::option::of(0usize..60), world in 1usize..4, only_measure: bool, cancel_after in 0usize..400,
    ) {
        struct After(Cancel, std::sync::atomic::AtomicUsize);
        impl Progress for After {
            fn on(&self, _: &Event) {
                if self.1.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
                    self.0.cancel();
                }
            }
        }
        let out = tempfile::tempdir().unwrap();
        let plan = plan(0..clips, &Wish { drop_below, ..Wish::default() });
        let only = if only_measure { vec!["measure".to_owned()] } else { Vec::new() };
        let base = RunOptions { threads, shard_clips, limit, ..options(out.path()) };
        let first = RunOptions { only, world, ..base.clone() };
        let cancel = Cancel::new();
        let summary = run(&plan, &first, &cancel, &After(cancel.clone(), cancel_after.into())).unwrap();
        prop_assert!(adds_up(&summary), "{:?}", summary);
        let last = go(&plan, &base);
        prop_assert!(adds_up(&last), "{:?}", last);
        prop_assert_eq!((last.pending, last.outcome), (0, Outcome::Complete));
        let dropped_by_source = clips.div_ceil(9);
        let kept_by_source = (clips - dropped_by_source).min(limit.unwrap_or(usize::MAX));
        prop_assert_eq!(last.listed as usize, dropped_by_source + kept_by_source);
    }
}
