//! The numbers of the paper's Tables 1 and 2, as they were published. They were made by the authors' own protocol, which
//! is not public: they stand beside ours to be seen, never to be ranked with them.

/// Table 1.
const TABLE_1: &str = include_str!("published/table1.csv");
/// Table 2.
const TABLE_2: &str = include_str!("published/table2.csv");

/// A published row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Published {
    /// The method; empty in Table 2.
    pub method: String,
    /// Its paradigm, as ours are called; empty in Table 2.
    pub paradigm: &'static str,
    /// The parts that are switched on; empty in Table 1.
    pub ticks: Vec<&'static str>,
    /// The readings that were published.
    pub values: Vec<(String, f64)>,
}

/// The columns of Table 2 that say which parts are on, with the names the paper gives them.
const TICKS: &[(&str, &str)] = &[
    ("ocf", "OCF"),
    ("sa_mrope", "SA-MRoPE"),
    ("mtp_ca", "MTP-CA"),
    ("inter_tts", "Inter-TTS"),
    ("in_cross_curriculum", "In/Cross-Curric."),
];

pub(super) fn table_1() -> Vec<Published> {
    rows(TABLE_1)
}

pub(super) fn table_2() -> Vec<Published> {
    rows(TABLE_2)
}

fn rows(table: &str) -> Vec<Published> {
    let mut lines = table.lines();
    let headings: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    lines
        .map(|line| {
            let mut row = Published {
                method: String::new(),
                paradigm: "",
                ticks: Vec::new(),
                values: Vec::new(),
            };
            for (heading, cell) in headings.iter().zip(line.split(',')) {
                let tick = TICKS.iter().find(|(name, _)| name == heading);
                match (*heading, tick, cell.parse::<f64>()) {
                    ("method", ..) => cell.clone_into(&mut row.method),
                    ("paradigm", ..) => row.paradigm = paradigm(cell),
                    (_, Some((_, name)), Ok(on)) if on > 0.0 => row.ticks.push(name),
                    (_, None, Ok(value)) => row.values.push(((*heading).to_owned(), value)),
                    _ => {}
                }
            }
            row
        })
        .collect()
}

fn paradigm(published: &str) -> &'static str {
    match published {
        "video_customization" => "video",
        "audio_driven_video_customization" => "audio_driven",
        "qwen_image_plus_javg" => "first_frame",
        _ => "joint",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_are_whole() {
        let rows = table_1();
        assert_eq!(rows.len(), 12);
        let ours = rows.last().unwrap();
        assert_eq!(
            (ours.method.as_str(), ours.paradigm, ours.values.len()),
            ("Omni-Customizer", "joint", 12)
        );
        assert!(ours.values.contains(&("wer".to_owned(), 0.152)));
        let phantom = &rows[0];
        assert_eq!(
            (phantom.paradigm, phantom.values.len()),
            ("video", 5),
            "what was not published is absent"
        );
        let steps = table_2();
        assert_eq!(
            steps.iter().map(|row| row.ticks.len()).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5]
        );
        assert_eq!(steps[0].values.len(), 12);
    }
}
