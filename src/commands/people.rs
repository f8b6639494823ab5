//! `omni select` and `omni pool`: commands over finished manifests, across shards; each writes one manifest.

use super::out_dir;
use crate::{
    cli::{PoolArgs, SelectArgs},
    config::Config,
    exit::{Code, missing, usage},
    output, table,
};
use anyhow::Context;
use omni_curate::{
    pool,
    select::{self, Candidate, Donors, HeldOut, Selector, Thresholds},
};
use omni_manifests::{ListingReader, Receipt, fingerprint, read_part, write_part};
use omni_perception::registry::Registry;
use omni_pipeline::readers::Run;
use omni_schemas::{
    Binding, Clip, CrossCheck, FaceRef, Identity, Listing, OmniCaption, Record, Score, Track, Transcript,
    VoiceRef,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    iter::Peekable,
    path::{Path, PathBuf},
};

/// Runs `omni select`.
pub fn select(args: &SelectArgs) -> anyhow::Result<Code> {
    let config = Config::load()?;
    let from = out_dir(args.from.as_deref(), &config, "--from DIR")?;
    let mut recipe = selection_recipe(&args.recipe, &args.set)?;
    recipe.licences.extend(args.licence.iter().cloned());
    let run = open(&from)?;
    let held_out = match &recipe.hold_out {
        Some(path) => HeldOut::read(path, thresholds(&run)?)?,
        None => HeldOut::nobody(),
    };
    let donors = match recipe.references.as_str() {
        "pool" => Some(donors(&recipe, &from, &run)?),
        _ => None,
    };
    let mut selector = Selector::new(&recipe, &held_out);
    if let Some((donors, _)) = &donors {
        selector = selector.with_donors(donors);
    }
    let mut rows = Vec::new();
    for clip in Clips::open(&run)? {
        rows.extend(selector.judge(&clip?.candidate())?);
    }
    let report = selector.finish();
    known_scores(&report, &run)?;
    rows.sort_by(|a, b| a.clip.cmp(&b.clip));
    let to = args
        .to
        .clone()
        .unwrap_or_else(|| from.join(format!("select-{}", recipe.name)));
    let mut settings = serde_json::to_value(&recipe)?;
    if let Some((_, check)) = &donors {
        settings["pool"] = check.as_str().into(); // what it holds, not where it lies
    }
    write(&to, "select", settings, &run, &rows)?;
    let mut lines = vec![vec!["taken".to_owned(), report.taken.to_string(), String::new()]];
    for (rule, first) in &report.first {
        let total = report.total.get(rule).copied().unwrap_or(*first);
        lines.push(vec![
            format!("left: {rule}"),
            first.to_string(),
            total.to_string(),
        ]);
    }
    lines.push(vec!["seen".to_owned(), report.seen.to_string(), String::new()]);
    output::line(&table::layout(
        &["what", "clips", "clips the rule fails on"],
        &lines,
    ))?;
    for name in &report.never_measured {
        output::note(&format!("warning: no clip has a score `{name}`"));
    }
    output::line(&format!(
        "\nwrote {}; look at it with: omni show {} selection",
        to.display(),
        to.display()
    ))?;
    Ok(Code::Done)
}

