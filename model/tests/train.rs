//! The trainer: gradients, kinds of steps, ranks, states, and that it learns.

use crate::train_support;
use candle_core::{DType, Device, Tensor, backprop::GradStore};
use omni_model::{
    Error,
    train::{
        Collective, Customizer, CustomizerConfig, Draw, DropSettings, InMemory, Kind, LossSettings, Place,
        Sample, Samples, Solo, States, StepReport, Threads, Trainer, objective, read_log,
    },
    weights::{Formula, Init, Trained, Weights},
};
use std::{collections::BTreeMap, path::Path, time::Duration};
use train_support::{clip, data, recipe, values, with_table};

const NEVER: DropSettings = DropSettings {
    references: 0.0,
    text: 0.0,
    both: 0.0,
};

pub fn network(dtype: DType, recompute: bool) -> (Customizer, Vec<Trained>) {
    let weights = Weights::new(Formula { seed: 4 }, dtype, &Device::Cpu).train(|_| true);
    let model = Customizer::new(&CustomizerConfig::tiny(), &weights, recompute).unwrap();
    (model, weights.trained())
}

fn loss(model: &Customizer, sample: &Sample, kind: Kind) -> Tensor {
    let settings = (&LossSettings::default(), &NEVER);
    objective(model, sample, kind, Draw::new(1, 2, 3), settings)
        .unwrap()
        .total
}

pub fn trainer(recipe: &omni_model::train::Recipe, data: &dyn Samples) -> Result<Trainer, Error> {
    Trainer::new(recipe.clone(), &CustomizerConfig::tiny(), Init { seed: 1 }, data)
}

