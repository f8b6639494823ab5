//! `omni bench run`: the clips of a method on the cases of a benchmark, scored on the runner of `curate`.

use super::{
    super::{lock, runner},
    networks::{self, lacking, names},
    score::show_value,
};
use crate::{
    cli::{BenchRunArgs, NetworkArgs},
    config::{BenchConfig, Config},
    exit::{Code, missing, usage},
    output, signals, table,
};
use anyhow::Context;
use omni_bench::{
    aggregate::{case_readings, table as means},
    cases::{self, CaseFile},
    metric::Metric,
    networks::{METRICS, Networks},
    run::{
        Answers, Found, Header, Method, Paradigm, Scorer,
        header::{Before, Cases, FILE, LeftOut, sha256},
        stages::Answer,
    },
    stats::SEED,
};
use omni_pipeline::{Outcome, Plan, RunOptions, Summary, readers::Run};
use omni_schemas::{Case, Score};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Name of the file beside the clips that says whose they are.
const METHOD_FILE: &str = "method.toml";
/// Clips in a shard on average: few, so that a clip that is made anew costs little.
const SHARD: usize = 8;
/// After how long a silence a clip is taken for stuck.
const STUCK: Duration = Duration::from_secs(1800);

/// Runs the command.
pub fn run(args: &BenchRunArgs) -> anyhow::Result<Code> {
    let config = Config::load()?;
    let task = Task::of(args, &config)?;
    let file = cases::read(&task.cases)?;
    if let Some(code) = refused(&file, &task)? {
        return Ok(code);
    }
    let chosen = chosen(&file.cases, &args.subset);
    if chosen.is_empty() {
        return Err(usage(format!(
            "--subset {}: {} holds no case of it",
            args.subset,
            task.cases.display()
        )));
    }
    let networks = open(args, &config)?;
    let (metrics, left_out) = metrics(&task, &networks)?;
    let all: BTreeSet<String> = file.cases.iter().map(|case| case.case.clone()).collect();
    let found = Found::look(&task.outputs, &task.method, &chosen, &all)
        .with_context(|| format!("{}", task.outputs.display()))?;
    let before = Before {
        method: &task.method,
        networks: &networks,
        metrics: &metrics,
        left_out,
        subset: &args.subset,
        cases: of_cases(&task.cases, &file.cases, &chosen)?,
        folder: &task.outputs,
        found: &found,
    };
    let header = before.header();
    tell(&header);
    let plan = plan(&task, &found, metrics)?;
    let options = options(args, &task)?;
    let _alone = lock::take(&task.out, "omni bench run")?;
    let summary = work(&plan, &options)?;
    finish(header, &task.out, &summary, args.strict)
}

/// What is to be done, from flags before method.toml before omni.toml.
struct Task {
    cases: PathBuf,
    outputs: PathBuf,
    out: PathBuf,
    method: Method,
    metrics: Vec<String>,
}

/// `method.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MethodFile {
    /// Who made the clips.
    method: Option<String>,
    /// How.
    paradigm: Option<String>,
}

impl Task {
    fn of(args: &BenchRunArgs, config: &Config) -> anyhow::Result<Task> {
        let bench = config.bench.clone().unwrap_or_default();
        let path = |flag: &Option<PathBuf>, own: &Option<PathBuf>, name: &str| {
            let path = flag.clone().or_else(|| own.clone());
            path.ok_or_else(|| {
                usage(format!(
                    "no {name}: give --{name}, or `{name}` under [bench] in omni.toml"
                ))
            })
        };
        let cases = path(&args.cases, &bench.cases, "cases")?;
        let outputs = path(&args.outputs, &bench.outputs, "outputs")?;
        let out = path(&args.out, &bench.out, "out")?;
        if !cases.is_file() {
            return Err(missing(format!(
                "the case file {} does not exist",
                cases.display()
            )));
        }
        if !outputs.is_dir() {
            return Err(missing(format!("{} is no folder of clips", outputs.display())));
        }
        Ok(Task {
            cases: std::path::absolute(cases)?,
            method: method(args, &bench, &outputs)?,
            outputs: std::path::absolute(outputs)?,
            out,
            metrics: match args.read.metrics.is_empty() {
                true => bench.metrics,
                false => args.read.metrics.clone(),
            },
        })
    }
}