/// A limit on a score or reading that no row has and no stage makes would leave out everything: a slip, said before
/// anything is written. One of [`select::SCORES`] may well be absent of a whole corpus; that is a warning.
fn known_scores(report: &select::Report, run: &Run) -> anyhow::Result<()> {
    let known = |name: &String| select::SCORES.iter().any(|(known, _)| known == name);
    let Some(name) = report.never_measured.iter().find(|name| !known(name)) else {
        return Ok(());
    };
    if report.seen == 0 {
        return Ok(());
    }
    let names = select::SCORES.iter().map(|(name, _)| *name);
    let names = names.chain(report.measured.iter().map(String::as_str));
    let hint = omni_pipeline::nearest(name, names)
        .map(|name| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default();
    let scored = run.file().stages.iter().any(|stage| stage.record == Score::NAME);
    let remedy = match scored {
        true => "",
        false => "; this run has no readings of metrics, `omni curate --score METRICS` makes them",
    };
    Err(usage(format!(
        "minimum or maximum `{name}`: no clip has a score or reading of that name{hint}{remedy}"
    )))
}

/// Everyone whose references may be drawn for somebody else's clip: identities, the corpus' pairs, and what is there;
/// and the check of the identities' manifest.
fn donors(recipe: &select::Recipe, from: &Path, run: &Run) -> anyhow::Result<(Donors, String)> {
    let pool = recipe.pool.clone().unwrap_or_else(|| from.join("pool"));
    let file = match pool.is_dir() {
        true => pool.join(format!("{}.parquet", Identity::NAME)),
        false => pool,
    };
    if !file.is_file() {
        return Err(missing(format!(
            "no identities at {}; run `omni pool --from {}`, or name them with --set pool=DIR",
            file.display(),
            from.display()
        )));
    }
    let track = run.table::<Track>()?.next().transpose()?;
    let mut donors = Donors::new(face_threshold(
        track.as_ref().map_or("", |track| track.embedder.as_str()),
    )?);
    let (identities, receipt) = read_part::<Identity>(&file)?;
    identities
        .into_iter()
        .for_each(|identity| donors.identity(identity));
    let mut listing = ListingReader::open(&run.listing())?;
    for group in 0..listing.groups() {
        let rows: Vec<Listing> = listing.group(group)?;
        rows.iter().for_each(|row| donors.pairs(row));
    }
    for clip in Clips::open(run)? {
        let clip = clip?;
        if recipe.permits(clip.clip.licence.as_deref()) {
            donors.add(&clip.candidate());
        }
    }
    Ok((donors, receipt.check))
}

fn selection_recipe(name: &str, set: &[String]) -> anyhow::Result<select::Recipe> {
    let path = Path::new(name);
    let text = match select::built_in(name) {
        Some(text) => text.to_owned(),
        None if path.is_file() => std::fs::read_to_string(path).with_context(|| name.to_owned())?,
        None => {
            let hint = omni_pipeline::nearest(name, select::BUILT_IN.iter().map(|(known, _)| *known));
            let hint = hint
                .map(|name| format!(" (did you mean `{name}`?)"))
                .unwrap_or_default();
            let known: Vec<_> = select::BUILT_IN.iter().map(|(known, _)| *known).collect();
            return Err(usage(format!(
                "no selection recipe or file `{name}`{hint}; the built-in ones are: {}",
                known.join(", ")
            )));
        }
    };
    let recipe: select::Recipe = omni_curate::recipe::read(&text, name, set)?;
    recipe
        .check()
        .map_err(|error| usage(format!("{name}: {error}")))?;
    Ok(recipe)
}

/// Runs `omni pool`.
pub fn pool(args: &PoolArgs) -> anyhow::Result<Code> {
    let config = Config::load()?;
    let from = out_dir(args.from.as_deref(), &config, "--from DIR")?;
    let mut settings: pool::Settings = omni_curate::recipe::read("", "--set", &args.set)?;
    let run = open(&from)?;
    let mut people = Vec::new();
    for clip in Clips::open(&run)? {
        let clip = clip?;
        people.extend(pool::appearances(
            &clip.clip,
            &clip.tracks,
            &clip.voices,
            clip.binding.as_ref(),
        ));
    }
    let network = people.first().map_or("", |person| person.face_network.as_str());
    let threshold = match settings.threshold {
        Some(threshold) => threshold,
        None => face_threshold(network)?,
    };
    let pooled = pool::pool(people, threshold, &settings).map_err(|error| match error {
        pool::Error::Settings(_) | pool::Error::TooMany(_) => usage(format!("{error} (--set KEY=VALUE)")),
        other => other.into(),
    })?;
    settings.threshold = Some(threshold);
    let to = args.to.clone().unwrap_or_else(|| from.join("pool"));
    write(
        &to,
        "pool",
        serde_json::to_value(&settings)?,
        &run,
        &pooled.identities,
    )?;
    let recurring = pooled
        .identities
        .iter()
        .filter(|row| row.members.len() > 1)
        .count();
    output::line(&format!(
        "{} identities from {} appearances; {recurring} seen more than once; {} appearances without a face vector",
        pooled.identities.len(),
        pooled.appearances,
        pooled.without_face
    ))?;
    if !pooled.exact {
        output::note("note: too many faces to compare each with each; a person may be left in two parts");
    }
    output::line(&format!(
        "wrote {}; look at it with: omni show {} identity",
        to.display(),
        to.display()
    ))?;
    Ok(Code::Done)
}

fn open(from: &Path) -> anyhow::Result<Run> {
    Run::open(from).with_context(|| format!("{} is no output folder of a run", from.display()))
}

/// The threshold of the network that made a vector, from the list of networks; `tag` is `id#hash`.
fn face_threshold(tag: &str) -> anyhow::Result<f64> {
    threshold(tag, "face")
}

fn threshold(tag: &str, what: &str) -> anyhow::Result<f64> {
    let id = tag.split('#').next().unwrap_or_default();
    if id.is_empty() {
        return Err(missing(format!(
            "no {what} vector in this run: nothing can be compared"
        )));
    }
    let registry = Registry::builtin();
    let threshold = registry.spec(id)?.threshold;
    threshold
        .map(f64::from)
        .ok_or_else(|| missing(format!("`{id}` has no threshold in models.toml")))
}

fn thresholds(run: &Run) -> anyhow::Result<Thresholds> {
    let track = run.table::<Track>()?.next().transpose()?;
    let voice = run.table::<VoiceRef>()?.next().transpose()?;
    Ok(Thresholds {
        face: face_threshold(track.as_ref().map_or("", |track| track.embedder.as_str()))?,
        voice: match voice {
            Some(voice) => threshold(&voice.embedder, "voice")?,
            None => 1.0,
        },
    })
}

/// Writes `<to>/<record>.parquet` with a receipt that names the run it was made from.
fn write<R: Record>(
    to: &Path,
    stage: &str,
    settings: serde_json::Value,
    run: &Run,
    rows: &[R],
) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    let inputs: BTreeMap<String, String> = run
        .file()
        .stages
        .iter()
        .map(|entry| (entry.stage.clone(), entry.fingerprint.clone()))
        .collect();
    let receipt = Receipt {
        record: R::NAME.into(),
        record_version: R::VERSION,
        stage: stage.into(),
        stage_version: 1,
        fingerprint: fingerprint(&json!({ "stage": stage, "settings": settings, "inputs": inputs })),
        shard: "all".into(),
        rows: rows.len() as u64,
        drops: BTreeMap::new(),
        inputs,
        settings,
        tar: None,
        check: String::new(),
    };
    let path = to.join(format!("{}.parquet", R::NAME));
    write_part(&path, rows, &receipt)?;
    Ok(path)
}

