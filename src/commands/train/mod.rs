//! `omni train`: runs a training recipe, goes on with it, replays a step, exports a state.

mod plan;
mod ranks;
mod samples;
mod wanted;

use self::{
    ranks::Among,
    wanted::{RUN, RunFile, read, wanted},
};
use crate::{
    cli::{ExportRunArgs, ReplayArgs, TrainArgs, TrainCommand},
    exit::{Code, missing, usage},
    output, signals, table,
    train_data::Dataset,
};
use anyhow::Context;
use omni_model::{
    checkpoint::{CONFIG, Checkpoint, Config},
    generate,
    train::{
        self, Base, Collective, CustomizerConfig, Ended, Line, Place, Plan, Recipe, Solo, StepReport, Trainer,
    },
};
use omni_pipeline::Cancel;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Lines of progress come at most this often.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// A run of which no weight has been loaded.
struct Found {
    recipe: Recipe,
    data: Dataset,
    config: Config,
    sizes: CustomizerConfig,
    source: Base,
    from: PathBuf,
    plan: Plan,
    place: generate::Place,
}

/// A run, opened.
struct Opened {
    trainer: Trainer,
    data: Dataset,
    config: Config,
    from: PathBuf,
}

impl Opened {
    /// The trainer with its data, and the place of its states in a run's folder.
    fn within<T>(
        mut self,
        folder: &Path,
        act: impl FnOnce(&mut Trainer, &Dataset, &Place<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let dress = |folder: &Path| train::dress(folder, &self.config, &self.from);
        let place = Place {
            folder,
            data: self.data.name(),
            dress: &dress,
        };
        act(&mut self.trainer, &self.data, &place)
    }
}

/// Runs the command.
pub fn run(args: &TrainArgs) -> anyhow::Result<Code> {
    match &args.command {
        Some(TrainCommand::Replay(args)) => replay(args),
        Some(TrainCommand::Export(args)) => export(args),
        None => start(args),
    }
}

fn start(args: &TrainArgs) -> anyhow::Result<Code> {
    let out = args
        .out
        .as_deref()
        .ok_or_else(|| usage("no folder for the run: give --out RUN"))?;
    ranks::each(|launch| {
        let wanted = wanted(args, out)?;
        let among = Among::of(launch);
        match launch {
            Some(launch) if args.dry_run && launch.rank > 0 => Ok(Code::Done),
            Some(launch) if !args.dry_run => ranks::together(launch, &wanted, out, |ranks, own| {
                begin(args, own, out, (ranks, &among))
            }),
            _ => begin(args, &wanted, out, (&Solo, &among)),
        }
    })
}

/// Begins or goes on with what is wanted, as one of `ranks`; rank 0 speaks and writes.
fn begin(
    args: &TrainArgs,
    wanted: &RunFile,
    out: &Path,
    (ranks, among): (&dyn Collective, &Among),
) -> anyhow::Result<Code> {
    let found = find(wanted)?;
    // it has the hash of every file, which have just been held against it
    let checkpoint = wanted.from.join(CONFIG);
    let hashes = std::fs::read_to_string(&checkpoint).with_context(|| checkpoint.display().to_string())?;
    train::alike(ranks, "checkpoint (what --from holds)", &hashes)?;
    let lighter = plan::lighter(&found, among.world);
    let full = |error| plan::full(error, &lighter);
    if ranks.rank() > 0 {
        plan::fits(&found, args, among)?;
        let ended = found
            .open(ranks)
            .and_then(|opened| work(opened, None, out, ranks));
        return Ok(code(&ended.map_err(full)?));
    }
    plan::tell(&found)?;
    plan::fits(&found, args, among)?;
    if args.dry_run {
        return Ok(Code::Done);
    }
    let opened = found.open(ranks).map_err(full)?;
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        output::note(
            "a small network trains several times faster on a CPU with CANDLE_NUM_THREADS=1 in the environment",
        );
    }
    let ended = work(opened, Some(wanted), out, ranks).map_err(full)?;
    output::line(&format!(
        "{} steps done; the state lies in {} (a checkpoint like any other), curves in {}",
        ended.steps,
        ended.state.display(),
        out.display()
    ))?;
    Ok(code(&ended))
}

