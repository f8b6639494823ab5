//! `sampling/`: which frames are looked at, and who belongs to whom.

use omni_media::{fps_map, linspace_frames};
use omni_perception::vision::hungarian::assign_max;

use super::{
    Desk, Entry,
    files::{Json, Problem, listed, whole},
};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        folder: "sampling",
        file: "fps25_maps.json",
        run: fps,
    },
    Entry {
        folder: "sampling",
        file: "linspace_frames.json",
        run: linspace,
    },
    Entry {
        folder: "sampling",
        file: "hungarian.json",
        run: hungarian,
    },
];

fn fps(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let mut pairs = Vec::new();
    for case in listed(&desk.json("fps25_maps.json")?)? {
        let rate = case.text("source_fps")?;
        let (num, den) = rate.split_once('/').unwrap_or((rate, "1"));
        let integer = |text: &str| {
            text.parse::<i64>()
                .map_err(|error| Problem::key("source_fps", error))
        };
        let to = case.text("output_fps")?;
        let map = fps_map(
            case.count("source_frames")?,
            integer(num)?,
            integer(den)?,
            integer(to)?,
        );
        pairs.push((format!("{rate} -> {to}"), map, case.read("map_fps_filter")?));
    }
    desk.all_equal("source frame of every output frame", &pairs);
    Ok(())
}

fn linspace(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let mut pairs = Vec::new();
    let file = desk.json("linspace_frames.json")?;
    for (total, lists) in file.as_object().into_iter().flatten() {
        for (name, want) in lists.as_object().into_iter().flatten() {
            let count = name.strip_prefix("linspace").and_then(|n| n.parse().ok());
            let count = count.ok_or_else(|| Problem::key(name, "is no `linspace<count>`"))?;
            let frames = total.parse().map_err(|error| Problem::key(total, error))?;
            let want: Vec<usize> = whole(want)?;
            pairs.push((
                format!("{count} of {total}"),
                linspace_frames(frames, count),
                want,
            ));
        }
    }
    if !pairs.is_empty() {
        desk.all_equal("frames spread over a clip", &pairs);
    }
    Ok(())
}

/// Several assignments may be equally good: what is compared is that each is one, and what it adds up to.
fn hungarian(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let (mut got, mut want) = (Vec::new(), Vec::new());
    for case in listed(&desk.json("hungarian.json")?)? {
        let (rows, columns) = (case.count("rows")?, case.count("cols")?);
        let weights: Vec<Vec<f64>> = case.read("similarity")?;
        if weights.len() != rows || weights.iter().any(|row| row.len() != columns) {
            return Err(Problem::key("similarity", "is not rows x cols"));
        }
        let pairs = assign_max(rows, columns, |row, column| weights[row][column]);
        let expected: Vec<(usize, usize)> = case.read("pairs")?;
        let mut used: Vec<usize> = pairs.iter().map(|(_, column)| *column).collect();
        used.sort_unstable();
        used.dedup();
        let proper = pairs.len() == expected.len() && used.len() == pairs.len();
        let total: f64 = pairs.iter().map(|&(row, column)| weights[row][column]).sum();
        got.push(if proper { total } else { f64::NAN });
        want.push(case.number("total")?);
    }
    desk.close("weight of the best assignment", &got, &want, 1e-9);
    Ok(())
}
