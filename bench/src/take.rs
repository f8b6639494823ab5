//! One generated clip on its way past all metrics.

use std::{ops::ControlFlow, path::Path, sync::OnceLock};

use omni_media::{
    AudioInfo, Frame, Limits, Pcm, Span, VideoInfo, Waveform, probe, read_audio, read_audio_16k,
    read_frames_twice, resample_sinc,
};
use omni_pipeline::Fault;
use omni_schemas::Case;
use serde::Serialize;
use serde_json::Value;

use crate::metric::{Measured, Metric, Outcome, Reading, Scoring};

/// What is known of a clip before it is decoded, and what it was made from.
#[derive(Clone, Debug)]
pub struct TakeInfo {
    /// Its pictures, if any.
    pub video: Option<VideoInfo>,
    /// Its sound, if any.
    pub audio: Option<AudioInfo>,
    /// What it was to show; paths can be opened as they are.
    pub case: Case,
}

/// The sound of a clip, in the forms that networks take.
pub struct Sound {
    pcm: Pcm,
    speech: Waveform,
    sinc: OnceLock<Vec<f32>>,
}

impl Sound {
    /// As it is in the file.
    pub fn pcm(&self) -> &Pcm {
        &self.pcm
    }

    /// 16 kHz mono as the `ffmpeg` command mixes and resamples it: what Whisper and SyncNet hear.
    pub fn speech(&self) -> &[f32] {
        &self.speech.samples
    }

    /// 16 kHz mono: channels averaged, then torchaudio's resampler.
    pub fn sinc(&self) -> &[f32] {
        self.sinc
            .get_or_init(|| resample_sinc(&self.pcm.mono().samples, self.pcm.rate, 16_000))
    }

    /// Whether every sample is zero.
    pub fn is_silent(&self) -> bool {
        self.pcm.samples.iter().all(|x| *x == 0.0)
    }
}

/// One reading of one clip, as it is written down.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// The reading's full name.
    pub name: String,
    /// The number; null when it is absent.
    pub value: Option<f64>,
    /// Why it is absent, in one fixed word; null when it is not.
    pub absent: Option<String>,
    /// Unit, empty for plain numbers.
    pub unit: &'static str,
    /// Which way is better.
    pub better: crate::metric::Better,
}

impl Scored {
    /// A metric that could not be made at all.
    pub fn absent(name: &str, word: &str) -> Scored {
        Scored {
            name: name.to_owned(),
            value: None,
            absent: Some(word.to_owned()),
            unit: "",
            better: crate::metric::Better::Higher,
        }
    }
}

/// What one metric made of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// The metric.
    pub metric: &'static str,
    /// Its readings.
    pub readings: Vec<Scored>,
    /// What they were made from; decides nothing.
    pub detail: Option<Value>,
}

/// A metric on the clip, until it says why it cannot go on.
enum At<'a> {
    Work(Box<dyn Scoring + 'a>),
    Gone(String),
}

impl At<'_> {
    /// It does not go on, unless it had gone before.
    fn lose(&mut self, reason: &str) {
        if let At::Work(_) = self {
            *self = At::Gone(reason.to_owned());
        }
    }
}

/// Why a clip has no readings at all.
#[derive(Debug)]
pub struct Unscored {
    /// [`Fault::Drop`] with the media's reason when the clip cannot be read; [`Fault::Stop`] when a network fails.
    pub fault: Fault,
    /// What the decoder said, where it was the decoder; without the path of the file.
    pub why: Option<String>,
}

impl From<Fault> for Unscored {
    fn from(fault: Fault) -> Unscored {
        Unscored { fault, why: None }
    }
}

/// Scores one clip with all metrics, decoding it once.
///
/// # Errors
/// As [`measure`].
pub fn score(path: &Path, case: Case, metrics: &[Box<dyn Metric>]) -> Result<Vec<Scored>, Unscored> {
    let metrics: Vec<&dyn Metric> = metrics.iter().map(AsRef::as_ref).collect();
    let taken = measure(path, &Span::default(), case, &metrics, &|| true)?;
    Ok(taken.into_iter().flat_map(|taken| taken.readings).collect())
}

