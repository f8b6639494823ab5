//! Where one golden file is checked: its files at hand, and a sheet for what was found.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    rc::Rc,
};

use omni_media::{Image, Pcm};
use omni_perception::runtime::Runtime;
use serde_json::Value;

use super::{
    Checked, Report, Verdict, Verifier,
    files::{self, Problem, Tensors},
};

/// Said of a file that is missing.
const NOT_HERE: &str = "is not here, so what is compared with it was not";

/// One check at work.
pub struct Desk<'a> {
    verifier: &'a Verifier,
    root: &'a Path,
    folder: &'a Path,
    file: String,
    read: BTreeSet<PathBuf>,
    tensors: Vec<(String, Rc<Tensors>)>,
    checks: Vec<Checked>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(verifier: &'a Verifier, root: &'a Path, folder: &'a Path, file: &str) -> Desk<'a> {
        let mut desk = Desk {
            verifier,
            root,
            folder,
            file: file.to_owned(),
            read: BTreeSet::new(),
            tensors: Vec::new(),
            checks: Vec::new(),
        };
        // The file of the entry counts as looked at even when it turns out to be broken: then it has failed.
        desk.read.insert(folder.join(file));
        desk
    }

    /// Hands over what was found. A check that compared nothing has failed.
    pub(super) fn finish(
        mut self,
        outcome: Result<(), Problem>,
        read: &mut BTreeSet<PathBuf>,
        report: &mut Report,
    ) {
        if let Err(problem) = outcome {
            self.fail("the whole file", problem.to_string());
        } else if !self.checks.iter().any(|check| check.verdict != Verdict::NotHere) {
            self.fail("the whole file", "holds nothing that is known".to_owned());
        }
        for (name, tensors) in &self.tensors {
            let path = files::shown(self.root, &self.folder.join(name));
            report.unread.extend(
                tensors
                    .unread()
                    .iter()
                    .map(|key| format!("{path}: tensor `{key}`")),
            );
        }
        read.append(&mut self.read);
        report.checks.append(&mut self.checks);
    }

    /// Whether a file lies beside the one that is checked. One that does not is said, once: what is compared with it is not.
    pub(super) fn needs(&mut self, name: &str) -> bool {
        if files::beside(self.folder, name).is_ok_and(|path| path.is_file()) {
            return true;
        }
        if !self.checks.iter().any(|check| check.quantity == name) {
            self.note(name, None, 0.0, Verdict::NotHere, Some(NOT_HERE.to_owned()));
        }
        false
    }

    /// The file of the entry is not here, and others of its folder are.
    pub(super) fn absent(mut self, report: &mut Report) {
        self.needs(&self.file.clone());
        report.checks.append(&mut self.checks);
    }

    fn path(&mut self, name: &str) -> Result<PathBuf, Problem> {
        let path = files::beside(self.folder, name)?;
        self.read.insert(path.clone());
        Ok(path)
    }

    pub(super) fn json(&mut self, name: &str) -> Result<Value, Problem> {
        serde_json::from_slice(&self.bytes(name)?).map_err(|error| Problem::file(name, error))
    }

    pub(super) fn bytes(&mut self, name: &str) -> Result<Vec<u8>, Problem> {
        files::bytes(&self.path(name)?, name)
    }

    pub(super) fn tensors(&mut self, name: &str) -> Result<Rc<Tensors>, Problem> {
        if let Some((_, tensors)) = self.tensors.iter().find(|(known, _)| known == name) {
            return Ok(tensors.clone());
        }
        let tensors = Rc::new(Tensors::read(&self.path(name)?, name)?);
        self.tensors.push((name.to_owned(), tensors.clone()));
        Ok(tensors)
    }

    pub(super) fn picture(&mut self, name: &str) -> Result<Image, Problem> {
        files::picture(&self.path(name)?, name)
    }

    pub(super) fn sound(&mut self, name: &str) -> Result<Pcm, Problem> {
        files::sound(&self.path(name)?, name)
    }

    /// The one channel of a 16 kHz file.
    pub(super) fn wave(&mut self, name: &str) -> Result<Vec<f32>, Problem> {
        let sound = self.sound(name)?;
        if (sound.rate, sound.channels) != (16_000, 1) {
            return Err(Problem::file(name, "should be mono at 16 kHz"));
        }
        Ok(sound.samples)
    }

    /// A file that is opened by its path: a clip, or a graph.
    pub(super) fn file(&mut self, name: &str) -> Result<PathBuf, Problem> {
        self.path(name)
    }

    pub(super) fn runtime(&self) -> Result<Runtime, Problem> {
        self.verifier.runtime()
    }

    fn note(
        &mut self,
        quantity: &str,
        error: Option<f64>,
        tolerance: f64,
        verdict: Verdict,
        note: Option<String>,
    ) {
        self.checks.push(Checked {
            file: files::shown(self.root, &self.folder.join(&self.file)),
            quantity: quantity.to_owned(),
            error,
            tolerance,
            verdict,
            note,
        });
    }

    /// Something could not be compared.
    pub(super) fn fail(&mut self, quantity: &str, note: String) {
        self.note(quantity, None, 0.0, Verdict::Fail, Some(note));
    }

    /// Something that takes published weights.
    pub(super) fn needs_weights(&mut self, quantity: &str, note: &str) {
        self.note(quantity, None, 0.0, Verdict::NeedsWeights, Some(note.to_owned()));
    }

    /// A largest difference against its tolerance.
    pub(super) fn judge(&mut self, quantity: &str, error: f64, tolerance: f64) {
        let verdict = if error <= tolerance {
            Verdict::Pass
        } else {
            Verdict::Fail
        };
        let finite = error.is_finite();
        let note = (!finite).then(|| "a number is not finite on one side only".to_owned());
        self.note(quantity, finite.then_some(error), tolerance, verdict, note);
    }

    /// Lists of numbers, absolute difference.
    pub(super) fn close(&mut self, quantity: &str, got: &[f64], want: &[f64], tolerance: f64) {
        self.compare(quantity, got, want, tolerance, |a, b| (a - b).abs());
    }

    /// The same for f32.
    pub(super) fn close32(&mut self, quantity: &str, got: &[f32], want: &[f32], tolerance: f64) {
        let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        self.close(quantity, &wide(got), &wide(want), tolerance);
    }

    /// Lists of numbers, difference relative to the largest of the expected ones or to each, whichever is kinder to
    /// numbers near zero.
    pub(super) fn relative(&mut self, quantity: &str, got: &[f64], want: &[f64], tolerance: f64) {
        self.compare(quantity, got, want, tolerance, |a, b| {
            (a - b).abs() / b.abs().max(1.0)
        });
    }

    fn compare(
        &mut self,
        quantity: &str,
        got: &[f64],
        want: &[f64],
        tolerance: f64,
        difference: impl Fn(f64, f64) -> f64,
    ) {
        if got.len() != want.len() {
            let note = format!("{} numbers instead of {}", got.len(), want.len());
            return self.fail(quantity, note);
        }
        let one = |(a, b): (&f64, &f64)| if a == b { 0.0 } else { difference(*a, *b) };
        let worst =
            got.iter().zip(want).map(one).fold(
                0.0,
                |worst: f64, x| {
                    if x.is_nan() { f64::INFINITY } else { worst.max(x) }
                },
            );
        self.judge(quantity, worst, tolerance);
    }

    /// Values that must be equal; `note` says what differs.
    pub(super) fn equal<T: PartialEq + std::fmt::Debug>(&mut self, quantity: &str, got: &T, want: &T) {
        let same = got == want;
        let verdict = if same { Verdict::Pass } else { Verdict::Fail };
        let short = |value: &T| format!("{value:?}").chars().take(120).collect::<String>();
        let note = (!same).then(|| format!("{} instead of {}", short(got), short(want)));
        self.note(quantity, same.then_some(0.0), 0.0, verdict, note);
    }

    /// Many values that must be equal: one line, with the first that differ.
    pub(super) fn all_equal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        quantity: &str,
        pairs: &[(String, T, T)],
    ) {
        if pairs.is_empty() {
            return self.fail(quantity, "there is nothing to compare".to_owned());
        }
        let wrong: Vec<_> = pairs.iter().filter(|(_, got, want)| got != want).collect();
        let verdict = if wrong.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Fail
        };
        let note = wrong.first().map(|(what, got, want)| {
            let text = format!(
                "{} of {} differ, first {what}: {got:?} instead of {want:?}",
                wrong.len(),
                pairs.len()
            );
            text.chars().take(240).collect()
        });
        self.note(quantity, Some(wrong.len() as f64), 0.0, verdict, note);
    }

    /// Pictures, difference in levels of 0..255.
    pub(super) fn pixels(&mut self, quantity: &str, got: &Image, want: &Image, tolerance: u8) {
        if (got.width, got.height) != (want.width, want.height) {
            let note = format!(
                "{}x{} instead of {}x{}",
                got.width, got.height, want.width, want.height
            );
            return self.fail(quantity, note);
        }
        let pairs = got.data.iter().zip(&want.data);
        let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        self.judge(quantity, f64::from(worst), f64::from(tolerance));
    }
}
