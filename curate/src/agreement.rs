//! How often what was measured speaks for what is claimed, by route: for the summary of a run.

use crate::finished::Error;
use omni_pipeline::readers::Run;
use omni_schemas::{CrossCheck, Record};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

/// Claims of one route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Rate {
    /// Clips bound by this route.
    pub clips: u64,
    /// Speakers of those clips of whom the evidence says something.
    pub compared: u64,
    /// Those on whom claim and evidence agree.
    pub agreed: u64,
    /// `agreed / compared`; null when nothing was compared.
    pub rate: Option<f64>,
}

/// The rates of a run by route; empty when it has no record `cross_check`.
///
/// # Errors
/// When the run or a part of it cannot be read.
pub fn rates(out: &Path) -> Result<BTreeMap<String, Rate>, Error> {
    let run = Run::open(out)?;
    let made = run
        .file()
        .stages
        .iter()
        .any(|entry| entry.record == CrossCheck::NAME);
    let mut rates = BTreeMap::new();
    if made {
        for row in run.table::<CrossCheck>()? {
            add(&mut rates, &row?);
        }
    }
    Ok(rates)
}

fn add(rates: &mut BTreeMap<String, Rate>, row: &CrossCheck) {
    let told = || row.speakers.iter().filter_map(|speaker| speaker.agrees);
    let rate = rates.entry(row.route.clone()).or_default();
    rate.clips += 1;
    rate.compared += told().count() as u64;
    rate.agreed += told().filter(|agrees| *agrees).count() as u64;
    rate.rate = (rate.compared > 0).then(|| rate.agreed as f64 / rate.compared as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_schemas::CheckedSpeaker;

    #[test]
    fn speakers_are_counted_by_route_and_those_nobody_saw_are_not() {
        let row = |route: &str, agrees: &[Option<bool>]| CrossCheck {
            route: route.into(),
            speakers: agrees
                .iter()
                .map(|agrees| CheckedSpeaker {
                    agrees: *agrees,
                    ..CheckedSpeaker::default()
                })
                .collect(),
            ..CrossCheck::default()
        };
        let mut rates = BTreeMap::new();
        for row in [
            row("gemini", &[Some(true), Some(false), None]),
            row("gemini", &[Some(true)]),
            row("qwen", &[None]),
        ] {
            add(&mut rates, &row);
        }
        let gemini = Rate {
            clips: 2,
            compared: 3,
            agreed: 2,
            rate: Some(2.0 / 3.0),
        };
        assert_eq!(rates["gemini"], gemini);
        assert_eq!((rates["qwen"].clips, rates["qwen"].rate), (1, None));
    }
}