/// As [`score`], of a stretch of a file, metric by metric, with what the readings were made from. `going` is asked at every frame; once it says
/// no, the result is a fault that means nothing.
///
/// # Errors
/// [`Unscored`] when the clip cannot be read, or a network fails.
pub fn measure(
    path: &Path,
    span: &Span,
    case: Case,
    metrics: &[&dyn Metric],
    going: &dyn Fn() -> bool,
) -> Result<Vec<Taken>, Unscored> {
    let limits = Limits::default();
    let unreadable = |error| unreadable(path, error);
    let info = probe(path, span, &limits).map_err(unreadable)?;
    let take = TakeInfo {
        video: info.video,
        audio: info.audio,
        case,
    };
    let mut working = Vec::new();
    for metric in metrics {
        working.push(match metric.start(&take) {
            Ok(scoring) => At::Work(scoring),
            Err(Fault::Drop(reason)) => At::Gone(reason),
            Err(stop) => return Err(stop.into()),
        });
    }
    if take.audio.is_some() && metrics.iter().any(|metric| metric.hears()) {
        let sound = Sound {
            pcm: read_audio(path, span, &limits).map_err(unreadable)?,
            speech: read_audio_16k(path, span, &limits).map_err(unreadable)?,
            sinc: OnceLock::new(),
        };
        let sane = sound.pcm.samples.iter().all(|x| x.is_finite());
        for (at, metric) in working.iter_mut().zip(metrics) {
            going();
            match sane || !metric.hears() {
                true => feed(at, |scoring| scoring.audio(&sound))?,
                // Every network would make some number of it.
                false => at.lose("nan"),
            }
        }
    }
    if take.video.is_some() && metrics.iter().any(|metric| metric.sees()) {
        show((path, span), metrics, &mut working, going)?;
    }
    let mut out = Vec::new();
    for (metric, at) in metrics.iter().zip(working) {
        going();
        out.push(taken(*metric, at)?);
    }
    Ok(out)
}

