//! Cells that stand under each other: what a template with tabs prints as a table. Pure.

/// Narrowest column, its space included.
const NARROWEST: usize = 10;
/// Space behind a column.
const SPACE: usize = 3;

/// `lines`, cut at tabs, with equally wide columns; the last cell of a line is not widened.
pub fn aligned(lines: &[String]) -> String {
    let cells: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split('\t').collect())
        .collect();
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let widths = cells
            .iter()
            .filter(|line| column + 1 < line.len())
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count() + SPACE);
        widths.max().unwrap_or(0).max(NARROWEST)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = Vec::new();
    for line in &cells {
        let mut text = String::new();
        for (place, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if place + 1 < line.len() {
                let width = widths.get(place).copied().unwrap_or(0);
                let missing = width.saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', missing));
            }
        }
        out.push(text.trim_end().to_owned());
    }
    out.join("\n")
}