fn gradients(recompute: bool, kind: Kind) -> BTreeMap<String, Vec<u32>> {
    let (model, trained) = network(DType::F32, recompute);
    let grads: GradStore = loss(&model, &clip("a", "b"), kind).backward().unwrap();
    let bits = |grad: &Tensor| {
        let values = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    let found = trained
        .iter()
        .filter_map(|weight| Some((weight.name.clone(), bits(grads.get(&weight.var)?))));
    found.collect()
}

#[test]
fn recomputed_gradients_are_the_plain_ones_to_the_last_bit() {
    for kind in [Kind::Joint, Kind::Speech] {
        let (plain, recomputed) = (gradients(false, kind), gradients(true, kind));
        assert!(plain.len() > 100, "{}", plain.len());
        assert_eq!(
            plain.keys().collect::<Vec<_>>(),
            recomputed.keys().collect::<Vec<_>>()
        );
        for (name, bits) in &plain {
            assert!(*bits == recomputed[name], "{kind:?} {name}");
        }
    }
}

#[test]
fn steps_on_speech_leave_video_and_fusion_without_a_gradient() {
    let idle = |name: &str| {
        name.starts_with("video_model.") || name.contains("_fusion") || name.starts_with("ocf.in_video.")
    };
    let (joint, speech) = (gradients(true, Kind::Joint), gradients(true, Kind::Speech));
    let (_, trained) = network(DType::F32, true);
    for weight in &trained {
        assert!(
            joint.contains_key(&weight.name),
            "no gradient of `{}` in a joint step",
            weight.name
        );
        assert_eq!(
            speech.contains_key(&weight.name),
            !idle(&weight.name),
            "{}",
            weight.name
        );
    }
    // the reference of timbre is heard
    let (model, _) = network(DType::F32, true);
    let number = |sample: &Sample| loss(&model, sample, Kind::Speech).to_scalar::<f32>().unwrap();
    let mut other = clip("a", "b");
    other.subjects[0].voice = Some(values("another voice", &[5, 20], 1.7));
    assert!((number(&clip("a", "b")) - number(&other)).abs() > 1e-4);
    // and no picture is looked at
    let mut other = clip("a", "b");
    other.subjects[0].picture = Some(values("another face", &[48, 1, 4, 6], 1.7));
    assert_eq!(number(&clip("a", "b")), number(&other));
}

/// Moves a weight by `by` along `along`.
fn moved(weight: &Trained, along: &Tensor, by: f64) {
    let now = weight.var.as_tensor().detach().copy().unwrap();
    weight.var.set(&(now + (along * by).unwrap()).unwrap()).unwrap();
}

#[test]
fn gradients_of_the_objective_agree_with_finite_differences() {
    let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
    let mut sample = clip("a", "b");
    sample.video = sample.video.as_ref().map(wide);
    (sample.audio, sample.text, sample.empty) =
        (wide(&sample.audio), wide(&sample.text), wide(&sample.empty));
    for subject in &mut sample.subjects {
        subject.picture = subject.picture.as_ref().map(wide);
        subject.voice = subject.voice.as_ref().map(wide);
    }
    for said in &mut sample.utterances {
        said.phonemes = said.phonemes.as_ref().map(wide);
    }
    let (model, trained) = network(DType::F64, true);
    let number = || loss(&model, &sample, Kind::Joint).to_scalar::<f64>().unwrap();
    let grads = loss(&model, &sample, Kind::Joint).backward().unwrap();
    // one direction for each part of the network, through all of its weights
    let parts = [
        "ocf.in_",
        "ocf.blocks.1",
        "ocf.modality",
        "mtp_ca.",
        "video_model.blocks.0",
        "video_model.blocks.2",
        "audio_model.blocks.1",
        "audio_model.patch",
        "video_model.patch",
        "video_model.time",
        "audio_model.text",
        "_fusion",
        "head.",
    ];
    for part in parts {
        let chosen: Vec<&Trained> = trained
            .iter()
            .filter(|weight| weight.name.contains(part))
            .collect();
        assert!(!chosen.is_empty(), "{part}");
        let along =
            |weight: &Trained| wide(&values(&format!("along {}", weight.name), weight.var.dims(), 1.0));
        let mut slope = 0.0;
        for weight in &chosen {
            let grad = grads.get(&weight.var).unwrap();
            slope += (grad * along(weight))
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f64>()
                .unwrap();
        }
        let step = 1e-6;
        chosen
            .iter()
            .for_each(|weight| moved(weight, &along(weight), step));
        let above = number();
        chosen
            .iter()
            .for_each(|weight| moved(weight, &along(weight), -2.0 * step));
        let below = number();
        chosen
            .iter()
            .for_each(|weight| moved(weight, &along(weight), step));
        let measured = (above - below) / (2.0 * step);
        let off = (measured - slope).abs() / measured.abs().max(1e-3);
        assert!(off < 1e-5, "{part}: {measured} measured, {slope} computed");
    }
}

fn curve(world: usize) -> Vec<StepReport> {
    let ranks = Threads::ranks(world, Duration::from_secs(60));
    let run = |rank: Threads| {
        let (data, recipe) = (data(5), recipe("steps = 20"));
        let mut trainer = trainer(&recipe, &data).unwrap();
        (0..20)
            .map(|_| trainer.step(&data, &rank).unwrap())
            .collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = ranks
            .into_iter()
            .map(|rank| scope.spawn(move || run(rank)))
            .collect();
        let all: Vec<Vec<StepReport>> = running.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(
            all.iter().all(|curve| *curve == all[0]),
            "ranks of one run tell different things"
        );
        all[0].clone()
    })
}

#[test]
fn one_two_and_four_ranks_give_the_same_curve_on_the_same_samples() {
    let one = curve(1);
    for world in [2, 4] {
        for (a, b) in one.iter().zip(curve(world)) {
            assert_eq!((a.step, &a.ids), (b.step, &b.ids));
            let off = (a.loss / b.loss - 1.0).abs();
            assert!(
                off < 1e-5,
                "step {} with {world} ranks: {} against {}",
                a.step,
                a.loss,
                b.loss
            );
        }
    }
    assert_eq!((one[0].kind, one[1].kind), (Kind::Joint, Kind::Speech));
    assert!(
        one[0].ids.iter().all(|id| id.starts_with("clip"))
            && one[1].ids.iter().all(|id| id.starts_with("said"))
    );
}

#[test]
fn it_learns_a_few_samples_by_heart() {
    let data = data(2);
    let recipe = with_table(
        "steps = 160\npattern = ['joint']\ndropout = { references = 0.0, text = 0.0, both = 0.0 }",
        "keys = ['*']\nmode = 'train'\nlr = 3e-3\n",
    );
    let mut trainer = trainer(&recipe, &data).unwrap();
    let losses: Vec<f64> = (0..160)
        .map(|_| trainer.step(&data, &Solo).unwrap().loss)
        .collect();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&losses[..10]), mean(&losses[150..]));
    assert!(last < 0.5 * first, "{first} to {last}");
}