/// Shows every frame to the metrics that look, and once more to those that ask for it.
fn show(
    clip: (&Path, &Span),
    metrics: &[&dyn Metric],
    working: &mut [At<'_>],
    going: &dyn Fn() -> bool,
) -> Result<(), Unscored> {
    let looking = working
        .iter_mut()
        .zip(metrics)
        .filter(|(_, metric)| metric.sees());
    let mut looking: Vec<&mut At<'_>> = looking.map(|(at, _)| at).collect();
    pass(clip, &mut looking, going)?;
    let mut again = Vec::new();
    for at in looking {
        let mut wanted = false;
        feed(at, |scoring| {
            wanted = scoring.again()?;
            Ok(())
        })?;
        if wanted {
            again.push(at);
        }
    }
    match again.is_empty() {
        true => Ok(()),
        false => pass(clip, &mut again, going),
    }
}

/// One decode.
fn pass(
    (path, span): (&Path, &Span),
    looking: &mut [&mut At<'_>],
    going: &dyn Fn() -> bool,
) -> Result<(), Unscored> {
    let mut stopped = Ok(());
    let mut show = |frame: Frame<'_>| {
        if !going() {
            stopped = Err(Fault::drop("cancelled"));
        }
        if stopped.is_ok() {
            stopped = looking
                .iter_mut()
                .try_for_each(|at| feed(at, |scoring| scoring.frame(&frame)));
        }
        if stopped.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    read_frames_twice(path, span, &Limits::default(), &mut show).map_err(|error| unreadable(path, error))?;
    Ok(stopped?)
}

fn unreadable(path: &Path, error: omni_media::Error) -> Unscored {
    let said = error.to_string();
    let said = said
        .strip_prefix(&format!("{}: ", path.display()))
        .unwrap_or(&said);
    Unscored {
        fault: Fault::drop(error.reason()),
        why: Some(said.to_owned()),
    }
}

/// Hands something to a metric that is still at work; it is gone once it says why it cannot go on.
fn feed<'a>(
    at: &mut At<'a>,
    give: impl FnOnce(&mut Box<dyn Scoring + 'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let At::Work(scoring) = at else { return Ok(()) };
    match give(scoring) {
        Err(Fault::Drop(reason)) => {
            *at = At::Gone(reason);
            Ok(())
        }
        other => other,
    }
}

fn taken(metric: &dyn Metric, at: At<'_>) -> Result<Taken, Fault> {
    let measured = match at {
        At::Gone(reason) => Err(reason),
        At::Work(scoring) => match scoring.finish() {
            Ok(measured) => Ok(measured),
            Err(Fault::Drop(reason)) => Err(reason),
            Err(stop) => return Err(stop),
        },
    };
    let (outcomes, detail) = match measured {
        Ok(Measured { outcomes, detail }) => (Ok(outcomes), detail),
        Err(reason) => (Err(reason), None),
    };
    let readings = metric.readings().into_iter().enumerate();
    Ok(Taken {
        metric: metric.name(),
        readings: readings
            .map(|(i, reading)| written(reading, i, &outcomes))
            .collect(),
        detail,
    })
}

fn written(reading: Reading, i: usize, outcomes: &Result<Vec<Outcome>, String>) -> Scored {
    let (value, absent) = match outcomes {
        Err(reason) => (None, Some(reason.clone())),
        Ok(outcomes) => match outcomes.get(i) {
            Some(Outcome::Value(value)) => (Some(*value), None),
            Some(Outcome::Absent(why)) => (None, Some((*why).to_owned())),
            None => (None, Some("not_given".to_owned())),
        },
    };
    Scored {
        name: reading.name,
        value,
        absent,
        unit: reading.unit,
        better: reading.better,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Better;
    use serde_json::json;

    /// Gives its two readings, or goes away at a chosen step.
    struct Toy(&'static str);

    impl Metric for Toy {
        fn name(&self) -> &'static str {
            "toy"
        }

        fn version(&self) -> u32 {
            1
        }

        fn readings(&self) -> Vec<Reading> {
            ["a", "b"]
                .map(|name| Reading::plain(name, None, Better::Higher))
                .to_vec()
        }

        fn settings(&self) -> Value {
            json!({})
        }

        fn sees(&self) -> bool {
            true
        }

        fn hears(&self) -> bool {
            self.0 == "ears"
        }

        fn start<'a>(&'a self, _take: &'a TakeInfo) -> Result<Box<dyn Scoring + 'a>, Fault> {
            match self.0 {
                "start" => Err(Fault::drop("not_mine")),
                "broken" => Err(Fault::stop("no network")),
                step => Ok(Box::new(Counting(step, 0))),
            }
        }
    }

    struct Counting(&'static str, u32);

    impl Scoring for Counting {
        fn frame(&mut self, _frame: &Frame<'_>) -> Result<(), Fault> {
            self.1 += 1;
            if self.0 == "frame" {
                Err(Fault::drop("enough"))
            } else {
                Ok(())
            }
        }

        fn finish(self: Box<Self>) -> Result<Measured, Fault> {
            let outcomes = vec![
                Outcome::Value(f64::from(self.1)),
                Outcome::of(Some(f64::NAN), "never"),
            ];
            Ok(Measured::with(outcomes, json!({ "frames": self.1 })))
        }
    }

    #[test]
    fn one_metric_that_goes_away_disturbs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let clip = folder.path().join("clip.mp4");
        let made = std::process::Command::new("ffmpeg")
            .args([
                "-nostdin",
                "-loglevel",
                "error",
                "-f",
                "lavfi",
                "-i",
                "testsrc=size=32x32:rate=5:duration=1",
            ])
            .arg(&clip)
            .status();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: no `ffmpeg` command");
            return;
        }
        let toys = |steps: &[&'static str]| -> Vec<Box<dyn Metric>> {
            steps
                .iter()
                .map(|step| Box::new(Toy(step)) as Box<dyn Metric>)
                .collect()
        };
        let got = score(&clip, Case::default(), &toys(&["start", "frame", "none"])).unwrap();
        let said: Vec<_> = got
            .iter()
            .map(|scored| (scored.value, scored.absent.as_deref()))
            .collect();
        assert_eq!(
            said,
            [
                (None, Some("not_mine")),
                (None, Some("not_mine")),
                (None, Some("enough")),
                (None, Some("enough")),
                (Some(5.0), None),
                (None, Some("nan")),
            ]
        );
        let toys_of_run: Vec<&dyn Metric> = vec![&Toy("frame"), &Toy("none")];
        let taken = measure(&clip, &Span::default(), Case::default(), &toys_of_run, &|| true).unwrap();
        assert_eq!((taken[0].detail.as_ref(), taken[0].metric), (None, "toy"));
        assert_eq!(taken[1].detail, Some(json!({ "frames": 5 })));
        let stopped = measure(&clip, &Span::default(), Case::default(), &toys_of_run, &|| false);
        assert!(matches!(stopped, Err(Unscored { fault: Fault::Drop(reason), .. }) if reason == "cancelled"));
        assert!(matches!(
            score(&clip, Case::default(), &toys(&["broken"])),
            Err(Unscored {
                fault: Fault::Stop(_),
                ..
            })
        ));
        let gone = score(&folder.path().join("gone.mp4"), Case::default(), &toys(&["none"]));
        let Err(Unscored {
            fault: Fault::Drop(reason),
            why: Some(why),
        }) = gone
        else {
            panic!("{gone:?}");
        };
        assert!(
            reason == "not_found" && why.starts_with("cannot be opened"),
            "{why}"
        );
    }

    /// A WAV file of 32-bit floats at 16 kHz.
    fn wave(samples: &[f32]) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut out = b"RIFF".to_vec();
        out.extend((36 + data.len() as u32).to_le_bytes());
        out.extend(b"WAVEfmt ");
        out.extend(16_u32.to_le_bytes());
        // IEEE floats, one channel.
        out.extend([3, 0, 1, 0]);
        out.extend(16_000_u32.to_le_bytes());
        out.extend(64_000_u32.to_le_bytes());
        out.extend([4, 0, 32, 0]);
        out.extend(b"data");
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn what_listens_has_no_reading_of_sound_that_holds_no_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let clip = folder.path().join("clip.wav");
        let words = |samples: &[f32]| -> Vec<Option<String>> {
            std::fs::write(&clip, wave(samples)).unwrap();
            let toys: Vec<Box<dyn Metric>> = vec![Box::new(Toy("ears")), Box::new(Toy("none"))];
            let got = score(&clip, Case::default(), &toys).unwrap();
            got.into_iter().map(|scored| scored.absent).collect()
        };
        let nan = || Some("nan".to_owned());
        assert_eq!(words(&[0.25; 16_000]), [None, nan(), None, nan()]);
        let mut odd = [0.25; 16_000];
        odd[8000] = f32::NAN;
        assert_eq!(words(&odd), [nan(), nan(), None, nan()]);
    }
}
