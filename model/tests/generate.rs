//! A request through a whole tiny checkpoint whose weights matter (from the formula, since fresh ones have a head of zeros).

use candle_core::{DType, Device, Tensor};
use omni_model::{
    Error,
    checkpoint::{CONFIG, Checkpoint, Config, Network, Preset, init, seal},
    codec::{Codec, Linear, clip_tensor},
    generate::{Event, GuidanceMode, Made, Picture, Place, Precision, Request, Subject, generate},
    sample::SolverKind,
    weights::{Entry, Formula, Found, Source, Weights, write_parts},
};
use std::{ops::ControlFlow, path::Path};

/// A tiny checkpoint with weights of the formula.
fn checkpoint(folder: &Path) -> Checkpoint {
    let place = folder.join("c");
    let config = Config::preset(Preset::Tiny, 1).unwrap();
    init(&config, Precision::F32, &place).unwrap();
    let shapes = Weights::shapes_only();
    Network::new(&config, &shapes).unwrap();
    let entry = |(name, shape)| Entry {
        name,
        dtype: DType::F32,
        shape,
    };
    let entries: Vec<Entry> = shapes.asked().into_iter().map(entry).collect();
    let formula = Formula { seed: 5 };
    write_parts(
        &place,
        "model",
        &entries,
        1 << 30,
        &mut |entry| match formula.load(&entry.name, &entry.shape, &Device::Cpu)? {
            Found::Tensor(tensor) => Ok(tensor),
            _ => panic!("the formula has every tensor"),
        },
    )
    .unwrap();
    seal(&place).unwrap();
    assert!(place.join(CONFIG).exists());
    Checkpoint::open(&place).unwrap()
}

fn picture(seed: usize) -> Picture {
    Picture {
        width: 20,
        height: 10,
        rgb: (0..600).map(|k| (k * seed % 251) as u8).collect(),
    }
}

fn voice(pitch: f32) -> Vec<f32> {
    (0..20_000).map(|k| (k as f32 * pitch).sin() * 0.3).collect()
}

fn request() -> Request {
    let subject = |anchor: &str, seed: usize| Subject {
        anchor: anchor.to_owned(),
        face: Some(picture(seed)),
        voice: Some(voice(0.01 * seed as f32)),
    };
    Request {
        prompt: "A man <sub1> sits. A woman <sub2> asks, <S>Coming?<E> <sub1> says, <S>No.<E>".to_owned(),
        spans: None,
        negative_video: "blur".to_owned(),
        negative_audio: "noise".to_owned(),
        subjects: vec![subject("<sub1>", 7), subject("<sub2>", 11)],
        first_frame: None,
        width: 64,
        height: 32,
        frames: 2,
        sounds: 8,
        steps: 2,
        solver: SolverKind::UniPc,
        shift: 5.0,
        guidance_video: 2.0,
        guidance_audio: 2.0,
        guidance_mode: GuidanceMode::Ref3,
        slg_layer: 1,
        seed: 3,
    }
}

fn made(checkpoint: &Checkpoint, request: &Request) -> Made {
    let place = Place::parse("cpu", None).unwrap();
    let mut sizes = Vec::new();
    let made = generate(
        checkpoint,
        request,
        &place,
        &mut |_| ControlFlow::Continue(()),
        &mut |picture| {
            sizes.push((picture.width, picture.height, picture.rgb.len()));
            Ok(())
        },
    )
    .unwrap();
    let one = (request.width, request.height, request.width * request.height * 3);
    assert_eq!(sizes, vec![one; 4 * (request.frames - 1) + 1]);
    assert_eq!(made.sound.len(), 512 * request.sounds);
    made
}

#[test]
fn everything_that_is_given_matters_and_the_same_again_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(folder.path());
    let base = made(&checkpoint, &request());
    assert_eq!(base.latents_hash, made(&checkpoint, &request()).latents_hash);
    type Change = fn(&mut Request);
    let changes: [(&str, Change); 10] = [
        ("seed", |r| r.seed = 4),
        ("prompt", |r| r.prompt = r.prompt.replace("No.", "Yes")),
        ("negative video", |r| r.negative_video = "sharp".to_owned()),
        ("negative audio", |r| r.negative_audio = "clear".to_owned()),
        ("face", |r| r.subjects[0].face = Some(picture(13))),
        ("voice", |r| r.subjects[1].voice = Some(voice(0.3))),
        ("no references", |r| {
            r.subjects
                .iter_mut()
                .for_each(|s| (s.face, s.voice) = (None, None))
        }),
        ("guidance mode", |r| r.guidance_mode = GuidanceMode::Ovi),
        ("skipped layer", |r| r.slg_layer = 0),
        ("solver", |r| r.solver = SolverKind::Euler),
    ];
    let mut seen = vec![base.latents_hash];
    for (what, change) in changes {
        let mut other = request();
        change(&mut other);
        let hash = made(&checkpoint, &other).latents_hash;
        assert!(!seen.contains(&hash), "{what}");
        seen.push(hash);
    }
}

#[test]
fn a_first_frame_stays_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(folder.path());
    let first = picture(3);
    let wanted = Request {
        first_frame: Some(first.clone()),
        ..request()
    };
    let made = made(&checkpoint, &wanted);
    let tensors = candle_core::safetensors::load_buffer(&made.latents, &Device::Cpu).unwrap();
    let own = tensors["video"].narrow(1, 0, 1).unwrap();
    let rgb = first.stretched(64, 32).unwrap().rgb;
    let given = Linear::new()
        .unwrap()
        .encode_video(&clip_tensor(&[rgb], 64, 32).unwrap())
        .unwrap();
    let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(values(&own), values(&given));
}

#[test]
fn whoever_watches_can_stop_between_passes_and_sees_every_phase() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(folder.path());
    let place = Place::parse("cpu", None).unwrap();
    let mut events = Vec::new();
    let stopped = generate(
        &checkpoint,
        &request(),
        &place,
        &mut |event| {
            let stop = event == Event::Step(1, 2);
            events.push(event);
            if stop {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
        &mut |_| Ok(()),
    );
    assert!(matches!(stopped, Err(Error::Stopped)));
    let phases: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Phase(name) => Some(*name),
            _ => None,
        })
        .collect();
    assert_eq!(phases, ["text", "encode", "load", "denoise"]);
}

#[test]
fn other_types_come_near() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(folder.path());
    let latents = |dtype: &str| {
        let place = Place::parse("cpu", Some(dtype)).unwrap();
        let made = generate(
            &checkpoint,
            &request(),
            &place,
            &mut |_| ControlFlow::Continue(()),
            &mut |_| Ok(()),
        );
        candle_core::safetensors::load_buffer(&made.unwrap().latents, &Device::Cpu).unwrap()
    };
    let (exact, near) = (latents("f32"), latents("bf16"));
    for name in ["video", "audio"] {
        let norm = |x: &Tensor| {
            x.sqr()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
                .sqrt()
        };
        let off = norm(&(&exact[name] - &near[name]).unwrap()) / norm(&exact[name]);
        assert!(off > 0.0 && off < 0.1, "{name}: {off}");
    }
}
