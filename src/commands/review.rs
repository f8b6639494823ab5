//! `omni review`: a person judges a sample of bindings; how precise they are.

use super::{out_dir, services::worker};
use crate::{
    cli::ReviewArgs,
    config::Config,
    exit::{Code, usage},
    output, signals, table,
};
use anyhow::Context;
use omni_curate::{
    finished::media_root,
    review::{Precision, Summary, Verdicts, sample, serve::Server, summary},
};
use omni_pipeline::{Cancel, readers::Run};

/// Runs the command.
pub fn run(args: &ReviewArgs) -> anyhow::Result<Code> {
    if args.n == 0 {
        return Err(usage("--n must be at least 1"));
    }
    let out = out_dir(args.out.as_deref(), &Config::load()?, "OUT")?;
    let run = Run::open(&out).with_context(|| format!("{} is no output folder of a run", out.display()))?;
    let claims = sample(&run, args.seed, args.n)?;
    let verdicts = Verdicts::open(&out, &worker())?;
    if args.summary || args.json {
        let summary = summary(&verdicts, &claims.bind);
        print(&summary, claims.of, args.json)?;
        return Ok(Code::Done);
    }
    let root = media_root(&run, args.root.as_deref())?;
    let (drawn, of) = (claims.claims.len(), claims.of);
    let server = Server::open(&run, &root, claims, verdicts, args.port)?;
    let cancel = Cancel::default();
    signals::on_interrupt(&cancel);
    output::line(&format!(
        "{drawn} of {of} pairs of face and voice to judge; open {}\nverdicts go to {}/review; Ctrl-C ends, and the same \
         command goes on",
        server.url(),
        out.display()
    ))?;
    server.run(&cancel)?;
    print(&server.summary(), of, false)?;
    Ok(Code::Done)
}

fn print(summary: &Summary, of: u64, json: bool) -> anyhow::Result<()> {
    if json {
        return output::line(&serde_json::to_string(summary)?);
    }
    let share =
        |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{:.1} %", 100.0 * value));
    let row = |name: &str, one: &Precision| {
        vec![
            name.to_owned(),
            one.right.to_string(),
            one.wrong.to_string(),
            one.unsure.to_string(),
            share(one.precision),
            share(one.low),
            share(one.high),
        ]
    };
    let mut rows: Vec<_> = summary.routes.iter().map(|(name, one)| row(name, one)).collect();
    rows.push(row("all", &summary.all));
    let head = [
        "bound by",
        "right",
        "wrong",
        "unsure",
        "precision",
        "95 % from",
        "to",
    ];
    output::line(&table::layout(&head, &rows))?;
    output::line(&format!(
        "precision: right of right and wrong, with Wilson's interval; {} of {of} pairs judged",
        summary.all.right + summary.all.wrong + summary.all.unsure
    ))?;
    if summary.elsewhere > 0 {
        output::note(&format!(
            "{} verdicts on bindings of other settings are not counted",
            summary.elsewhere
        ));
    }
    Ok(())
}
