//! What benches share that run PyTorch beside themselves: the clock of the processor, what PyTorch is handed, and how far results
//! are apart.

use candle_core::{DType, Device, Tensor};
use omni_model::weights::{Formula, Weights};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Command,
};

/// Of the weights' formula.
pub const SEED: u64 = 4242;

/// The weights that both sides have.
pub fn formula() -> Weights {
    Weights::new(Formula { seed: SEED }, DType::F32, &Device::Cpu)
}

/// Seconds of processor time of each thread of this process, by its number; to the nanosecond, where `/proc/self/stat` counts
/// hundredths.
pub fn thread_seconds() -> BTreeMap<String, f64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let each = tasks.map(|task| {
        let path = task.unwrap().path();
        let told = std::fs::read_to_string(path.join("schedstat")).unwrap();
        let nanoseconds: f64 = told.split_whitespace().next().unwrap().parse().unwrap();
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            nanoseconds / 1e9,
        )
    });
    each.collect()
}

/// Seconds of processor time of this process, all threads that live.
pub fn processor_seconds() -> f64 {
    thread_seconds().values().sum()
}

/// What follows the flag `name`; ends the program with `usage` where nothing does.
pub fn option<'a>(arguments: &'a [String], name: &str, usage: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|one| one == name)?;
    Some(arguments.get(at + 1).unwrap_or_else(|| stop(usage)))
}

/// The number at `place`, unless a flag or nothing stands there; ends the program with `usage` where it is none.
pub fn number(arguments: &[String], place: usize, usage: &str) -> Option<usize> {
    let text = arguments.get(place).filter(|text| !text.starts_with("--"))?;
    Some(text.parse().unwrap_or_else(|_| stop(usage)))
}

/// Ends the program as one that was called wrongly.
pub fn stop(usage: &str) -> ! {
    eprintln!("usage: {usage}");
    std::process::exit(2)
}

/// Writes for PyTorch: weights of the formula by name and shape, inputs, and what it has to know.
pub fn hand_over(
    asked: &[(String, Vec<usize>)],
    inputs: impl IntoIterator<Item = (&'static str, Tensor)>,
    config: &Value,
    folder: &Path,
) {
    let weights = formula();
    let of = |(name, shape): &(String, Vec<usize>)| (name.clone(), weights.get(name, shape).unwrap().t());
    let mut tensors: HashMap<String, Tensor> = asked.iter().map(of).collect();
    tensors.extend(inputs.into_iter().map(|(name, input)| (name.to_owned(), input)));
    candle_core::safetensors::save(&tensors, folder.join("tensors.safetensors")).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

/// Runs a script of `scripts/bench` on what lies in `folder`, with so many threads; what it prints.
pub fn torch(python: &str, script: &str, folder: &Path, args: &[String], threads: usize) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../scripts/bench")
        .join(script);
    let output = Command::new(python)
        .arg(script)
        .arg(folder)
        .args(args)
        .env("OMP_NUM_THREADS", threads.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A list of numbers that it printed.
pub fn numbers(list: &Value) -> Vec<f64> {
    let all = list.as_array().unwrap().iter();
    all.map(|value| value.as_f64().unwrap()).collect()
}

/// A file of f32.
pub fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

/// Relative difference of `a` from `b`.
pub fn apart(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    off / norm(&mut b.iter().map(|b| f64::from(*b)))
}
