use super::*;
use crate::take::{Taken, measure};
use omni_perception::{runtime::Calls, syncnet::crop::crop, vision::Face, vision::assign::ShotTrack};
use omni_schemas::Case;
use std::{path::Path, process::Command};

/// Sees one face, always in one place, and everybody alike.
struct Toy(Network);

impl Toy {
    fn new(id: &str) -> Arc<Toy> {
        Arc::new(Toy(Network {
            id: id.to_owned(),
            hash: String::new(),
        }))
    }
}

impl FaceDetector for Toy {
    fn network(&self) -> &Network {
        &self.0
    }

    fn detect(&self, _image: &Image) -> Result<Vec<Face>, Error> {
        Ok(vec![Face {
            bbox: [100.0, 60.0, 230.0, 190.0],
            score: 0.9,
            points: [[0.0; 2]; 5],
        }])
    }

    fn track_score(&self) -> f32 {
        0.5
    }

    fn calls(&self) -> Calls {
        Calls::default()
    }
}

impl FaceEmbedder for Toy {
    fn network(&self) -> &Network {
        &self.0
    }

    fn embed(&self, _image: &Image, _points: &[[f32; 2]; 5]) -> Result<Vec<f32>, Error> {
        Ok(vec![1.0, 0.0])
    }

    fn threshold(&self) -> f32 {
        0.5
    }

    fn calls(&self) -> Calls {
        Calls::default()
    }
}

/// Lips are as bright as the picture in the middle of a window, sound as loud.
impl Lips for Toy {
    fn network(&self) -> &Network {
        &self.0
    }

    fn lips(&self, faces: &[Image], count: usize) -> Result<Vec<f32>, Error> {
        let centre = |face: &Image| f32::from(face.data[(112 * face.width + 112) * 3]) - 110.0;
        Ok((0..count).map(|i| centre(&faces[i + 2])).collect())
    }

    fn sound(&self, cepstra: &[[f64; COEFFICIENTS]], count: usize) -> Result<Vec<f32>, Error> {
        let loud = |i: usize| (cepstra[4 * i + 8][0] + cepstra[4 * i + 9][0]) / 2.0;
        let mean = (0..count).map(loud).sum::<f64>() / count as f64;
        Ok((0..count).map(|i| ((loud(i) - mean) * 5.0) as f32).collect())
    }
}

const PICTURES_MADE: usize = 100;

/// A number for each picture, -10 to 10, with no rhythm.
fn level(i: usize) -> i64 {
    ((i * i * 7 + i * 13) % 21) as i64 - 10
}

/// A clip whose sound is as loud as its pictures are bright, `late` pictures later.
fn clip(folder: &std::path::Path, late: usize) -> Option<std::path::PathBuf> {
    let pictures: Vec<u8> = (0..PICTURES_MADE)
        .flat_map(|i| vec![(110 + level(i)) as u8; 320 * 240])
        .collect();
    let sample = |n: usize| {
        let of = (n / SAMPLES).checked_sub(late).map_or(0, level) as f64;
        let tone = (n as f64 * 0.7).sin() * 3000.0 * (of / 10.0).exp();
        (tone.clamp(-32000.0, 32000.0) as i16).to_le_bytes()
    };
    let sound: Vec<u8> = (0..PICTURES_MADE * SAMPLES).flat_map(sample).collect();
    let (seen, heard, out) = (
        folder.join("v"),
        folder.join("a"),
        folder.join(format!("{late}.mkv")),
    );
    std::fs::write(&seen, pictures).unwrap();
    std::fs::write(&heard, sound).unwrap();
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-loglevel",
            "error",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-s",
            "320x240",
            "-r",
            "25",
            "-i",
        ])
        .arg(&seen)
        .args(["-f", "s16le", "-ar", "16000", "-ac", "1", "-i"])
        .arg(&heard)
        .args(["-c:v", "ffv1", "-c:a", "pcm_s16le"])
        .arg(&out)
        .status();
    let made = made.is_ok_and(|status| status.success());
    if !made {
        println!("skipped: no `ffmpeg` command");
    }
    made.then_some(out)
}

/// The readings of the whole clip.
fn taken(clip: &Path, metric: &LipSync) -> Vec<Taken> {
    let span = omni_media::Span::default();
    measure(clip, &span, Case::default(), &[metric], &|| true).unwrap()
}

