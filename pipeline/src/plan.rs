//! From a source and a list of stages to ordered steps with fingerprints and folders. Pure: nothing is read or run.

use crate::{AnyStage, Description, Error, Source};
use omni_schemas::{Listing, Record};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A source and the steps that follow, in the order they run.
pub struct Plan {
    pub(crate) source: Box<dyn Source>,
    pub(crate) stages: Vec<Box<dyn AnyStage>>,
    pub(crate) described: Vec<Description>,
    source_fingerprint: String,
    steps: Vec<Step>,
}

/// One stage of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The stage's name.
    pub stage: &'static str,
    /// The record it makes.
    pub record: &'static str,
    /// The records it reads, each once, in its own order.
    pub needs: Vec<String>,
    /// 64 hex digits over name, versions, settings and the fingerprints of its inputs.
    pub fingerprint: String,
    /// `<stage>-<first 12 digits>`, below the output folder.
    pub dir: String,
    /// Steps whose records it reads, by number; the listing is not among them.
    pub(crate) inputs: Vec<usize>,
    /// All steps it depends on, by number, rising.
    pub(crate) ancestors: BTreeSet<usize>,
}

impl Plan {
    /// Finds who makes what, orders the stages (as given, where their needs allow) and names their folders.
    ///
    /// # Errors
    /// When a record that is read has no maker or two, a stage is named twice, or stages need each other.
    pub fn new(source: Box<dyn Source>, stages: Vec<Box<dyn AnyStage>>) -> Result<Plan, Error> {
        let described: Vec<_> = stages.iter().map(|stage| stage.describe()).collect();
        let makers = makers(&described)?;
        let order = order(&described, &makers)?;
        let (stages, described) = reorder(stages, described, &order);
        let source_fingerprint =
            omni_manifests::fingerprint(&json!({ "source": source.name(), "settings": source.settings() }));
        let steps = steps(&described, &source_fingerprint);
        Ok(Plan {
            source,
            stages,
            described,
            source_fingerprint,
            steps,
        })
    }

    /// The steps, in the order they run.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The source at the plan's root.
    pub fn source(&self) -> &dyn Source {
        self.source.as_ref()
    }

    /// 64 hex digits over the source's name and settings.
    pub fn source_fingerprint(&self) -> &str {
        &self.source_fingerprint
    }

    /// The graph as a Mermaid flowchart: stages as nodes, records on the arrows.
    pub fn mermaid(&self) -> String {
        let mut out = format!("flowchart LR\n    source([{}])\n", self.source.name());
        for step in &self.steps {
            out += &format!("    {}[{}]\n", step.stage, step.stage);
        }
        for step in &self.steps {
            for record in &step.needs {
                let maker = self
                    .steps
                    .iter()
                    .find(|other| other.record == record)
                    .map_or("source", |s| s.stage);
                out += &format!("    {maker} -- {record} --> {}\n", step.stage);
            }
        }
        out
    }
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("source", &self.source.name())
            .field("steps", &self.steps)
            .finish()
    }
}

/// Which stage makes a record, by number; `None` is the source.
type Makers = BTreeMap<&'static str, Option<usize>>;

fn makers(described: &[Description]) -> Result<Makers, Error> {
    let mut makers: Makers = BTreeMap::from([(Listing::NAME, None)]);
    let mut names = BTreeSet::new();
    for (number, stage) in described.iter().enumerate() {
        if !names.insert(stage.stage) {
            return Err(Error::StageTwice(stage.stage.to_owned()));
        }
        if let Some(first) = makers.insert(stage.record, Some(number)) {
            return Err(Error::TwoMakers {
                record: stage.record.to_owned(),
                first: first.map_or("source", |first| described[first].stage).to_owned(),
                second: stage.stage.to_owned(),
            });
        }
    }
    for stage in described {
        if let Some(need) = stage.needs.iter().find(|need| !makers.contains_key(need.record)) {
            return Err(Error::NoMaker {
                stage: stage.stage.to_owned(),
                record: need.record.to_owned(),
            });
        }
    }
    Ok(makers)
}

/// Always the first stage in the given order whose inputs are all placed.
fn order(described: &[Description], makers: &Makers) -> Result<Vec<usize>, Error> {
    let mut placed: Vec<usize> = Vec::new();
    while placed.len() < described.len() {
        let ready = |number: &usize| {
            !placed.contains(number)
                && described[*number].needs.iter().all(|need| {
                    makers
                        .get(need.record)
                        .copied()
                        .flatten()
                        .is_none_or(|maker| placed.contains(&maker))
                })
        };
        let Some(next) = (0..described.len()).find(ready) else {
            let left = (0..described.len()).filter(|number| !placed.contains(number));
            let names: Vec<_> = left
                .map(|number| format!("`{}`", described[number].stage))
                .collect();
            return Err(Error::Circle(names.join(", ")));
        };
        placed.push(next);
    }
    Ok(placed)
}

fn reorder(
    stages: Vec<Box<dyn AnyStage>>,
    described: Vec<Description>,
    order: &[usize],
) -> (Vec<Box<dyn AnyStage>>, Vec<Description>) {
    let mut pairs: Vec<_> = stages.into_iter().zip(described).map(Some).collect();
    order.iter().filter_map(|number| pairs[*number].take()).unzip()
}

/// The steps of stages that are in running order.
fn steps(described: &[Description], source: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for stage in described {
        let mut needs: Vec<String> = Vec::new();
        for need in &stage.needs {
            if !needs.iter().any(|known| known == need.record) {
                needs.push(need.record.to_owned());
            }
        }
        let inputs: Vec<usize> = (0..steps.len())
            .filter(|i| needs.iter().any(|n| n == steps[*i].record))
            .collect();
        let mut ancestors: BTreeSet<usize> = inputs.iter().copied().collect();
        inputs
            .iter()
            .for_each(|input| ancestors.extend(&steps[*input].ancestors));
        let fingerprint = fingerprint(stage, &needs, &steps, source);
        let dir = format!("{}-{}", stage.stage, &fingerprint[..12]);
        steps.push(Step {
            stage: stage.stage,
            record: stage.record,
            needs,
            fingerprint,
            dir,
            inputs,
            ancestors,
        });
    }
    steps
}

fn fingerprint(stage: &Description, needs: &[String], before: &[Step], source: &str) -> String {
    let of = |record: &String| {
        let maker = before.iter().find(|step| step.record == record);
        let value = maker.map_or(source, |step| step.fingerprint.as_str());
        (record.clone(), Value::from(value))
    };
    omni_manifests::fingerprint(&json!({
        "stage": stage.stage,
        "version": stage.version,
        "record": stage.record,
        "record_version": stage.record_version,
        "settings": stage.settings,
        "inputs": needs.iter().map(of).collect::<serde_json::Map<_, _>>(),
    }))
}
