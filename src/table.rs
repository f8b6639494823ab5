//! Plain text tables.

/// Lays out rows under headings, columns as wide as their longest cell; numbers to the right.
pub fn layout(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let heading: Vec<String> = headings.iter().map(|&text| text.to_owned()).collect();
    let lines = std::iter::once(&heading).chain(rows).map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| pad(cell, width));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The same for a terminal of so many columns: where the table is wider, each row becomes a block of
/// lines, its first cell alone and the others under it. Without a terminal the table stays whole.
pub fn fitted(headings: &[&str], rows: &[Vec<String>], columns: Option<usize>) -> String {
    let table = layout(headings, rows);
    let widest = table.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    if columns.is_none_or(|columns| widest <= columns) {
        return table;
    }
    rows.iter()
        .map(|row| block(headings, row))
        .collect::<Vec<_>>()
        .join("\n")
}

fn block(headings: &[&str], row: &[String]) -> String {
    let first = row.first().cloned().unwrap_or_default();
    let rest = headings.iter().zip(row).skip(1);
    let lines = rest.filter(|(_, cell)| !cell.is_empty());
    std::iter::once(first)
        .chain(lines.map(|(heading, cell)| format!("  {heading}: {cell}")))
        .collect::<Vec<_>>()
        .join("\n")
}

fn pad(cell: &str, width: usize) -> String {
    let number = cell.starts_with(|c: char| c.is_ascii_digit()) && cell.parse::<f64>().is_ok();
    if number {
        format!("{cell:>width$}")
    } else {
        format!("{cell:<width$}")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_stand_right_and_words_left() {
        let rows = vec![
            vec!["no_face".to_owned(), "3".into()],
            vec!["kept".into(), "12".into()],
        ];
        assert_eq!(
            super::layout(&["what", "clips"], &rows),
            "what     clips\nno_face      3\nkept        12"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_blocks() {
        let rows = vec![vec!["no_face".to_owned(), "3".into(), String::new()]];
        let headings = ["what", "clips", "note"];
        let table = super::layout(&headings, &rows);
        assert_eq!(super::fitted(&headings, &rows, None), table);
        assert_eq!(super::fitted(&headings, &rows, Some(20)), table);
        assert_eq!(super::fitted(&headings, &rows, Some(12)), "no_face\n  clips: 3");
    }
}