#[test]
fn sound_that_comes_later_is_found_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let metric = LipSync::new(Toy::new("toy"), Toy::new("eyes"), Toy::new("memory"));
    for late in [0usize, 3] {
        let Some(clip) = clip(folder.path(), late) else {
            return;
        };
        let taken = taken(&clip, &metric);
        let readings = &taken[0].readings;
        assert_eq!(readings[0].name, "sync_c@toy+eyes");
        let (confidence, distance) = (readings[0].value.unwrap(), readings[1].value.unwrap());
        assert!(confidence > 3.0 && distance < 3.0, "{confidence} {distance}");
        let detail = taken[0].detail.as_ref().unwrap();
        assert_eq!(detail["tracks"][0]["offset"], -(late as i64), "{detail}");
        assert_eq!(
            (&detail["tracks"][0]["start"], &detail["tracks"][0]["end"]),
            (&0.into(), &99.into())
        );
        assert_eq!(detail["curve"].as_array().unwrap().len(), 2 * SHIFT + 1);
    }
}

#[test]
fn all_tracks_are_another_reading_and_another_setting() {
    let metric = |mode| LipSync::new(Toy::new("toy"), Toy::new("eyes"), Toy::new("memory")).with_mode(mode);
    let names = |mode| -> Vec<String> {
        let readings = metric(mode).readings();
        readings.into_iter().map(|reading| reading.name).collect()
    };
    assert_eq!(names(Mode::AllTracks), ["sync_c_all@toy+eyes"]);
    assert_eq!(names(Mode::Speaking), ["sync_c@toy+eyes", "sync_d@toy+eyes"]);
    assert_ne!(
        metric(Mode::AllTracks).settings(),
        metric(Mode::Speaking).settings()
    );
    assert_eq!(Mode::of("all-tracks"), Some(Mode::AllTracks));
    assert_eq!(Mode::of("all"), None);
    let folder = tempfile::tempdir().unwrap();
    let Some(clip) = clip(folder.path(), 0) else {
        return;
    };
    let readings = |mode| {
        let metric = metric(mode);
        let taken = taken(&clip, &metric);
        taken[0].readings.clone()
    };
    // One track: all of them are that one.
    let (all, speaking) = (readings(Mode::AllTracks), readings(Mode::Speaking));
    assert_eq!((all.len(), all[0].value), (1, speaking[0].value));
}

fn track(subject: Option<usize>, length: usize) -> Track {
    let straight = ShotTrack {
        first_frame: 0,
        bbox: vec![[100.0, 60.0, 230.0, 190.0]; length],
    };
    Track::new(&straight, subject, 1 << 20)
}

fn offsets(confidence: f32, distance: f32) -> Offsets {
    Offsets {
        distances: Vec::new(),
        mean: vec![distance; 31],
        offset: 0,
        distance,
        confidence,
    }
}

#[test]
fn pieces_give_what_the_whole_gives() {
    let toy = Toy::new("toy");
    let mut track = track(None, 73);
    let image = |i: usize| Image {
        width: 320,
        height: 240,
        data: vec![(110 + level(i)) as u8; 320 * 240 * 3],
    };
    let faces: Vec<Image> = (0..73).map(|i| crop(&image(i), &track.places[i])).collect();
    for i in 0..73 {
        track.look(toy.as_ref(), i, &image(i)).unwrap();
        assert!(track.faces.len() <= HELD);
    }
    assert_eq!(track.count, 68);
    assert_eq!(track.vectors, toy.lips(&faces, 68).unwrap());
}

#[test]
fn a_subjects_tracks_count_by_length_and_strangers_only_when_nobody_is_known() {
    let values = |found: &[(Track, Offsets)], subjects: usize| {
        outcome(found, subjects)
            .outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Value(value) => value,
                Outcome::Absent(_) => f64::NAN,
            })
            .collect::<Vec<_>>()
    };
    let known = [
        (track(Some(0), 60), offsets(4.0, 8.0)),
        (track(Some(0), 180), offsets(8.0, 6.0)),
        (track(Some(1), 60), offsets(1.0, 10.0)),
        (track(None, 60), offsets(9.0, 1.0)),
    ];
    assert_eq!(values(&known, 2), [4.0, 8.25]);
    let all = |found: &[(Track, Offsets)]| all_tracks(found).outcomes;
    assert_eq!(all(&known), [Outcome::Value(5.5)], "whoever, however long");
    assert_eq!(all(&[]), [Outcome::Absent("no_track")]);
    let strangers = [
        (track(None, 60), offsets(2.0, 9.0)),
        (track(None, 60), offsets(3.0, 11.0)),
    ];
    assert_eq!(values(&strangers, 2), [3.0, 11.0]);
    assert!(values(&[], 1)[0].is_nan());
}