fn method(args: &BenchRunArgs, bench: &BenchConfig, outputs: &Path) -> anyhow::Result<Method> {
    let path = outputs.join(METHOD_FILE);
    let file: MethodFile = match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| usage(format!("{}: {}", path.display(), error.message())))?,
        Err(error) if error.kind() == ErrorKind::NotFound => MethodFile::default(),
        Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
    };
    let name = args
        .method
        .clone()
        .or(file.method)
        .or_else(|| bench.method.clone());
    let name = name.ok_or_else(|| {
        usage(format!(
            "no method: give --method, or `method` in {METHOD_FILE} beside the clips or under [bench] in omni.toml"
        ))
    })?;
    if name.trim().is_empty() || name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        return Err(usage(format!("`{name}` cannot be the name of a method")));
    }
    let paradigm = args
        .paradigm
        .clone()
        .or(file.paradigm)
        .or_else(|| bench.paradigm.clone());
    let paradigm = match paradigm {
        None => Paradigm::default(),
        Some(word) => Paradigm::of(&word).ok_or_else(|| {
            let known = Paradigm::ALL.map(Paradigm::name).join(", ");
            usage(format!("no paradigm `{word}`; there are: {known}"))
        })?,
    };
    Ok(Method { name, paradigm })
}

/// What is wrong with the case file, said before anything runs.
fn refused(file: &CaseFile, task: &Task) -> anyhow::Result<Option<Code>> {
    for fault in &file.faults {
        output::line(&fault.to_string())?;
    }
    if !file.faults.is_empty() {
        output::note(&format!(
            "{} faults in {}: nothing was run",
            file.faults.len(),
            task.cases.display()
        ));
        return Ok(Some(Code::Failed));
    }
    if file.cases.is_empty() {
        output::note(&format!(
            "{} is empty: it holds no case, so nothing was run",
            task.cases.display()
        ));
        return Ok(Some(Code::Failed));
    }
    Ok(None)
}

fn chosen(all: &[Case], subset: &str) -> Vec<Case> {
    let wanted = |case: &&Case| subset == "all" || case.subset.to_string() == subset;
    all.iter().filter(wanted).cloned().collect()
}

fn open(args: &BenchRunArgs, config: &Config) -> anyhow::Result<Networks> {
    let own = config.bench.as_ref().and_then(|bench| bench.profile.clone());
    let wanted = NetworkArgs {
        profile: args.read.networks.profile.clone().or(own),
        ..args.read.networks.clone()
    };
    networks::open(&wanted, &args.read.ways, config)
}

type Scorers = (Vec<Arc<dyn Metric>>, Vec<LeftOut>);

/// The metrics that the paradigm has and the profile can make. One that was asked for by name must be possible.
fn metrics(task: &Task, networks: &Networks) -> anyhow::Result<Scorers> {
    let named = !task.metrics.is_empty();
    let (mut made, mut left_out): Scorers = Default::default();
    for name in names(&task.metrics) {
        if METRICS.contains(&name) && !task.method.paradigm.runs(name) {
            if named {
                output::note(&format!(
                    "{name} does not apply to {}",
                    task.method.paradigm.name()
                ));
            }
            continue;
        }
        match networks.metric(name) {
            Ok(metric) => made.push(Arc::from(metric)),
            Err(error) => match error.word().filter(|_| !named) {
                Some(word) => left_out.push(LeftOut {
                    metric: name.to_owned(),
                    absent: word.to_owned(),
                    why: error.to_string(),
                }),
                None => return Err(lacking(error)),
            },
        }
    }
    if made.is_empty() {
        return Err(usage("none of these metrics applies: nothing would be scored"));
    }
    Ok((made, left_out))
}

fn of_cases(path: &Path, all: &[Case], chosen: &[Case]) -> anyhow::Result<Cases> {
    let mut by_subset = BTreeMap::new();
    for case in chosen {
        *by_subset.entry(case.subset.to_string()).or_default() += 1;
    }
    Ok(Cases {
        file: path.to_owned(),
        sha256: sha256(path).with_context(|| format!("{}", path.display()))?,
        total: all.len(),
        chosen: chosen.len(),
        by_subset,
    })
}

/// What the user should know before the run.
fn tell(header: &Header) {
    for metric in &header.left_out {
        output::note(&format!("{} is left out: {}", metric.metric, metric.why));
    }
    for name in &header.outputs.unclaimed {
        output::note(&format!("{name} belongs to no case"));
    }
}

fn plan(task: &Task, found: &Found, metrics: Vec<Arc<dyn Metric>>) -> anyhow::Result<Plan> {
    let source = Answers::new(&task.outputs, &task.method, found);
    let scorer = Scorer::new(metrics, task.method.paradigm);
    Ok(Plan::new(
        Box::new(source),
        vec![Box::new(Answer::new(found)), Box::new(scorer)],
    )?)
}

