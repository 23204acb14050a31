//! Lays the structure of a program out in lines, aligns what stands in neighbouring ones, and decides
//! where blanks are.

use super::super::lex::TokenKind;
use super::super::split::Shape;
use super::parts::{Block, Comment, Element, Group, Item, Part, PartKind, is_operator_word};

/// A step that stands on one line goes on several when it is longer.
const MAX_WIDTH: usize = 100;

#[derive(Default)]
pub(super) struct Writer {
    lines: Vec<Line>,
    line: Line,
}

#[derive(Default)]
struct Line {
    indent: usize,
    text: String,
    comment: Option<String>,
    blank_before: bool,
}

impl Writer {
    fn newline(&mut self, indent: usize) {
        let line = std::mem::replace(&mut self.line, Line { indent, ..Line::default() });
        // A line that was begun and got nothing carries its blank line on.
        if line.text.is_empty() && line.comment.is_none() {
            self.line.blank_before = line.blank_before;
        } else {
            self.lines.push(line);
        }
    }

    fn blank(&mut self, wanted: bool) {
        self.line.blank_before |= wanted && !self.lines.is_empty();
    }

    fn own_line(&mut self, comment: &Comment, indent: usize) {
        self.newline(indent);
        self.blank(comment.blank_before);
        self.line.text.push_str(&comment.text);
    }

    fn trailing(&mut self, comment: Option<&Comment>) {
        let Some(comment) = comment else { return };
        if self.line.comment.is_none() {
            self.line.comment = Some(comment.text.clone());
        } else {
            let indent = self.line.indent;
            self.own_line(&comment.clone().plain(), indent);
        }
    }

    pub(super) fn comments(&mut self, comments: &[Comment], indent: usize) {
        for comment in comments {
            self.own_line(comment, indent);
        }
    }

    pub(super) fn items(&mut self, items: &[Item], indent: usize) {
        let one_line: Vec<bool> = items.iter().map(Item::is_one_line).collect();
        let mut start = 0;
        while start < items.len() {
            // A run of items of one form on lines that follow each other is aligned.
            let mut end = start + 1;
            while end < items.len()
                && one_line[start]
                && one_line[end]
                && items[end].shape == items[start].shape
                && !items[end].element.blank_before
                && items[end].element.comments.iter().all(|comment| !comment.blank_before)
            {
                end += 1;
            }
            let run = &items[start..end];
            let widths = columns(run);
            for item in run {
                self.item(item, one_line[start], &widths, indent);
            }
            start = end;
        }
    }

    fn item(&mut self, item: &Item, one_line: bool, widths: &[usize], indent: usize) {
        let element = &item.element;
        self.comments(&element.comments, indent);
        self.newline(indent);
        self.blank(element.blank_before);
        match item.shape {
            Shape::Param if one_line => {
                let cells = item.cells();
                let last = cells.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
                for (index, cell) in cells.iter().enumerate().take(last + 1) {
                    let width = widths.get(index).copied().unwrap_or(0);
                    if width == 0 {
                        continue;
                    }
                    if index > 0 {
                        self.line.text.push(' ');
                    }
                    self.line.text.push_str(cell);
                    if index < last {
                        pad(&mut self.line.text, width - cell.chars().count());
                    }
                }
            }
            Shape::Step | Shape::Use => {
                let (head, early) = item.head();
                self.line.text.push_str(&head[0]);
                if one_line {
                    let width = widths.first().copied().unwrap_or(0);
                    pad(&mut self.line.text, width.saturating_sub(head[0].chars().count()));
                }
                self.line.text.push_str(&format!(" {} ", head[1]));
                if let Some(PartKind::Group(group)) = element.parts.last().map(|part| &part.kind) {
                    self.group(group, !one_line, &early);
                }
            }
            _ => self.element(element, 0),
        }
        self.trailing(element.trailing.as_ref());
    }

    /// The parts of an element, from the place where the line has come to. `padding`: blanks behind
    /// the name.
    fn element(&mut self, element: &Element, padding: usize) {
        let base = self.line.indent;
        for (index, part) in element.parts.iter().enumerate() {
            if index > 0 && element.breaks(index) {
                let mut comments = part.comments.iter();
                if let Some(first) = part.comments.first().filter(|comment| !comment.own_line) {
                    self.trailing(Some(first));
                    comments.next();
                }
                for comment in comments {
                    self.own_line(comment, base + 2);
                }
                self.newline(base + 2);
            } else if index > 0 && spaced(&element.parts, index) {
                self.line.text.push(' ');
            }
            match &part.kind {
                PartKind::Token { text, .. } => self.line.text.push_str(text),
                PartKind::Group(group) => self.group(group, group.expanded, &[]),
                PartKind::Block(block) => self.block(block),
            }
            if index == 0 {
                pad(&mut self.line.text, padding);
            }
        }
    }