fn code(ended: &Ended) -> Code {
    if ended.whole {
        Code::Done
    } else {
        Code::Interrupted
    }
}

fn open(wanted: &RunFile) -> anyhow::Result<Opened> {
    find(wanted)?.open(&Solo)
}

/// Checks everything that can be checked before a weight is loaded.
fn find(wanted: &RunFile) -> anyhow::Result<Found> {
    let recipe = wanted.recipe.clone();
    let place = generate::Place::parse(&wanted.device, Some(recipe.dtype.name()))?;
    let checkpoint =
        Checkpoint::open(&wanted.from).with_context(|| format!("checkpoint {}", wanted.from.display()))?;
    let data = Dataset::open(&wanted.data, &train::encoder_identity(&checkpoint)?)?;
    let (sizes, mut config, source) = Base::open(&checkpoint, recipe.seed)?;
    // what is sampled from its states places references as it did
    config.anchored = recipe.anchored;
    Ok(Found {
        plan: Plan::new(&recipe, &sizes)?,
        recipe,
        data,
        config,
        sizes,
        source,
        from: wanted.from.clone(),
        place,
    })
}

impl Found {
    /// Loads the weights, for one of some ranks.
    fn open(self, ranks: &dyn Collective) -> anyhow::Result<Opened> {
        let own = (ranks.rank(), ranks.world());
        let trainer = Trainer::on(
            self.recipe,
            &self.sizes,
            self.source,
            &self.data,
            &self.place,
            own,
        )?;
        Ok(Opened {
            trainer,
            data: self.data,
            config: self.config,
            from: self.from,
        })
    }
}

/// Trains to the end or to Ctrl-C; stops at the steps after which clips are made, and makes them. What is wanted is written down
/// once the run's last state was found to fit it.
fn work(
    opened: Opened,
    wanted: Option<&RunFile>,
    out: &Path,
    ranks: &dyn Collective,
) -> anyhow::Result<Ended> {
    opened.within(out, |trainer, data, place| {
        let first = ranks.rank() == 0;
        let settings = trainer.recipe().samples.clone();
        let due = |steps: u64| settings.every > 0 && steps > 0 && steps.is_multiple_of(settings.every);
        let resumed = ranks::resume(trainer, place, ranks)?;
        if let Some(wanted) = wanted {
            std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
            let text = serde_json::to_string_pretty(wanted)?;
            omni_manifests::write_file(&out.join(RUN), text.as_bytes())?;
        }
        if let Some(step) = resumed {
            if first {
                output::note(&format!("going on after step {step}"));
            }
            if due(step) {
                samples::make(out, trainer, place, ranks)?;
            }
        }
        let cancel = Cancel::default();
        signals::on_interrupt(&cancel);
        let mut saying = Saying::new(trainer);
        if first && trainer.recipe().peak_tflops.is_none() {
            output::note(
                "the log holds no share of peak: what the device can do is not known (--peak-tflops, or the recipe's `peak_tflops`)",
            );
        }
        loop {
            let mut on = |line: &Line| {
                saying.step(line, first);
                !cancel.is_cancelled() && !due(line.report.step + 1)
            };
            let ended = place.train(trainer, data, ranks, &mut on)?;
            let stops = !train::agreed(ranks, !cancel.is_cancelled())?;
            if due(ended.steps) && !stops && saying.any {
                samples::make(out, trainer, place, ranks)?;
            }
            if ended.whole || stops {
                return Ok(ended);
            }
        }
    })
}

/// Lines of progress, not too many.
struct Saying {
    total: u64,
    first: u64,
    begun: Instant,
    said: Option<Instant>,
    /// Whether a step was done.
    any: bool,
}

impl Saying {
    fn new(trainer: &Trainer) -> Self {
        Self {
            total: trainer.recipe().steps,
            first: trainer.next(),
            begun: Instant::now(),
            said: None,
            any: false,
        }
    }

