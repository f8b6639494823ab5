//! What a run of training shows while it goes: curves on a terminal, a line now and then elsewhere.

use crate::{output, signals};
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use omni_model::train::Line;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Lines come at most this often.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// A view is drawn at most this often.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Columns of a curve.
const COLUMNS: usize = 40;

/// Follows the steps of a run.
pub struct Live {
    /// Steps of the whole run, and those done before.
    total: u64,
    first: u64,
    begun: Instant,
    said: Option<Instant>,
    /// Whether a step was done.
    pub any: bool,
    view: View,
}

enum View {
    /// Of a rank that does not speak.
    Silent,
    Lines,
    Screen(Screen),
}

impl Live {
    /// Of a run that has done `first` of `total` steps, with these lines in its log. Whoever does not `speak` shows nothing.
    pub fn new((first, total): (u64, u64), log: &[Line], speaks: bool) -> Self {
        let view = match speaks {
            false => View::Silent,
            true if signals::stderr_is_terminal() => View::Screen(Screen::new(total, log)),
            true => View::Lines,
        };
        Self {
            total,
            first,
            begun: Instant::now(),
            said: None,
            any: false,
            view,
        }
    }

    pub fn step(&mut self, line: &Line) {
        self.any = true;
        let done = line.report.step + 1;
        let mut due = |every| {
            let now = done == self.total || self.said.is_none_or(|at| at.elapsed() >= every);
            if now {
                self.said = Some(Instant::now());
            }
            now
        };
        let each = self.begun.elapsed().as_secs_f64() / done.saturating_sub(self.first).max(1) as f64;
        let left = Duration::from_secs_f64(each * self.total.saturating_sub(done) as f64);
        match &mut self.view {
            View::Silent => {}
            View::Lines if due(SAY_EVERY) => output::note(&text(line, self.total, left)),
            View::Lines => {}
            View::Screen(screen) => {
                screen.add(line);
                if due(DRAW_EVERY) {
                    screen.draw(line, left);
                }
            }
        }
    }

    /// Does what may speak itself.
    pub fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        match &self.view {
            View::Screen(screen) => screen.bars.suspend(act),
            _ => act(),
        }
    }
}

/// A step in one line.
fn text(line: &Line, total: u64, left: Duration) -> String {
    let report = &line.report;
    format!(
        "step {}/{total} {}: loss {}, {}, {} left",
        report.step + 1,
        report.kind.name(),
        losses(line),
        speed(line),
        HumanDuration(left)
    )
}

fn losses(line: &Line) -> String {
    let report = &line.report;
    let video = report
        .video
        .map(|video| format!("video {video:.4}, "))
        .unwrap_or_default();
    let lr: Vec<String> = report.lr.iter().map(|(_, lr)| format!("{lr:.1e}")).collect();
    format!(
        "{:.4} ({video}audio {:.4}), gradients {:.3}, lr {}",
        report.loss,
        report.audio,
        report.norm,
        lr.join(" ")
    )
}

fn speed(line: &Line) -> String {
    let rate = |count: u64| count as f64 / line.seconds.max(1e-9);
    let share = line
        .share_of_peak
        .map(|share| format!(" ({:.1} % of peak)", 100.0 * share))
        .unwrap_or_default();
    format!(
        "{:.0} tokens/s, {:.2} samples/s{share}",
        rate(line.report.tokens),
        rate(line.report.ids.len() as u64)
    )
}

/// A bar, a row of losses for each kind of step, and the speed.
struct Screen {
    bars: MultiProgress,
    whole: ProgressBar,
    kinds: BTreeMap<&'static str, (ProgressBar, Curve)>,
    speed: ProgressBar,
}

impl Screen {
    fn new(total: u64, log: &[Line]) -> Self {
        let bars = MultiProgress::new();
        let whole = bars.add(row("steps  {bar:40} {pos}/{len}, {msg}"));
        whole.set_length(total);
        let speed = bars.add(row("{msg}"));
        let mut screen = Self {
            bars,
            whole,
            kinds: BTreeMap::new(),
            speed,
        };
        log.iter().for_each(|line| screen.add(line));
        screen
    }

    fn add(&mut self, line: &Line) {
        let name = line.report.kind.name();
        let new = || {
            let bar = self.bars.insert_before(&self.speed, row("{prefix:6} {msg}"));
            (bar.with_prefix(name), Curve::default())
        };
        let (_, curve) = self.kinds.entry(name).or_insert_with(new);
        curve.push(line.report.loss);
    }

    fn draw(&self, line: &Line, left: Duration) {
        if let Some((bar, curve)) = self.kinds.get(line.report.kind.name()) {
            bar.set_message(format!("{:COLUMNS$} {}", curve.drawn(), losses(line)));
        }
        self.speed.set_message(speed(line));
        self.whole.set_message(format!("{} left", HumanDuration(left)));
        self.whole.set_position(line.report.step + 1);
    }
}

impl Drop for Screen {
    /// What was seen last stays.
    fn drop(&mut self) {
        let kinds = self.kinds.values().map(|(bar, _)| bar);
        for bar in kinds.chain([&self.whole, &self.speed]) {
            bar.abandon();
        }
    }
}

fn row(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    // Templates are constants; if one were wrong the plain bar would show.
    let style = ProgressStyle::with_template(template);
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

/// All losses of a kind of step, means of so many that they fit into a row.
#[derive(Default)]
struct Curve {
    /// Sum and number.
    bins: Vec<(f64, u32)>,
    /// Most in one, as a power of two.
    doubled: u32,
}

impl Curve {
    fn push(&mut self, loss: f64) {
        match self.bins.last_mut() {
            Some((sum, count)) if *count < 1 << self.doubled => {
                *sum += loss;
                *count += 1;
            }
            _ => self.bins.push((loss, 1)),
        }
        if self.bins.len() > COLUMNS {
            let both = |pair: &[(f64, u32)]| {
                pair.iter()
                    .fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
            };
            self.bins = self.bins.chunks(2).map(both).collect();
            self.doubled += 1;
        }
    }

    /// A letter for each bin: the lowest mean to the highest.
    fn drawn(&self) -> String {
        const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let means: Vec<f64> = self
            .bins
            .iter()
            .map(|(sum, count)| sum / f64::from(*count))
            .collect();
        let lowest = means.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let span = (highest - lowest).max(f64::MIN_POSITIVE);
        let level = |mean: &f64| LEVELS[((mean - lowest) / span * 7.0).round() as usize];
        means.iter().map(level).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_shows_all_steps_from_lowest_to_highest() {
        let mut curve = Curve::default();
        curve.push(2.0);
        assert_eq!(curve.drawn(), "▁");
        curve.push(1.0);
        curve.push(1.5);
        assert_eq!(curve.drawn(), "█▁▅");
        // a thousand steps that fall: as wide as the row at most, all of them counted
        let mut curve = Curve::default();
        for step in 0..1000 {
            curve.push(f64::from(1000 - step));
        }
        let drawn = curve.drawn();
        let width = drawn.chars().count();
        assert!((COLUMNS / 2..=COLUMNS).contains(&width), "{drawn}");
        assert!(drawn.starts_with('█') && drawn.ends_with('▁'), "{drawn}");
        let falls = drawn.chars().zip(drawn.chars().skip(1)).all(|(a, b)| a >= b);
        assert!(falls, "{drawn}");
        assert_eq!(curve.bins.iter().map(|(_, count)| count).sum::<u32>(), 1000);
    }
}