pub fn dress(_: &Path) -> Result<(), Error> {
    Ok(())
}

fn run_to(folder: &Path, recipe: &omni_model::train::Recipe, stop: u64) -> omni_model::train::Ended {
    let data = data(5);
    let place = Place {
        folder,
        data: "data",
        dress: &dress,
    };
    let mut trainer = trainer(recipe, &data).unwrap();
    place.resume(&mut trainer).unwrap();
    place
        .train(&mut trainer, &data, &Solo, &mut |line| {
            line.report.step + 1 < stop
        })
        .unwrap()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry
                    .path()
                    .strip_prefix(folder)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                all.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    all
}

#[test]
fn a_run_that_was_stopped_ends_with_the_bytes_of_one_that_was_not() {
    let recipe = recipe("steps = 8\nema = 0.9\nkeep = { every = 3, last = 2, milestone = 0 }");
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ended = run_to(whole.path(), &recipe, 99);
    assert!(ended.whole && ended.steps == 8);
    run_to(parts.path(), &recipe, 5);
    // as if it had been killed after step 5 was logged and before its state was written, in the middle of writing one
    std::fs::remove_dir_all(parts.path().join("checkpoints/step-00000005")).unwrap();
    std::fs::create_dir_all(parts.path().join("checkpoints/.writing-5/state")).unwrap();
    let mut log = std::fs::read(parts.path().join("log.jsonl")).unwrap();
    log.extend(b"{\"report\":{\"st");
    std::fs::write(parts.path().join("log.jsonl"), log).unwrap();
    run_to(parts.path(), &recipe, 99);
    let state = |folder: &Path| files(&folder.join("checkpoints"));
    let (a, b) = (state(whole.path()), state(parts.path()));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    assert!(
        a.keys().any(|name| name == "step-00000008/state/ema.safetensors") && a.len() == 8,
        "{:?}",
        a.keys()
    );
    for (name, bytes) in &a {
        assert!(*bytes == b[name], "{name} differs");
    }
    let reports = |folder: &Path| {
        read_log(folder)
            .unwrap()
            .into_iter()
            .map(|line| line.report)
            .collect::<Vec<_>>()
    };
    assert_eq!(reports(whole.path()), reports(parts.path()));
}

#[test]
fn a_state_of_another_run_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let own = recipe("steps = 2");
    run_to(folder.path(), &own, 99);
    let data = data(5);
    let why = |recipe: &omni_model::train::Recipe, name: &str| {
        let place = Place {
            folder: folder.path(),
            data: name,
            dress: &dress,
        };
        let mut trainer = trainer(recipe, &data).unwrap();
        place.resume(&mut trainer).unwrap_err().to_string()
    };
    let other = recipe("steps = 2\nloss = { video = 0.5 }");
    assert!(
        why(&other, "data").contains("`loss` was"),
        "{}",
        why(&other, "data")
    );
    assert!(why(&own, "elsewhere").contains("other data"));
    let mut skipping = own.clone();
    skipping.exclude = vec!["clip-0".to_owned()];
    let place = Place {
        folder: folder.path(),
        data: "data",
        dress: &dress,
    };
    assert_eq!(
        place.resume(&mut trainer(&skipping, &data).unwrap()).unwrap(),
        Some(2)
    );
}

