//! What a run is going to train, what that takes, and whether it fits.

use super::{Found, ranks::Among};
use crate::{
    cli::TrainArgs,
    commands::sample::memory::free,
    exit::{missing, usage},
    output, table,
};
use omni_model::train::{Kind, Mode, MomentForm, Recipe, Share, cost};

/// Ranks whose share of the memory is told.
const RANKS: [usize; 4] = [1, 2, 4, 8];

fn size(found: &Found) -> cost::Size {
    let (video, audio) = found.data.largest();
    cost::Size { video, audio }
}

fn memory(found: &Found) -> cost::Memory {
    cost::memory(&found.sizes, &found.recipe, &found.plan.shares, size(found))
}

/// Prints what is trained, what it takes, and how long.
pub(super) fn tell(found: &Found) -> anyhow::Result<()> {
    let (shares, sizes, recipe) = (&found.plan.shares, &found.sizes, &found.recipe);
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
    tell_memory(found)?;
    let frozen = shares
        .iter()
        .all(|share| share.trained == 0 || share.before_backbone);
    let mut all = 0.0;
    for kind in [Kind::Joint, Kind::Speech] {
        let share = recipe.pattern.iter().filter(|other| **other == kind).count() as f64
            / recipe.pattern.len() as f64;
        if share > 0.0 {
            let flops = cost::step_flops(sizes, recipe, kind, size(found), frozen) as f64;
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
        "{} steps: at least {:.2} days ({:.0} s) at this machine's {:.0} GFLOP/s (a product of matrices, measured now; a small \
         network takes many times that)",
        recipe.steps,
        all / speed / 86_400.0,
        all / speed,
        speed / 1e9
    ))
}

/// A kind of memory.
type Of = fn(&cost::Memory) -> u64;

/// Memory by what it holds, of a rank of several.
fn tell_memory(found: &Found) -> anyhow::Result<()> {
    let memory = memory(found);
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let kinds: [(&str, Of); 7] = [
        ("weights", |memory| memory.weights),
        ("f32 masters", |memory| memory.masters),
        ("gradients", |memory| memory.gradients),
        ("moments", |memory| memory.moments),
        ("averages", |memory| memory.averages),
        ("activations (an estimate)", |memory| memory.activations),
        ("all", cost::Memory::total),
    ];
    let row = |(what, of): (&str, Of)| {
        let each = RANKS.map(|world| mib(of(&memory.of_rank(world))));
        [what.to_owned()].into_iter().chain(each).collect()
    };
    let rows: Vec<Vec<String>> = kinds.into_iter().map(row).collect();
    let head = ["memory in MiB", "one rank", "each of 2", "each of 4", "each of 8"];
    output::line(&format!(
        "\n{}\nweights and activations as {} on {}{}",
        table::layout(&head, &rows),
        found.recipe.dtype.name(),
        found.place.device,
        match offloads(found, &found.recipe) {
            true => "; masters, moments and averages on the processor",
            false => "",
        }
    ))
}

/// Whether the optimizer lies on the processor and the network on a card: eight-bit moments always do.
fn offloads(found: &Found, recipe: &Recipe) -> bool {
    let optimizer = &recipe.optimizer;
    !found.place.is_cpu() && (optimizer.offload || optimizer.moments == MomentForm::Narrow)
}

/// What of a recipe's memory one of `ranks` takes where the network lies.
fn need(found: &Found, ranks: usize) -> impl Fn(&Recipe, cost::Memory) -> u64 + '_ {
    move |recipe, memory| {
        let own = memory.of_rank(ranks);
        match offloads(found, recipe) {
            true => own.offloaded().total(),
            false => own.total(),
        }
    }
}

/// Refuses a run that will not fit where one of its ranks lies, with the settings that would; nothing has been loaded by then.
/// `here` of the ranks share this machine's memory.
pub(super) fn fits(found: &Found, args: &TrainArgs, ranks: &Among) -> anyhow::Result<()> {
    let processor = free().map(|bytes| bytes / ranks.here as u64);
    let limit = match args.memory {
        Some(gib) if gib.is_finite() && gib > 0.0 => Some((gib * f64::from(1 << 30)) as u64),
        Some(gib) => return Err(usage(format!("--memory {gib}: it lies above 0"))),
        None if found.place.is_cpu() => processor,
        None => found.place.free_memory(),
    };
    let Some(limit) = limit else {
        if ranks.first {
            output::note("what memory is free is not known here: whether this run fits is not checked");
        }
        return Ok(());
    };
    let needed = need(found, ranks.world)(&found.recipe, memory(found));
    if needed > limit {
        let would = remedies(found, limit, ranks.world);
        return Err(missing(format!(
            "this run takes about {}, and there are {}; {}",
            gib(needed),
            gib(limit),
            if would.is_empty() {
                "no setting of the recipe would make it fit: encode smaller clips".to_owned()
            } else {
                format!("it would fit with {would}")
            }
        )));
    }
    let trained: usize = found.plan.shares.iter().map(|share| share.trained).sum();
    let own = memory(found).of_rank(ranks.world);
    let aside = own.aside(trained.div_ceil(ranks.world) as u64);
    match processor {
        Some(processor) if offloads(found, &found.recipe) && aside > processor => Err(missing(format!(
            "what the optimizer keeps on the processor takes about {}, and there are {}; more ranks on other machines, or no `ema`, take less",
            gib(aside),
            gib(processor)
        ))),
        _ => Ok(()),
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Settings with which one of `ranks` takes no more than `limit` bytes, each with what it takes.
fn remedies(found: &Found, limit: u64, ranks: usize) -> String {
    let room = cost::Room {
        need: &need(found, ranks),
        limit,
        ranks,
    };
    let all = cost::remedies(
        &found.sizes,
        &found.recipe,
        &found.plan.shares,
        size(found),
        &room,
    );
    let told: Vec<String> = all
        .iter()
        .map(|(what, bytes)| format!("{what} ({})", gib(*bytes)))
        .collect();
    told.join(", or with ")
}

/// Settings that take less than the run's own.
pub(super) fn lighter(found: &Found, ranks: usize) -> String {
    let now = need(found, ranks)(&found.recipe, memory(found));
    remedies(found, now.saturating_sub(1), ranks)
}

/// Says what would take less where a card had no memory left, which it tells as an error of an operation; the prediction is an
/// estimate, and others may use the card.
pub(super) fn full(error: anyhow::Error, lighter: &str) -> anyhow::Error {
    let said = format!("{error:#}");
    let small = said.to_lowercase();
    if !["out of memory", "out_of_memory"]
        .iter()
        .any(|words| small.contains(words))
    {
        return error;
    }
    let less = match lighter.is_empty() {
        true => "smaller clips".to_owned(),
        false => lighter.to_owned(),
    };
    missing(format!(
        "{}: the states written so far are whole; it takes less with {less}",
        said.lines().next().unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    #[test]
    fn a_card_without_memory_left_is_told_what_takes_less() {
        let of = |text: &str| full(anyhow::anyhow!(text.to_owned()), "dtype = \"bf16\" (1.00 GiB)");
        let error = of("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")\n  at frame");
        assert_eq!(Code::of(&error), Code::Missing);
        let said = error.to_string();
        assert!(
            said.contains("CUDA_ERROR_OUT_OF_MEMORY") && said.contains("less with dtype"),
            "{said}"
        );
        assert!(!said.contains("frame"), "{said}");
        let other = of("sample `a`: its latents cannot be read");
        assert!(other.to_string().starts_with("sample `a`") && Code::of(&other) == Code::Failed);
    }
}
