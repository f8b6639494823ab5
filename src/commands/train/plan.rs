//! What a run is going to train, what that takes, and whether it fits.

use super::Opened;
use crate::{cli::TrainArgs, commands::sample::memory::free, exit::missing, output, table};
use omni_model::train::{Kind, Mode, Recipe, Share, cost};

fn size(opened: &Opened) -> cost::Size {
    let (video, audio) = opened.data.largest();
    cost::Size { video, audio }
}

/// Prints what is trained, what it takes, and how long.
pub(super) fn tell(opened: &Opened, recipe: &Recipe) -> anyhow::Result<()> {
    let (shares, sizes) = (opened.trainer.shares(), opened.trainer.model().config());
    let word = |share: &Share| match share.mode {
        Mode::Train => "trained",
        Mode::Lora => "low-rank additions",
        Mode::Freeze => "frozen",
    };
    let rows: Vec<Vec<String>> = shares
        .iter()
        .map(|share| {
            vec![
                share.keys.clone(),
                word(share).to_owned(),
                share.trained.to_string(),
                share.frozen.to_string(),
            ]
        })
        .collect();
    output::line(&table::layout(
        &["weights", "are", "values trained", "values that stay"],
        &rows,
    ))?;
    let memory = cost::memory(sizes, recipe, &shares, size(opened));
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let rows: Vec<Vec<String>> = [
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("moments", memory.moments),
        ("averages", memory.averages),
        ("activations (an estimate)", memory.activations),
        ("all", memory.total()),
    ]
    .into_iter()
    .map(|(what, bytes)| vec![what.to_owned(), mib(bytes)])
    .collect();
    output::line(&format!("\n{}", table::layout(&["memory", "MiB"], &rows)))?;
    let frozen = shares
        .iter()
        .all(|share| share.trained == 0 || share.keys.contains("ocf") || share.keys.contains("mtp_ca"));
    let mut all = 0.0;
    for kind in [Kind::Joint, Kind::Speech] {
        let share = recipe.pattern.iter().filter(|other| **other == kind).count() as f64
            / recipe.pattern.len() as f64;
        if share > 0.0 {
            let flops = cost::step_flops(sizes, recipe, kind, size(opened), frozen) as f64;
            all += share * flops * recipe.steps as f64;
            output::line(&format!(
                "\na {} step of {} samples: {:.3} TFLOP at most",
                kind.name(),
                recipe.batch_of(kind),
                flops / 1e12
            ))?;
        }
    }
    let speed = cost::speed()?;
    output::line(&format!(
        "{} steps: at least {:.2} days at this machine's {:.0} GFLOP/s (a product of matrices, measured now; a small \
         network takes many times that)",
        recipe.steps,
        all / speed / 86_400.0,
        speed / 1e9
    ))
}

/// Refuses a run that will not fit, with the settings that would.
pub(super) fn fits(opened: &Opened, args: &TrainArgs) -> anyhow::Result<()> {
    let limit = match args.memory {
        Some(gib) => (gib * f64::from(1 << 30)) as u64,
        None => match free() {
            Some(bytes) => bytes,
            None => return Ok(()),
        },
    };
    let (shares, sizes) = (opened.trainer.shares(), opened.trainer.model().config());
    let recipe = opened.trainer.recipe();
    let needed = cost::memory(sizes, recipe, &shares, size(opened)).total();
    if needed <= limit {
        return Ok(());
    }
    let gib = |bytes: u64| format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30));
    let remedies = cost::remedies(sizes, recipe, &shares, size(opened), limit);
    let would: Vec<String> = remedies
        .iter()
        .map(|(what, bytes)| format!("{what} ({})", gib(*bytes)))
        .collect();
    Err(missing(format!(
        "this run takes about {}, and there are {}; {}",
        gib(needed),
        gib(limit),
        if would.is_empty() {
            "no setting of the recipe would make it fit: encode smaller clips".to_owned()
        } else {
            format!("it would fit with {}", would.join(", or with "))
        }
    )))
}