    fn block(&mut self, block: &Block) {
        let outer = self.line.indent;
        self.line.text.push('{');
        if block.items.is_empty() && block.tail.is_empty() && block.head.is_none() {
            self.line.text.push('}');
            return;
        }
        self.trailing(block.head.as_ref());
        self.items(&block.items, outer + 2);
        self.comments(&block.tail, outer + 2);
        self.newline(outer);
        self.line.blank_before = false;
        self.line.text.push('}');
    }

    /// `early`: comments that stood before the opening sign.
    fn group(&mut self, group: &Group, expanded: bool, early: &[Comment]) {
        self.line.text.push_str(group.open);
        if group.is_empty() && early.is_empty() {
            self.line.text.push_str(group.close);
            return;
        }
        let inner_blank = if group.open == "{" { " " } else { "" };
        if !expanded {
            self.line.text.push_str(inner_blank);
            for (index, element) in group.elements.iter().enumerate() {
                if index > 0 {
                    self.line.text.push_str(", ");
                }
                self.element(element, 0);
            }
            self.line.text.push_str(inner_blank);
            self.line.text.push_str(group.close);
            return;
        }
        let outer = self.line.indent;
        let mut early = early.iter().cloned().map(Comment::plain).collect::<Vec<_>>();
        if group.head.is_none() && early.first().is_some_and(|comment| !comment.own_line) {
            self.trailing(Some(&early.remove(0)));
        }
        self.trailing(group.head.as_ref());
        let first_line = self.lines.len();
        for comment in &early {
            self.own_line(&Comment { blank_before: false, ..comment.clone() }, outer + 2);
        }
        let paddings = paddings(&group.elements);
        for (element, padding) in group.elements.iter().zip(paddings) {
            for comment in &element.comments {
                self.own_line(comment, outer + 2);
            }
            self.newline(outer + 2);
            self.blank(element.blank_before);
            self.element(element, padding);
            if group.commas {
                self.line.text.push(',');
            }
            self.trailing(element.trailing.as_ref());
        }
        for comment in &group.tail {
            self.own_line(comment, outer + 2);
        }
        self.newline(outer);
        self.line.blank_before = false;
        // No blank line directly behind the opening sign.
        if let Some(line) = self.lines.get_mut(first_line + 1) {
            line.blank_before = false;
        }
        self.line.text.push_str(group.close);
    }

    pub(super) fn finish(mut self) -> String {
        self.newline(0);
        let mut text = String::new();
        let mut start = 0;
        while start < self.lines.len() {
            // Comments behind lines that follow each other stand in one column.
            let aligned = |line: &Line| line.comment.is_some() && !line.text.contains('\n');
            let mut end = start + 1;
            while end < self.lines.len()
                && aligned(&self.lines[start])
                && aligned(&self.lines[end])
                && self.lines[end].indent == self.lines[start].indent
                && !self.lines[end].blank_before
            {
                end += 1;
            }
            let width = |line: &Line| line.indent + line.text.chars().count();
            let column = self.lines[start..end].iter().map(width).max().unwrap_or(0);
            for line in &self.lines[start..end] {
                if line.blank_before {
                    text.push('\n');
                }
                pad(&mut text, line.indent);
                text.push_str(&line.text);
                if let Some(comment) = &line.comment {
                    let gap = if line.text.contains('\n') { 0 } else { column - width(line) };
                    pad(&mut text, gap + 2);
                    text.push_str(comment);
                }
                text.push('\n');
            }
            start = end;
        }
        text
    }
}

fn pad(text: &mut String, blanks: usize) {
    text.extend(std::iter::repeat_n(' ', blanks));
}

/// Blanks behind the name of each element, so that the `=` of elements that follow each other
/// without a blank line stand in one column. What takes several lines ends a column.
fn paddings(elements: &[Element]) -> Vec<usize> {
    let width = |element: &Element| element.name().map(|name| name.chars().count());
    let mut paddings = Vec::with_capacity(elements.len());
    let mut start = 0;
    while start < elements.len() {
        let mut end = start + 1;
        while end < elements.len()
            && width(&elements[end]).is_some()
            && !elements[end - 1].has_lines()
            && !elements[end].blank_before
            && elements[end].comments.iter().all(|comment| !comment.blank_before)
        {
            end += 1;
        }
        let widest = elements[start..end].iter().filter_map(width).max().unwrap_or(0);
        for element in &elements[start..end] {
            paddings.push(width(element).map_or(0, |width| widest - width));
        }
        start = end;
    }
    paddings
}

