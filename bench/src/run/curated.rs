//! The metrics as a stage of `curate`: `score` gives each curated clip its readings.
//!
//! The clip is decoded once for all metrics, as in a run of the benchmark ([`super::Scorer`]), and none is dropped: what
//! cannot be measured is absent for a reason. There are two forms, by what is read: the clip alone, or also the records
//! that say who is in it and what is said ([`People`]), which become the case that metrics of people and words ask for.

use std::{marker::PhantomData, sync::Arc};

use omni_media::Span;
use omni_pipeline::{AnyStage, Cx, Fault, Inputs, Many, One, Stage};
use omni_schemas::{
    Binding, Blob, Case, CaseSubject, CaseUtterance, Clip, FaceRef, OmniCaption, Record, Score, Transcript,
    VoiceRef,
};
use serde_json::{Value, json};

use super::stages::absent;
use crate::{
    metric::Metric,
    take::{Scored, Taken, Unscored, measure},
};

/// Metrics that compare with a case: with who is to be seen and heard, and with what is to be said.
pub const CASED: &[&str] = &["face", "t_sim", "sync", "ib", "wer", "binding"];

/// The records of a clip from which its case is made.
pub type People = (
    One<Clip>,
    Many<FaceRef>,
    Many<VoiceRef>,
    Many<Transcript>,
    Many<Binding>,
    Many<OmniCaption>,
);

/// The records beside the clip that [`People`] reads.
const OF_PEOPLE: [&str; 5] = [
    FaceRef::NAME,
    VoiceRef::NAME,
    Transcript::NAME,
    Binding::NAME,
    OmniCaption::NAME,
];

/// The stage. Where one of the metrics is among [`CASED`] and `made`, the names of the records that the plan makes, holds
/// all that a case is made of, it reads that; else the clip alone.
pub fn stage(metrics: Vec<Arc<dyn Metric>>, made: &[&str]) -> Box<dyn AnyStage> {
    let cased = metrics.iter().any(|metric| CASED.contains(&metric.name()));
    let told = OF_PEOPLE.iter().all(|record| made.contains(record));
    match cased && told {
        true => Box::new(Curated::<People>::new(metrics)),
        false => Box::new(Curated::<One<Clip>>::new(metrics)),
    }
}

/// What a clip is scored by.
trait Shown: Inputs {
    /// The clip.
    fn clip(&self) -> &Clip;
    /// What its readings are held against; pictures and voices lie in the scratch folder of the clip.
    fn case(&self, cx: &Cx<'_>) -> Result<Case, Fault>;
}

impl Shown for One<Clip> {
    fn clip(&self) -> &Clip {
        &self.0
    }

    fn case(&self, _cx: &Cx<'_>) -> Result<Case, Fault> {
        Ok(Case {
            prompt: self.0.caption.clone().unwrap_or_default(),
            ..Case::default()
        })
    }
}

impl Shown for People {
    fn clip(&self) -> &Clip {
        &self.0.0
    }

