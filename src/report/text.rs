//! Grids and times as people read them.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent};

/// A grid with a head, as wide as the terminal where there is one. Columns whose names stand in `right` are aligned at their right edge.
pub fn grid(head: &[&str], right: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    // Lines between rows say nothing.
    for line in [
        TableComponent::HorizontalLines,
        TableComponent::MiddleIntersections,
        TableComponent::LeftBorderIntersections,
        TableComponent::RightBorderIntersections,
    ] {
        table.remove_style(line);
    }
    let aligned = |at: usize, text: &str| {
        let alignment = match head.get(at).is_some_and(|name| right.contains(name)) {
            true => CellAlignment::Right,
            false => CellAlignment::Left,
        };
        Cell::new(text).set_alignment(alignment)
    };
    table.set_header(head.iter().enumerate().map(|(at, name)| aligned(at, name)));
    for row in rows {
        table.add_row(row.iter().enumerate().map(|(at, text)| aligned(at, text)));
    }
    // Spaces at the ends of lines serve nobody.
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        _ if seconds < 0.95 => format!("{:.1} s", seconds.max(0.0)),
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
    }
}

/// How long ago something was: `3 min ago`.
pub fn ago(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => "just now".to_string(),
        60..3_600 => format!("{} min ago", whole / 60),
        3_600..86_400 => format!("{} h ago", whole / 3_600),
        _ => format!("{} d ago", whole / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let cases =
            [(0.04, "0.0 s"), (12.3, "12 s"), (185.0, "3 min 5 s"), (7_800.0, "2 h 10 min")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(ago(7_300.0), "2 h ago");
    }

    #[test]
    fn columns_line_up() {
        let rows =
            [vec!["a".to_string(), "1".to_string()], vec!["b".to_string(), "100".to_string()]];
        let text = grid(&["name", "value"], &["value"], &rows);
        let ends: Vec<usize> =
            text.lines().filter(|line| line.contains(['1'])).map(str::len).collect();
        assert_eq!(ends.len(), 2);
        assert_eq!(ends[0], ends[1], "{text}");
    }
}
