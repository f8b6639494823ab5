//! `omni models`: list, pull, verify.

use crate::{
    cli::{ModelsCommand, PullArgs},
    config::Config,
    exit::Code,
    output, signals, table,
};
use indicatif::{ProgressBar, ProgressStyle};
use omni_perception::registry::{ModelSpec, PullEvent, PullOptions, Registry, Store, pull as fetch};
use serde_json::json;

/// Runs the command.
pub fn run(command: ModelsCommand) -> anyhow::Result<Code> {
    let config = Config::load()?;
    let registry = Registry::builtin();
    let store = Store::new(config.store_dir()?);
    match command {
        ModelsCommand::List { profile, json } => list(&registry, &store, profile.as_deref(), json),
        ModelsCommand::Pull(args) => pull(&registry, &store, &config, args),
        ModelsCommand::Verify { ids } => verify(&registry, &store, &ids),
    }
}

fn list(registry: &Registry, store: &Store, profile: Option<&str>, as_json: bool) -> anyhow::Result<Code> {
    let wanted: Option<Vec<String>> = profile.map(|name| registry.ids(name)).transpose()?;
    let specs = registry
        .specs()
        .iter()
        .filter(|spec| wanted.as_ref().is_none_or(|ids| ids.contains(&spec.id)));
    let mut rows = Vec::new();
    for spec in specs {
        let state = state(store, spec);
        if as_json {
            output::line(&json!({
                "id": spec.id, "role": spec.role, "bytes": bytes(spec), "package_licence": spec.licence.package,
                "weights_licence": spec.licence.weights, "non_commercial": spec.licence.non_commercial,
                "source": spec.source.describe(), "state": state, "run_here": spec.run_here,
            }).to_string())?;
            continue;
        }
        let weights = match spec.licence.non_commercial {
            true => format!("{} (non-commercial)", spec.licence.weights),
            false => spec.licence.weights.clone(),
        };
        let megabytes = bytes(spec).map_or_else(|| "?".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
        let cells = [
            &spec.id,
            &spec.role,
            &megabytes,
            &spec.licence.package,
            &weights,
            &state,
        ];
        rows.push(cells.into_iter().cloned().collect());
    }
    if !as_json {
        output::line(&table::layout(
            &["id", "role", "MB", "package licence", "weights licence", "state"],
            &rows,
        ))?;
    }
    Ok(Code::Done)
}

fn bytes(spec: &ModelSpec) -> Option<u64> {
    spec.files.iter().map(|file| file.bytes).sum()
}

fn state(store: &Store, spec: &ModelSpec) -> String {
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
        ..PullOptions::default()
    };
    let mut console = Console::default();
    let pulled = fetch(registry, store, &ids, &options, &mut |event| console.on(event));
    console.clear();
    let pulled = pulled?;
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
                bytes,
                package,
                weights,
                non_commercial,
            } => {
                let size = bytes.map_or_else(
                    || "size unknown".into(),
                    |bytes| format!("{:.1} MB", bytes as f64 / 1e6),
                );
                let note = if non_commercial {
                    ", for non-commercial use only"
                } else {
                    ""
                };
                output::note(&format!(
                    "{id}: {size}; package licence {package}; weights licence {weights}{note}"
                ));
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
            let style = ProgressStyle::with_template(
                "{prefix} {bar:28} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}",
            );
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

fn verify(registry: &Registry, store: &Store, ids: &[String]) -> anyhow::Result<Code> {
    let mut rows = Vec::new();
    let mut failed = false;
    let there = |spec: &&ModelSpec| store.dir(spec).is_dir();
    let all: Vec<String> = registry
        .specs()
        .iter()
        .filter(there)
        .map(|spec| spec.id.clone())
        .collect();
    for id in if ids.is_empty() { &all } else { ids } {
        match store.verify(registry, id) {
            Ok(files) => {
                rows.extend(
                    files
                        .into_iter()
                        .map(|file| vec!["ok".to_owned(), id.clone(), file.name, file.sha256]),
                );
            }
            Err(error) => {
                failed = true;
                rows.push(vec![
                    "wrong".to_owned(),
                    id.clone(),
                    String::new(),
                    error.to_string(),
                ]);
            }
        }
    }
    output::line(&table::layout(
        &["state", "id", "file", "sha256, or what is wrong"],
        &rows,
    ))?;
    Ok(if failed { Code::Failed } else { Code::Done })
}