    fn case(&self, cx: &Cx<'_>) -> Result<Case, Fault> {
        let (One(clip), Many(faces), Many(voices), Many(transcripts), Many(bindings), Many(captions)) = self;
        let (binding, caption) = (bindings.first(), captions.first());
        let prompt = caption.map(|caption| caption.prompt.clone());
        let mut case = Case {
            prompt: prompt.or_else(|| clip.caption.clone()).unwrap_or_default(),
            audio_caption: transcripts.first().and_then(|one| one.audio_caption.clone()),
            utterances: caption.map(utterances).unwrap_or_default(),
            ..Case::default()
        };
        // Without a binding nobody knows whose voice is whose: the faces alone.
        let Some(binding) = binding else {
            for face in faces {
                let anchor = format!("<sub{}>", face.subject);
                let face = Some(save(cx, FaceRef::NAME, &face.image, &anchor)?);
                case.subjects.push(subject(anchor, face, None, true, false));
            }
            return Ok(case);
        };
        let voice_of = |speaker: Option<&String>, anchor: &str| {
            let voice = voices.iter().find(|voice| Some(&voice.speaker) == speaker);
            voice
                .map(|voice| save(cx, VoiceRef::NAME, &voice.audio, anchor))
                .transpose()
        };
        let last = binding.subjects.iter().map(|one| one.subject).max().unwrap_or(0);
        for bound in &binding.subjects {
            let anchor = format!("<sub{}>", bound.subject);
            let face = faces.iter().find(|face| face.subject == bound.subject);
            let face = face.map(|face| save(cx, FaceRef::NAME, &face.image, &anchor));
            let voice = voice_of(bound.speaker.as_ref(), &anchor)?;
            let speaks = bound.speaker.is_some();
            case.subjects
                .push(subject(anchor, face.transpose()?, voice, true, speaks));
        }
        // As the prompt numbers them: after the people in the picture.
        for (speaker, number) in binding.offscreen.iter().zip(last + 1..) {
            let anchor = format!("<sub{number}>");
            let voice = voice_of(Some(speaker), &anchor)?;
            case.subjects.push(subject(anchor, None, voice, false, true));
        }
        Ok(case)
    }
}

fn utterances(caption: &OmniCaption) -> Vec<CaseUtterance> {
    let said = caption.utterances.iter().map(|said| CaseUtterance {
        anchor: said.anchor.clone(),
        text: said.text.clone(),
        language: said.language.clone(),
    });
    said.collect()
}

fn subject(
    anchor: String,
    face: Option<String>,
    voice: Option<String>,
    visible: bool,
    speaks: bool,
) -> CaseSubject {
    CaseSubject {
        anchor,
        face,
        voice,
        visible,
        speaks,
    }
}

/// Lays an artifact of another stage into the clip's scratch folder, and says where.
fn save(cx: &Cx<'_>, record: &str, blob: &Blob, anchor: &str) -> Result<String, Fault> {
    let bytes = cx.bytes(record, blob)?;
    let ending = blob.name.rsplit_once('.').map_or("bin", |(_, ending)| ending);
    let name = format!("{record}-{}.{ending}", anchor.trim_matches(['<', '>']));
    let path = cx.scratch().map_err(Fault::stop)?.join(name);
    std::fs::write(&path, bytes).map_err(Fault::stop)?;
    Ok(path.to_string_lossy().into_owned())
}

struct Curated<I> {
    metrics: Vec<Arc<dyn Metric>>,
    reads: PhantomData<fn() -> I>,
}

impl<I> Curated<I> {
    fn new(metrics: Vec<Arc<dyn Metric>>) -> Curated<I> {
        Curated {
            metrics,
            reads: PhantomData,
        }
    }
}

impl<I: Shown + 'static> Stage for Curated<I> {
    type In = I;
    type Out = Score;
    const NAME: &'static str = "score";
    const VERSION: u32 = 1;

    fn settings(&self) -> Value {
        let of = |metric: &Arc<dyn Metric>| json!({ "metric": metric.name(), "version": metric.version(), "settings": metric.settings() });
        json!({ "metrics": self.metrics.iter().map(of).collect::<Vec<_>>() })
    }

    fn guarded(&self) -> bool {
        true
    }

    fn run(&self, input: I, cx: &Cx<'_>) -> Result<Vec<Score>, Fault> {
        let clip = input.clip();
        let span = Span {
            start: clip.start,
            end: clip.end,
        };
        let metrics: Vec<&dyn Metric> = self.metrics.iter().map(AsRef::as_ref).collect();
        let going = || !cx.cancel.is_cancelled();
        let taken = measure(
            &cx.root.join(&clip.path),
            &span,
            input.case(cx)?,
            &metrics,
            &going,
        );
        match taken {
            Ok(taken) => Ok(taken.into_iter().flat_map(|taken| rows(clip, taken)).collect()),
            Err(Unscored {
                fault: Fault::Drop(reason),
                ..
            }) => Ok(self.missing(clip, &reason)),
            Err(Unscored { fault, .. }) => Err(fault),
        }
    }
}

impl<I> Curated<I> {
    /// Every reading of every metric, absent: the clip could be probed and can no longer be decoded.
    fn missing(&self, clip: &Clip, reason: &str) -> Vec<Score> {
        let taken = self.metrics.iter().map(|metric| Taken {
            metric: metric.name(),
            readings: metric
                .readings()
                .into_iter()
                .map(|reading| absent(reading, reason))
                .collect(),
            detail: None,
        });
        taken.flat_map(|taken| rows(clip, taken)).collect()
    }
}

/// What the readings were made from is left out: at millions of clips it would outweigh all other records together.
fn rows(clip: &Clip, taken: Taken) -> impl Iterator<Item = Score> {
    let key = clip.clip.clone();
    let row = move |reading: Scored| Score {
        scored: key.clone(),
        metric: taken.metric.to_owned(),
        reading: reading.name,
        value: reading.value,
        absent: reading.absent,
        unit: reading.unit.to_owned(),
        better: reading.better.word().to_owned(),
        ..Score::default()
    };
    taken.readings.into_iter().map(row)
}