    fn step(&mut self, line: &Line, speaks: bool) {
        self.any = true;
        let done = line.report.step + 1;
        if !speaks {
            return;
        }
        if done == self.total || self.said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            let each = self.begun.elapsed().as_secs_f64() / (done - self.first) as f64;
            output::note(&progress(line, self.total, each * (self.total - done) as f64));
            self.said = Some(Instant::now());
        }
    }
}

fn progress(line: &Line, total: u64, left: f64) -> String {
    let report = &line.report;
    let video = report
        .video
        .map(|video| format!("video {video:.4}, "))
        .unwrap_or_default();
    let share = line
        .share_of_peak
        .map(|share| format!(" ({:.1} % of peak)", 100.0 * share))
        .unwrap_or_default();
    let lr: Vec<String> = report.lr.iter().map(|(_, lr)| format!("{lr:.1e}")).collect();
    format!(
        "step {}/{total} {}: loss {:.4} ({video}audio {:.4}), gradients {:.3}, lr {}, {:.0} tokens/s{share}, {} left",
        report.step + 1,
        report.kind.name(),
        report.loss,
        report.audio,
        report.norm,
        lr.join(" "),
        report.tokens as f64 / line.seconds.max(1e-9),
        indicatif::HumanDuration(Duration::from_secs_f64(left.max(0.0)))
    )
}

fn replay(args: &ReplayArgs) -> anyhow::Result<Code> {
    let wanted = read(&args.run)?;
    let log = train::read_log(&args.run)?;
    let logged = log.into_iter().find(|line| line.report.step == args.step);
    if args.step >= wanted.recipe.steps {
        return Err(usage(format!(
            "--step {}: the run has {} steps, counted from 0",
            args.step, wanted.recipe.steps
        )));
    }
    open(&wanted)?.within(&args.run, |trainer, data, place| {
        place.before(trainer, args.step)?;
        output::note(&format!("from the state after {} steps", trainer.next()));
        while trainer.next() < args.step {
            trainer.step(data, &Solo)?;
        }
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"));
        let looked = trainer.look(data)?;
        let rows: Vec<Vec<String>> = looked
            .iter()
            .map(|(id, video, audio)| vec![id.clone(), number(*video), number(Some(*audio))])
            .collect();
        output::line(&table::layout(
            &["sample", "loss of the video", "loss of the audio"],
            &rows,
        ))?;
        let Some(logged) = logged else {
            output::note("the log does not have this step: nothing to compare with");
            return Ok(Code::Done);
        };
        let report = trainer.step(data, &Solo)?;
        let (bits, same) = (report == logged.report, alike(&report, &logged.report));
        output::line(&format!(
            "step {}: loss {}, gradients {}; logged: loss {}, gradients {}{}",
            args.step,
            report.loss,
            report.norm,
            logged.report.loss,
            logged.report.norm,
            match (bits, same) {
                (true, _) => " (the same)",
                (false, true) => " (the same but for rounding: it was made by another number of ranks)",
                (false, false) => " (NOT the same)",
            }
        ))?;
        Ok(if same { Code::Done } else { Code::Failed })
    })
}

/// Whether two reports are of one step, summed up by any number of ranks.
fn alike(a: &StepReport, b: &StepReport) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * a.abs().max(b.abs());
    (a.step, a.kind, a.tokens, &a.ids) == (b.step, b.kind, b.tokens, &b.ids)
        && near(a.loss, b.loss)
        && near(a.norm, b.norm)
}

fn export(args: &ExportRunArgs) -> anyhow::Result<Code> {
    let wanted = read(&args.run)?;
    if args.out.exists() {
        return Err(usage(format!(
            "{} is there already; give another --out",
            args.out.display()
        )));
    }
    open(&wanted)?.within(&args.run, |trainer, _, place| {
        let step = place.resume(trainer)?;
        let step = step.ok_or_else(|| missing(format!("{} has no state yet", args.run.display())))?;
        trainer.export(&args.out, args.ema, place.dress)?;
        output::line(&format!(
            "{} holds the weights after step {step}{}",
            args.out.display(),
            if args.ema { ", their moving averages" } else { "" }
        ))?;
        Ok(Code::Done)
    })
}