#[test]
fn states_are_kept_by_the_rule_and_a_full_disk_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe("steps = 9\nkeep = { every = 1, last = 2, milestone = 4 }");
    run_to(folder.path(), &recipe, 99);
    let states = States::open(&folder.path().join("checkpoints")).unwrap();
    let kept: Vec<u64> = states.list().unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(kept, [4, 8, 9]);
    let data = data(5);
    let mut trainer = trainer(&recipe, &data).unwrap();
    let full = |path: &Path| {
        Err(Error::Io {
            path: path.join("config.toml"),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    };
    trainer.step(&data, &Solo).unwrap();
    let error = states.save(&trainer, "data", &full).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let names: Vec<_> = std::fs::read_dir(folder.path().join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_loss_that_is_no_number_stops_before_anything_moved_and_names_the_sample() {
    let mut samples: Vec<Sample> = (0..3)
        .map(|number| clip(&format!("clip-{number}"), "elsewhere"))
        .collect();
    samples[1].video = Some((samples[1].video.as_ref().unwrap() * 1e30).unwrap());
    let data = InMemory::new(samples);
    let recipe = with_table(
        "steps = 9\npattern = ['joint']",
        "keys = ['*']\nmode = 'train'\nlr = 1e-3\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let place = Place {
        folder: folder.path(),
        data: "data",
        dress: &dress,
    };
    let mut trainer = trainer(&recipe, &data).unwrap();
    let error = place
        .train(&mut trainer, &data, &Solo, &mut |_| true)
        .unwrap_err();
    let Error::NotFinite { step, ids, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*step, &ids[..]), (trainer.next(), &["clip-1".to_owned()][..]));
    assert!(
        error.to_string().contains("clip-1") && error.to_string().contains("exclude"),
        "{error}"
    );
    let good = place.states().unwrap().list().unwrap().pop().unwrap();
    assert_eq!(good.0, *step);
    let mut again = self::trainer(
        &omni_model::train::Recipe {
            exclude: vec!["clip-1".to_owned()],
            ..recipe
        },
        &data,
    )
    .unwrap();
    assert_eq!(place.resume(&mut again).unwrap(), Some(*step));
    assert!(
        place
            .train(&mut again, &data, &Solo, &mut |_| true)
            .unwrap()
            .whole
    );
}

#[test]
fn a_step_whose_samples_are_all_left_out_takes_the_next_ones() {
    let data = data(5);
    let mut one = recipe("steps = 20\npattern = ['joint']");
    one.batch.joint = 1;
    let ids = |exclude: Vec<String>| -> Vec<Vec<String>> {
        let recipe = omni_model::train::Recipe {
            exclude,
            ..one.clone()
        };
        let mut trainer = trainer(&recipe, &data).unwrap();
        (0..20)
            .map(|_| trainer.step(&data, &Solo).unwrap())
            .map(|report| {
                assert!(report.loss.is_finite());
                report.ids
            })
            .collect()
    };
    let plain = ids(Vec::new());
    let gone = plain[1][0].clone();
    let without = ids(vec![gone.clone()]);
    for (was, is) in plain.iter().zip(&without) {
        assert_eq!(is.len(), 1);
        assert_ne!(is[0], gone);
        assert!(was[0] == gone || was == is, "{was:?} became {is:?}");
    }
    // one sample alone, wherever it comes in a round
    let alone = ids((1..5).map(|number| format!("clip-{number}")).collect());
    assert!(alone.iter().all(|ids| ids == &["clip-0"]), "{alone:?}");
    one.exclude = (0..5).map(|number| format!("clip-{number}")).collect();
    let error = trainer(&one, &data).unwrap().step(&data, &Solo).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`exclude` leaves no sample for joint steps"),
        "{error}"
    );
}

#[test]
fn a_rank_that_dies_stops_the_others() {
    struct Broken(InMemory);
    impl Samples for Broken {
        fn entries(&self) -> &[omni_model::train::Entry] {
            self.0.entries()
        }
        fn load(&self, index: usize) -> omni_model::Result<Sample> {
            let id = self.0.entries()[index].id.clone();
            Err(Error::Sample {
                id,
                why: "its bytes are gone".to_owned(),
            })
        }
    }
    let start = std::time::Instant::now();
    let ranks = Threads::ranks(2, Duration::from_secs(60));
    let errors: Vec<String> = std::thread::scope(|scope| {
        let run = |rank: Threads| {
            let (sound, recipe) = (data(5), recipe("steps = 20"));
            let mut trainer = trainer(&recipe, &sound).unwrap();
            let broken = Broken(data(5));
            let samples: &dyn Samples = if rank.rank() == 1 { &broken } else { &sound };
            trainer.step(samples, &rank).unwrap_err().to_string()
        };
        let running: Vec<_> = ranks
            .into_iter()
            .map(|rank| scope.spawn(move || run(rank)))
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        errors[0].contains("rank 1 has ended") && errors[0].contains("--resume"),
        "{errors:?}"
    );
    assert!(errors[1].contains("its bytes are gone"), "{errors:?}");
    assert!(start.elapsed().as_secs() < 60);
}
