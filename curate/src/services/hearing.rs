//! Whether an MLLM server hears at all: some take the sound of a request and drop it without an error, and then every
//! transcript would be made up. Before the first clip of a run two sounds go out with the same words; a server that says
//! the same of both is not used.

use super::{
    Endpoint, Hub,
    ask::{self, Route},
    question::{Part, Question},
    qwen,
};
use omni_media::Waveform;
use omni_net::service::Call;
use omni_pipeline::{Cx, Fault, Wait};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};

const WORDS: &str =
    "You hear some separate tones. Count them. Answer with a JSON object of one field, `tones`, the count.";
const RATE: u32 = 16_000;

/// The probe of one stage: done once, by whoever comes first.
pub struct Hearing {
    wanted: bool,
    known: Mutex<Option<bool>>,
}

impl Hearing {
    /// A probe that was not made yet; none is ever made unless it is `wanted`.
    pub fn new(wanted: bool) -> Hearing {
        Hearing {
            wanted,
            known: Mutex::default(),
        }
    }

    /// Asks, unless that was done in this run, or answers come from a recording. An answer that an earlier run wrote down
    /// says nothing of the server as it is now, so the question has this run's name.
    ///
    /// # Errors
    /// Leaves the clip pending when the server is deaf or cannot be asked.
    pub fn check(&self, hub: &Hub, route: &Route<'_>, endpoint: &Endpoint, cx: &Cx<'_>) -> Result<(), Fault> {
        let Some(run) = hub.live().filter(|_| self.wanted) else {
            return Ok(());
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let hears = match *known {
            Some(hears) => hears,
            None => *known.insert(probe(route, endpoint, run, cx)?),
        };
        drop(known);
        match hears {
            true => Ok(()),
            false => Err(Fault::Wait(Wait {
                on: qwen::SERVICE.to_owned(),
                why: "deaf".to_owned(),
                what: "the server says the same of two different sounds, so it does not hear: serve the model with audio \
                       (`probe_sound = false` passes over this check)"
                    .to_owned(),
            })),
        }
    }
}

fn probe(route: &Route<'_>, endpoint: &Endpoint, run: &str, cx: &Cx<'_>) -> Result<bool, Fault> {
    let mut heard = Vec::new();
    for tones in [1, 4] {
        let wav = omni_media::wav_s16(&sound(tones));
        let prompt = format!("sound_probe@1/{run}");
        let schema = json!({
            "type": "object", "properties": {"tones": {"type": "integer"}}, "required": ["tones"],
            "additionalProperties": false,
        });
        let question = Question {
            prompt: &prompt,
            words: WORDS,
            schema: ("tones", schema),
            parts: vec![Part::Sound {
                wav: Arc::new(wav),
                seconds: seconds(tones),
            }],
            seed: 7,
            max_tokens: 64,
        };
        let call = Call {
            // About no clip, which is not the same as not saying so.
            clips: vec![String::new()],
            ..qwen::call(&question, route.model, endpoint, None)
        };
        let reply = ask::send(route, &call, cx)?;
        // An answer that breaks the rules, `not_heard` among them, is no sign of hearing.
        heard.push(qwen::read(&reply).ok().and_then(|said| said["tones"].as_i64()));
    }
    Ok(heard.iter().all(Option::is_some) && heard[0] != heard[1])
}

fn seconds(tones: u32) -> f64 {
    0.5 * f64::from(tones)
}

/// Tones of 0.3 s with 0.2 s of silence behind each.
fn sound(tones: u32) -> Waveform {
    let samples = (seconds(tones) * f64::from(RATE)) as usize;
    let sample = |at: usize| {
        let time = at as f64 / f64::from(RATE);
        let on = time % 0.5 < 0.3;
        if on {
            (0.3 * (time * 440.0 * std::f64::consts::TAU).sin()) as f32
        } else {
            0.0
        }
    };
    Waveform {
        rate: RATE,
        samples: (0..samples).map(sample).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tones_are_apart() {
        let wave = sound(4);
        assert_eq!(wave.samples.len(), 32_000);
        let loud = |from: f64, to: f64| {
            let part = &wave.samples[(from * 16_000.0) as usize..(to * 16_000.0) as usize];
            part.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()))
        };
        for start in [0.0, 0.5, 1.0, 1.5] {
            assert!(loud(start, start + 0.3) > 0.29 && loud(start + 0.31, start + 0.49) == 0.0);
        }
    }
}
