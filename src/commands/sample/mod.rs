//! `omni sample`: clips from a checkpoint, each as files that `omni bench` and a player take.

mod faces;
mod jobs;
mod made;
pub(super) mod memory;
mod request;
mod there;
mod watch;

#[cfg(feature = "curate")]
mod data;

use super::folders::{self, Kind};
use crate::{
    cli::SampleArgs,
    exit::{Code, missing, usage},
    output, signals, table,
};
use jobs::Job;
use made::{Folder, Sink};
use omni_model::{
    checkpoint::{Checkpoint, Origin},
    generate::{Layout, Place, Request, cost, generate},
};
use omni_pipeline::Cancel;
use request::Prepared;
use there::State;

/// Runs the command.
pub fn run(args: &SampleArgs) -> anyhow::Result<Code> {
    if !args.checkpoint.is_dir() {
        return Err(missing(format!(
            "--checkpoint {}: there is no such folder; `omni model init` makes one of random weights",
            args.checkpoint.display()
        )));
    }
    folders::refuse(&args.out, &[Kind::Scores])?;
    let place = Place::parse(&args.device, args.dtype.map(crate::cli::DtypeName::name))?;
    if args.offload && place.is_cpu() {
        output::note("--offload: everything runs on the processor already");
    }
    let layout = Layout {
        offload: args.offload && !place.is_cpu(),
        place,
    };
    let frames = args.frames || !made::WRITES_MP4;
    let jobs = jobs::of(args)?;
    if args.seed.is_empty() {
        return Err(usage("--seed: no seed"));
    }
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let method = method(args)?;
    let mut failed = 0;
    let mut prepared = Vec::new();
    for job in &jobs {
        match request::prepare(job, args, &checkpoint) {
            Ok(found) => prepared.push((job, found)),
            // one request that cannot be met does not keep the others from being made
            Err(error) if jobs.len() > 1 => {
                output::note(&format!("{}: {error:#}", job.case.case));
                failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
    faces::check(&prepared)?;
    if args.dry_run {
        jobs::sweep();
        tell(&checkpoint, &prepared, &layout)?;
        return Ok(if failed == 0 { Code::Done } else { Code::Usage });
    }
    for (_, found) in &prepared {
        memory::enough(&checkpoint.config, &found.request, &layout, args.memory_mb)?;
    }
    let folder = Folder::create(&args.out, &method, &jobs, &args.seed)?;
    if frames && !args.frames {
        output::note(
            "this `omni` was built without `ffmpeg`: frames and WAV are written, and `omni mux` makes the mp4 elsewhere",
        );
    }
    if checkpoint.config.origin == Origin::Init {
        output::note("the checkpoint's weights are random: what comes out is noise");
    }
    let cancel = Cancel::default();
    signals::on_interrupt(&cancel);
    let mut count = 0;
    for (job, found) in &prepared {
        for seed in &args.seed {
            let request = Request {
                seed: u64::from(*seed),
                ..found.request.clone()
            };
            let many = args.seed.len() > 1;
            let stem = folder.stem(&job.case.case, many.then_some(*seed));
            if one(
                &Making {
                    checkpoint: &checkpoint,
                    layout: &layout,
                    folder: &folder,
                    found,
                    frames,
                },
                &request,
                &stem,
                &cancel,
            )? {
                count += 1;
            }
        }
    }
    folder.finish()?;
    let total = prepared.len() * args.seed.len();
    output::line(&format!(
        "{count} clips made, {} were there, in {}",
        total - count,
        args.out.display()
    ))?;
    Ok(if failed == 0 { Code::Done } else { Code::Usage })
}

/// What all clips of a run share, and the job at hand.
struct Making<'a> {
    checkpoint: &'a Checkpoint,
    layout: &'a Layout,
    folder: &'a Folder,
    found: &'a Prepared,
    frames: bool,
}

/// Makes one clip, unless it is there; whether it was made.
fn one(making: &Making<'_>, request: &Request, stem: &str, cancel: &Cancel) -> anyhow::Result<bool> {
    let Making {
        checkpoint,
        layout,
        folder,
        found,
        frames,
    } = making;
    let settings = made::settings(checkpoint, request, &layout.place, found)?;
    match folder.state(stem, &settings, *frames) {
        State::Whole => {
            output::note(&format!("{stem}: was there"));
            return Ok(false);
        }
        State::Stale(why) => output::note(&format!("{stem}: made again: {why}")),
        State::Absent => {}
    }
    let mut sink = Sink::new(folder, stem, request, *frames)?;
    let mut watch = watch::Watching::new(stem, cancel);
    let mut broken = None;
    let made = generate(
        checkpoint,
        request,
        (*layout).clone(),
        &mut |event| watch.event(event),
        &mut |picture| {
            sink.picture(picture).map_err(|error| {
                broken = Some(error);
                omni_model::Error::Stopped
            })
        },
    );
    watch.finish();
    if let Some(error) = broken {
        return Err(error);
    }
    let made = made?;
    sink.finish(&made, settings, watch.notes())?;
    Ok(true)
}

/// `--method`, or the name of the checkpoint's folder.
fn method(args: &SampleArgs) -> anyhow::Result<String> {
    let own = || {
        let folder = args.checkpoint.canonicalize().ok()?;
        Some(folder.file_name()?.to_string_lossy().into_owned())
    };
    let name = args.method.clone().or_else(own).unwrap_or_default();
    match name.is_empty() || name.contains('/') {
        true => Err(usage(format!("--method `{name}` is no name"))),
        false => Ok(name),
    }
}

/// What each clip takes.
fn tell(checkpoint: &Checkpoint, prepared: &[(&Job, Prepared)], layout: &Layout) -> anyhow::Result<()> {
    let place = &layout.place;
    let mut rows = Vec::new();
    for (job, found) in prepared {
        let request = &found.request;
        let cost = cost(&checkpoint.config, request, place.precision)?;
        rows.push(vec![
            job.case.case.clone(),
            format!("{}x{}", request.width, request.height),
            omni_model::codec::pictures(request.frames).to_string(),
            cost.parameters.to_string(),
            format!("{} + {}", cost.video_tokens, cost.audio_tokens),
            cost.passes.to_string(),
            format!("{:.3e}", cost.flops),
            memory::told(&cost, layout),
        ]);
    }
    let headings = [
        "case",
        "size",
        "pictures",
        "parameters",
        "tokens",
        "passes",
        "operations",
        "memory",
    ];
    output::line(&table::layout(&headings, &rows))?;
    output::note(&format!(
        "checkpoint {} ({}), codec {}, {} on {}; nothing was made",
        checkpoint.folder.display(),
        checkpoint.config.preset,
        checkpoint.config.codec.name(),
        place.precision.name(),
        place.device
    ));
    Ok(())
}
