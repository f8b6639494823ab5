//! `omni export`: the kept clips of a run in another program's format.

use super::out_dir;
use crate::{
    cli::{ExportArgs, ExportFormat, ExportMedia},
    config::Config,
    exit::{Code, usage},
    output, signals,
};
use anyhow::Context;
use omni_curate::{
    export::{Format, Media, Options, export},
    finished::media_root,
};
use omni_pipeline::{Cancel, readers::Run};

/// Runs the command.
pub fn run(args: &ExportArgs) -> anyhow::Result<Code> {
    let from = out_dir(args.from.as_deref(), &Config::load()?, "OUT")?;
    let run = Run::open(&from).with_context(|| format!("{} is no output folder of a run", from.display()))?;
    let selection = args.selection.clone();
    if let Some(folder) = selection
        .as_deref()
        .filter(|folder| !folder.join("selection.parquet").is_file())
    {
        return Err(usage(format!(
            "--selection {}: no selection.parquet there; give the folder that `omni select` wrote",
            folder.display()
        )));
    }
    let options = Options {
        format: format(args.format),
        to: args.out.clone(),
        media: media(args.media),
        selection,
        root: media_root(&run, args.root.as_deref())?,
    };
    if args.media == ExportMedia::Link && args.format == ExportFormat::Webdataset {
        output::note("note: webdataset holds media inside its tars, so they are copied");
    }
    let cancel = Cancel::default();
    signals::on_interrupt(&cancel);
    let Some(done) = export(&run, &options, &cancel)? else {
        return Ok(Code::Interrupted);
    };
    for (reason, clips) in &done.left {
        output::note(&format!("left out: {clips} clips, {reason}"));
    }
    let state = if done.was_there {
        "was there already"
    } else {
        "written"
    };
    output::line(&format!(
        "{} clips as {}, {state}: {}",
        done.clips,
        options.format.name(),
        args.out.display()
    ))?;
    Ok(if done.left.is_empty() {
        Code::Done
    } else {
        Code::Failed
    })
}

fn format(format: ExportFormat) -> Format {
    match format {
        ExportFormat::Webdataset => Format::Webdataset,
        ExportFormat::Ltx => Format::Ltx,
        ExportFormat::Musubi => Format::Musubi,
        ExportFormat::Jsonl => Format::Jsonl,
        ExportFormat::Croissant => Format::Croissant,
    }
}

fn media(media: ExportMedia) -> Media {
    match media {
        ExportMedia::Link => Media::Link,
        ExportMedia::Copy => Media::Copy,
        ExportMedia::None => Media::None,
    }
}