/// Everything known of one clip.
struct Known {
    clip: Clip,
    tracks: Vec<Track>,
    face_refs: Vec<FaceRef>,
    transcript: Option<Transcript>,
    voices: Vec<VoiceRef>,
    binding: Option<Binding>,
    check: Option<CrossCheck>,
    caption: Option<OmniCaption>,
    scores: Vec<Score>,
}

impl Known {
    fn candidate(self) -> Candidate {
        Candidate::new(self.clip)
            .with_tracks(&self.tracks)
            .with_face_refs(self.face_refs)
            .with_transcript(self.transcript)
            .with_voice_refs(self.voices)
            .with_binding(self.binding)
            .with_cross_check(self.check)
            .with_caption(self.caption)
            .with_scores(self.scores)
    }
}

type Rows<R> = Peekable<Box<dyn Iterator<Item = Result<R, omni_pipeline::Error>>>>;

/// Joins the manifests of a run clip by clip. Every manifest keeps the order of the listing, so one row of each is in
/// memory at a time.
struct Clips {
    clips: Rows<Clip>,
    tracks: Rows<Track>,
    face_refs: Rows<FaceRef>,
    transcripts: Rows<Transcript>,
    voices: Rows<VoiceRef>,
    bindings: Rows<Binding>,
    checks: Rows<CrossCheck>,
    captions: Rows<OmniCaption>,
    scores: Rows<Score>,
}

impl Clips {
    fn open(run: &Run) -> anyhow::Result<Self> {
        Ok(Self {
            clips: rows(run)?,
            tracks: rows(run)?,
            face_refs: rows(run)?,
            transcripts: rows(run)?,
            voices: rows(run)?,
            bindings: rows(run)?,
            checks: rows(run)?,
            captions: rows(run)?,
            scores: rows(run)?,
        })
    }

    fn join(&mut self, clip: Clip) -> Result<Known, omni_pipeline::Error> {
        let key = clip.clip.clone();
        Ok(Known {
            tracks: of(&mut self.tracks, &key)?,
            face_refs: of(&mut self.face_refs, &key)?,
            transcript: of(&mut self.transcripts, &key)?.pop(),
            voices: of(&mut self.voices, &key)?,
            binding: of(&mut self.bindings, &key)?.pop(),
            check: of(&mut self.checks, &key)?.pop(),
            caption: of(&mut self.captions, &key)?.pop(),
            scores: of(&mut self.scores, &key)?,
            clip,
        })
    }
}

impl Iterator for Clips {
    type Item = Result<Known, omni_pipeline::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.clips.next()?.and_then(|clip| self.join(clip)))
    }
}

/// The rows of a record; none where the recipe has no stage for it.
fn rows<R: Record>(run: &Run) -> anyhow::Result<Rows<R>> {
    let made = run.file().stages.iter().any(|entry| entry.record == R::NAME);
    let rows: Box<dyn Iterator<Item = Result<R, omni_pipeline::Error>>> = if made {
        Box::new(run.table::<R>()?)
    } else {
        Box::new(std::iter::empty())
    };
    Ok(rows.peekable())
}

/// The rows at the front that belong to `key`.
fn of<R: Record>(rows: &mut Rows<R>, key: &str) -> Result<Vec<R>, omni_pipeline::Error> {
    let mut own = Vec::new();
    while let Some(row) = rows.next_if(|row| row.as_ref().map_or(true, |row| row.key() == key)) {
        own.push(row?);
    }
    Ok(own)
}