/// A blank stands between a part and the one before it.
fn spaced(parts: &[Part], index: usize) -> bool {
    let (Some(before), Some(part)) =
        (index.checked_sub(1).and_then(|before| parts.get(before)), parts.get(index))
    else {
        return false;
    };
    let is_word = |part: &Part| matches!(&part.kind, PartKind::Token { kind: TokenKind::Word, text } if !is_operator_word(text));
    if let PartKind::Group(group) = &part.kind {
        let called = group.open == "(" && is_word(before);
        return !called && !is_sign(parts, index - 1);
    }
    if part.is(",") || part.is(":") || part.is("%") || is_sign(parts, index - 1) {
        return false;
    }
    if part.is(".") {
        return !(part.tight && is_word(before));
    }
    // Behind the `.` of a column or of a reference.
    !before.is(".")
}

/// The part is a `-` that belongs to what follows it.
fn is_sign(parts: &[Part], index: usize) -> bool {
    parts.get(index).is_some_and(|part| part.is("-"))
        && index
            .checked_sub(1)
            .and_then(|before| parts.get(before))
            .is_none_or(Part::awaits_operand)
}

/// Widths of the cells that are aligned in a run of items.
fn columns(run: &[Item]) -> Vec<usize> {
    let cells = |item: &Item| match item.shape {
        Shape::Param => item.cells(),
        Shape::Step | Shape::Use => vec![item.head().0[0].clone()],
        _ => Vec::new(),
    };
    let mut widths: Vec<usize> = Vec::new();
    for item in run {
        let cells = cells(item);
        let last = cells.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
        for (index, cell) in cells.iter().enumerate() {
            if index == widths.len() {
                widths.push(0);
            }
            // What ends its line widens no column, but counts as being there.
            let ends = index == last && item.shape == Shape::Param;
            let width = if ends { 1 } else { cell.chars().count() };
            widths[index] = widths[index].max(width.min(cell.chars().count()));
        }
    }
    widths
}

impl Item<'_> {
    /// It stands on one line and may stay there.
    fn is_one_line(&self) -> bool {
        if !matches!(self.shape, Shape::Step | Shape::Use) {
            return !self.element.has_lines();
        }
        let (head, early) = self.head();
        let Some(PartKind::Group(group)) = self.element.parts.last().map(|part| &part.kind) else {
            return false;
        };
        if !early.is_empty() || group.has_lines() {
            return false;
        }
        let mut writer = Writer::default();
        writer.group(group, false, &[]);
        let width = writer.line.text.chars().count() + 2;
        head.iter().map(|word| word.chars().count()).sum::<usize>() + width <= MAX_WIDTH
    }

    /// Kind and name of a step, of a use with the word before them, and the comments between them and
    /// the block.
    fn head(&self) -> ([String; 2], Vec<Comment>) {
        let mut words: Vec<String> = Vec::new();
        let mut early = Vec::new();
        for part in &self.element.parts {
            early.extend(part.comments.iter().cloned());
            let PartKind::Token { text, .. } = &part.kind else { break };
            match words.last_mut().filter(|_| part.tight) {
                Some(word) => word.push_str(text),
                None => words.push(text.to_string()),
            }
        }
        let name = words.pop().unwrap_or_default();
        ([words.join(" "), name], early)
    }

    /// `param name:`, its type, `= default`, `in …`.
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![String::new(); 4];
        let mut cell = 0;
        let parts = &self.element.parts;
        for (index, part) in parts.iter().enumerate() {
            let begins = if index > 0 && parts[index - 1].is(":") && cell == 0 {
                1
            } else if part.is("=") {
                2
            } else if part.is("in") && index > 1 {
                3
            } else {
                cell
            };
            let mut writer = Writer::default();
            if begins == cell && index > 0 && spaced(parts, index) {
                writer.line.text.push(' ');
            }
            match &part.kind {
                PartKind::Token { text, .. } => writer.line.text.push_str(text),
                PartKind::Group(group) => writer.group(group, false, &[]),
                PartKind::Block(block) => writer.block(block),
            }
            cell = begins;
            cells[cell].push_str(&writer.line.text);
        }
        cells
    }
}
