//! `omni report`: the gallery of a run, as a page on disk, or served on this machine.

use super::out_dir;
use crate::{
    cli::ReportArgs,
    config::Config,
    exit::{Code, usage},
    output, signals,
};
use anyhow::Context;
use omni_curate::{
    finished::media_root,
    report::{Options, make, serve::Server},
};
use omni_pipeline::{Cancel, readers::Run};

/// Runs the command.
pub fn run(args: &ReportArgs) -> anyhow::Result<Code> {
    let out = out_dir(args.out.as_deref(), &Config::load()?, "OUT")?;
    let run = Run::open(&out).with_context(|| format!("{} is no output folder of a run", out.display()))?;
    let threads = match args.threads {
        Some(0) => return Err(usage("--threads must be at least 1")),
        Some(threads) => threads,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let root = media_root(&run, args.root.as_deref())?;
    let options = Options {
        root: root.clone(),
        threads,
    };
    let cancel = Cancel::default();
    signals::on_interrupt(&cancel);
    let tell = |done: usize, all: usize| {
        if all > 4 && (done == all || done.is_multiple_of(8)) {
            output::note(&format!("report: {done}/{all} shards"));
        }
    };
    let Some(made) = make(&run, &options, &cancel, &tell)? else {
        return Ok(Code::Interrupted);
    };
    if made.absent > 0 {
        output::note(&format!(
            "warning: {} of {} clips have no media file below {}; their cards say so (--root DIR names another folder)",
            made.absent,
            made.clips,
            root.display()
        ));
    }
    output::line(&format!(
        "{} clips; {} shards written, {} as they were\nopen {}",
        made.clips,
        made.written,
        made.kept,
        made.page.display()
    ))?;
    if !args.serve {
        return Ok(Code::Done);
    }
    let server = Server::open(&out, &root, args.port)?;
    output::line(&format!("serving {} on this machine; Ctrl-C ends", server.url()))?;
    server.run(&cancel)?;
    Ok(Code::Done)
}
