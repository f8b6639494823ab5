//! `omni train`: runs a training recipe, goes on with it, replays a step, exports a state.

mod again;
mod live;
mod plan;
mod ranks;
mod samples;
mod steps;
mod wanted;

use self::{
    ranks::Among,
    wanted::{RunFile, wanted},
};
use super::lock;
use crate::{
    cli::{TrainArgs, TrainCommand},
    exit::{Code, usage},
    output,
    train_data::Dataset,
};
use anyhow::Context;
use omni_model::{
    checkpoint::{CONFIG, Checkpoint, Config},
    generate,
    train::{self, Base, Collective, CustomizerConfig, Ended, Mode, Place, Plan, Recipe, Solo, Trainer},
};
use std::path::{Path, PathBuf};

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
        Some(TrainCommand::Replay(args)) => ranks::once(|| again::replay(args)),
        Some(TrainCommand::Export(args)) => ranks::once(|| again::export(args)),
        None => {
            output::work_on();
            start(args)
        }
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
            .and_then(|opened| steps::make(opened, None, out, ranks));
        return Ok(code(&ended.map_err(full)?));
    }
    plan::tell(&found)?;
    plan::fits(&found, args, among)?;
    if args.dry_run {
        return Ok(Code::Done);
    }
    let lora = found.recipe.weights.iter().any(|rule| rule.mode == Mode::Lora);
    let opened = found.open(ranks).map_err(full)?;
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        output::note(
            "a small network trains several times faster on a CPU with CANDLE_NUM_THREADS=1 in the environment",
        );
    }
    let _lock = lock::take(out, "omni train")?;
    wanted::fresh(args, out)?; // another process may have been faster
    let ended = steps::make(opened, Some(wanted), out, ranks).map_err(full)?;
    output::line(&format!(
        "{} steps done; the state lies in {} ({}), curves in {}",
        ended.steps,
        ended.state.display(),
        match lora {
            true => "with its low-rank additions apart; `omni train export` makes a checkpoint of it",
            false => "a checkpoint like any other",
        },
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