fn options(args: &BenchRunArgs, task: &Task) -> anyhow::Result<RunOptions> {
    if args.threads == Some(0) {
        return Err(usage("--threads must be at least 1"));
    }
    let mut options = RunOptions {
        out: task.out.clone(),
        root: task.outputs.clone(),
        shard_clips: SHARD,
        stuck_after: Some(STUCK),
        recipe: serde_json::json!({ "name": "bench", "method": task.method.name, "subset": args.subset }),
        ..RunOptions::default()
    };
    options.threads = args.threads.unwrap_or(options.threads);
    Ok(options)
}

fn work(plan: &Plan, options: &RunOptions) -> anyhow::Result<Summary> {
    // The header speaks of finished scores: while they are made there is none.
    let header = options.out.join(FILE);
    match std::fs::remove_file(&header) {
        // Without a folder the runner says what is in its place.
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(error).with_context(|| format!("{}", header.display()));
        }
        _ => {}
    }
    runner::execute(plan, options)
}

/// Writes the header, shows the table, names what could not be scored.
fn finish(header: Header, out: &Path, summary: &Summary, strict: bool) -> anyhow::Result<Code> {
    if signals::was_interrupted() {
        return Ok(Code::Interrupted);
    }
    if summary.outcome != Outcome::Complete {
        output::note("not every clip was scored; give the same command again and it goes on");
        return Ok(Code::Failed);
    }
    let header = header.counted(out)?;
    header.write(out)?;
    let scores: Vec<Score> = Run::open(out)?.table::<Score>()?.collect::<Result<_, _>>()?;
    show(&header, &scores)?;
    troubles(&header);
    output::note(&format!("scores and bench.json lie in {}", out.display()));
    let faults = header.failed().len() + header.nan();
    Ok(match strict && faults > 0 {
        true => Code::Failed,
        false => Code::Done,
    })
}

/// A line for each reading: the mean of each subset and of all cases, and how many cases it rests on.
fn show(header: &Header, scores: &[Score]) -> anyhow::Result<()> {
    let cells = means(&case_readings(scores), SEED);
    let subsets: Vec<i64> = header
        .cases
        .by_subset
        .keys()
        .filter_map(|key| key.parse().ok())
        .collect();
    let columns: Vec<Option<i64>> = match subsets.as_slice() {
        [_] => vec![None],
        several => several.iter().copied().map(Some).chain([None]).collect(),
    };
    let name = |column: &Option<i64>| match column {
        Some(subset) => format!("subset {subset}"),
        None => "all cases".to_owned(),
    };
    let mut head = vec!["reading".to_owned(), "better".to_owned()];
    head.extend(columns.iter().map(name));
    head.push("of cases".to_owned());
    let readings = header.metrics.iter().flat_map(|metric| &metric.readings);
    let row = |reading: &omni_bench::run::header::ReadingSpec| {
        let cell = |subset: Option<i64>| {
            cells
                .iter()
                .find(|cell| cell.reading == reading.name && cell.subset == subset)
        };
        let mean = |column: &Option<i64>| {
            show_value(cell(*column).and_then(|cell| cell.mean).map(|mean| mean.value))
        };
        let mut row = vec![reading.name.clone(), reading.better.clone()];
        row.extend(columns.iter().map(mean));
        let rests = cell(None).map(|cell| {
            let there = cell.mean.map_or(0, |mean| mean.count);
            format!("{there}/{}", there + cell.absent.values().sum::<usize>())
        });
        row.push(rests.unwrap_or_default());
        row
    };
    let rows: Vec<Vec<String>> = readings.map(row).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    output::line(&table::layout(&head, &rows))
}

/// Every clip that could not be scored, and every role that nobody ever ran with its published weights.
fn troubles(header: &Header) {
    let outputs = &header.outputs;
    for key in &outputs.missing {
        output::note(&format!("missing: {key}"));
    }
    for trouble in outputs.broken.iter().chain(&outputs.dropped) {
        let why = trouble
            .why
            .as_ref()
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        output::note(&format!(
            "broken: {} ({}){why}",
            trouble.generation, trouble.reason
        ));
    }
    if !header.failed().is_empty() {
        output::note(&format!(
            "{} of {} clips could not be scored; no mean holds them",
            header.failed().len(),
            outputs.clips
        ));
    }
    if !header.unseen_roles.is_empty() {
        let roles: Vec<&str> = header
            .unseen_roles
            .iter()
            .map(|role| role.role.as_str())
            .collect();
        output::note(&format!(
            "never run by this project with their published weights: {}",
            roles.join(", ")
        ));
    }
}
