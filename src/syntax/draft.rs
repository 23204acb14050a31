//! A text under repair: edits are applied so that reading can go on, and every byte still knows
//! where in the user's text it stood.

use std::ops::Range;

/// Stands for the bytes under `range` once it is applied; an empty range is an insertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub range: Range<usize>,
    pub with: String,
}

impl Edit {
    pub fn insert(at: usize, with: impl Into<String>) -> Self {
        Self { range: at..at, with: with.into() }
    }

    pub fn replace(range: Range<usize>, with: impl Into<String>) -> Self {
        Self { range, with: with.into() }
    }

    pub fn delete(range: Range<usize>) -> Self {
        Self { range, with: String::new() }
    }
}

/// Part of the user's text, possibly edited.
#[derive(Debug, Clone)]
pub struct Draft {
    text: String,
    /// Ordered by `start`; the first begins at 0.
    segments: Vec<Segment>,
}

/// From `start` on the text is that of the original from `origin` on, for `length` bytes; or it was
/// put in for these bytes of the original, and stands for all of them.
#[derive(Debug, Clone, Copy)]
struct Segment {
    start: usize,
    origin: usize,
    length: usize,
    put_in: bool,
}

impl Segment {
    /// What is left of it behind its first `skipped` bytes, beginning at `start`.
    fn behind(self, skipped: usize, start: usize) -> Segment {
        if self.put_in {
            return Segment { start, ..self };
        }
        let skipped = skipped.min(self.length);
        Segment { start, origin: self.origin + skipped, length: self.length - skipped, ..self }
    }
}

impl Draft {
    /// `text` stands at byte `origin` of the user's text.
    pub fn new(text: &str, origin: usize) -> Self {
        let segments = vec![Segment { start: 0, origin, length: text.len(), put_in: false }];
        Self { text: text.to_string(), segments }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the thing that begins at `at` begins in the user's text.
    pub fn origin(&self, at: usize) -> usize {
        let after = self.segments.partition_point(|segment| segment.start <= at);
        self.segments.get(after.saturating_sub(1)).map_or(at, |segment| {
            let inside = if segment.put_in { 0 } else { at.saturating_sub(segment.start) };
            segment.origin + inside.min(segment.length)
        })
    }

    /// Where the thing that ends at `at` ends in the user's text.
    pub fn origin_end(&self, at: usize) -> usize {
        let after = self.segments.partition_point(|segment| segment.start < at);
        self.segments.get(after.saturating_sub(1)).map_or(at, |segment| {
            let whole = segment.length;
            let inside = if segment.put_in { whole } else { at.saturating_sub(segment.start) };
            segment.origin + inside.min(whole)
        })
    }

    /// The place of `range` in the user's text.
    pub fn origin_range(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.origin(range.start);
        let end = if range.is_empty() { start } else { self.origin_end(range.end) };
        start..end.max(start)
    }

    /// The part under `range`, which lies within the text and on the borders of characters.
    pub fn part(&self, range: Range<usize>) -> Draft {
        let text = self.text.get(range.clone()).unwrap_or("").to_string();
        let first =
            self.segments.partition_point(|segment| segment.start <= range.start).max(1) - 1;
        let mut segments = Vec::new();
        for segment in self.segments.iter().skip(first) {
            if segment.start >= range.end && !segments.is_empty() {
                break;
            }
            let skipped = range.start.saturating_sub(segment.start);
            segments.push(segment.behind(skipped, segment.start.saturating_sub(range.start)));
        }
        Draft { text, segments }
    }

    pub fn apply(&mut self, edit: &Edit) {
        let Range { start, end } = edit.range;
        if start > end || !self.text.is_char_boundary(start) || !self.text.is_char_boundary(end) {
            return;
        }
        let (origin, origin_end) = (self.origin(start), self.origin_end(end));
        self.text.replace_range(start..end, &edit.with);
        let mut segments = Vec::with_capacity(self.segments.len() + 2);
        for segment in &self.segments {
            if segment.start < start {
                let inside = start - segment.start;
                let length =
                    if segment.put_in { segment.length } else { segment.length.min(inside) };
                segments.push(Segment { length, ..*segment });
            }
        }
        let length = if start == end { 0 } else { origin_end.saturating_sub(origin) };
        if !edit.with.is_empty() {
            segments.push(Segment { start, origin, length, put_in: true });
        }
        let resumed = start + edit.with.len();
        let last = self.segments.partition_point(|segment| segment.start <= end).max(1) - 1;
        for (index, segment) in self.segments.iter().enumerate().skip(last) {
            let skipped = if index == last { end.saturating_sub(segment.start) } else { 0 };
            segments.push(segment.behind(skipped, (segment.start + skipped) - end + resumed));
        }
        self.segments = segments;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_know_where_they_came_from_after_edits() {
        let mut draft = Draft::new("abcdef", 100);
        draft.apply(&Edit::insert(3, "++"));
        assert_eq!(draft.text(), "abc++def");
        let origins: Vec<usize> = (0..8).map(|at| draft.origin(at)).collect();
        assert_eq!(origins, [100, 101, 102, 103, 103, 103, 104, 105]);
        assert_eq!(draft.origin_end(3), 103);
        draft.apply(&Edit::delete(1..2));
        assert_eq!(draft.text(), "ac++def");
        assert_eq!((draft.origin(1), draft.origin(4), draft.origin_end(7)), (102, 103, 106));
        draft.apply(&Edit::replace(4..6, "XYZ"));
        assert_eq!(draft.text(), "ac++XYZf");
        assert_eq!((draft.origin(4), draft.origin(7)), (103, 105));
        assert_eq!(draft.origin_range(&(4..7)), 103..105);
        let part = draft.part(4..8);
        assert_eq!(part.text(), "XYZf");
        assert_eq!((part.origin(0), part.origin(3), part.origin_end(4)), (103, 105, 106));
    }
}
