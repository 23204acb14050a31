//! A graph drawn: for terminals, for Graphviz, for Mermaid, and as SVG without either.

use std::fmt::Write as _;

use super::graph::{Graph, Node};
use crate::schema::PortRef;

/// One line a step, in the order of running, with what it refers to.
pub fn text(graph: &Graph) -> String {
    let names = graph.nodes.iter().map(|node| node.name.chars().count());
    let kinds = graph.nodes.iter().map(|node| node.kind.name.len());
    let (wide, wider) = (names.max().unwrap_or(0), kinds.max().unwrap_or(0));
    let mut text = String::new();
    for node in ordered(graph) {
        let inputs: Vec<String> = edges(node).into_iter().map(|edge| edge.label()).collect();
        let arrow =
            if inputs.is_empty() { String::new() } else { format!("  ← {}", inputs.join(", ")) };
        let line = format!("{:wider$}  {:wide$}{arrow}", node.kind.name, node.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A `digraph` for Graphviz.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from(
        "digraph ftrun {\n  rankdir = TB\n  node [shape = box, fontname = \"sans-serif\"]\n",
    );
    for node in ordered(graph) {
        let _ = writeln!(text, "  \"{0}\" [label = \"{0}\\n{1}\"]", node.name, node.kind.name);
    }
    for node in ordered(graph) {
        for edge in edges(node) {
            let _ = writeln!(
                text,
                "  \"{}\" -> \"{}\" [label = \"{}\"]",
                edge.from, node.name, edge.what
            );
        }
    }
    text.push_str("}\n");
    text
}

/// A `flowchart` for Mermaid.
pub fn mermaid(graph: &Graph) -> String {
    let mut text = String::from("flowchart TD\n");
    for node in ordered(graph) {
        let _ = writeln!(text, "  {0}[\"{0}<br/>{1}\"]", node.name, node.kind.name);
    }
    for node in ordered(graph) {
        for edge in edges(node) {
            let _ = writeln!(text, "  {} -->|{}| {}", edge.from, edge.what, node.name);
        }
    }
    text
}

/// Width and height of a step's box, and the gaps between boxes, in pixels.
const BOX: (usize, usize) = (150, 44);
const GAP: (usize, usize) = (30, 56);

/// A drawing in layers: every step one layer below the lowest of those it refers to.
pub fn svg(graph: &Graph) -> String {
    let mut layers: Vec<usize> = vec![0; graph.nodes.len()];
    for &index in &graph.order {
        let above =
            graph.dependencies(index).into_iter().filter_map(|from| layers.get(from).copied());
        let layer = above.map(|layer| layer + 1).max().unwrap_or(0);
        if let Some(own) = layers.get_mut(index) {
            *own = layer;
        }
    }
    let mut taken: Vec<usize> = vec![0; layers.iter().max().map_or(0, |deepest| deepest + 1)];
    let places: Vec<(usize, usize)> = layers
        .iter()
        .map(|&layer| {
            let column = taken[layer];
            taken[layer] += 1;
            (GAP.0 + column * (BOX.0 + GAP.0), GAP.0 + layer * (BOX.1 + GAP.1))
        })
        .collect();
    let width = GAP.0 + taken.iter().max().unwrap_or(&0) * (BOX.0 + GAP.0);
    let height = GAP.0 * 2 + taken.len() * (BOX.1 + GAP.1) - GAP.1.min(taken.len() * GAP.1);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    for (node, (x, y)) in graph.nodes.iter().zip(&places) {
        for edge in edges(node) {
            let Some((from_x, from_y)) = graph.index(&edge.from).and_then(|from| places.get(from))
            else {
                continue;
            };
            let (x1, y1) = (from_x + BOX.0 / 2, from_y + BOX.1);
            let (x2, y2) = (x + BOX.0 / 2, *y);
            let middle = (y1 + y2) / 2;
            let _ = writeln!(
                text,
                "<path d=\"M{x1} {y1} C{x1} {middle} {x2} {middle} {x2} {y2}\" fill=\"none\" stroke=\"#888\"/>"
            );
        }
    }
    for (node, (x, y)) in graph.nodes.iter().zip(&places) {
        let middle = x + BOX.0 / 2;
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"#f4f6fa\" stroke=\"#456\"/>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\">{}</text>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"#567\">{}</text>",
            BOX.0,
            BOX.1,
            y + 19,
            node.name,
            y + 35,
            node.kind.name
        );
    }
    text.push_str("</svg>\n");
    text
}

/// One reference of a step.
struct Edge {
    from: String,
    /// The output, and the field of it.
    what: String,
}

impl Edge {
    fn label(&self) -> String {
        format!("{}.{}", self.from, self.what)
    }
}

fn ordered(graph: &Graph) -> impl Iterator<Item = &Node> {
    graph.order.iter().filter_map(|index| graph.nodes.get(*index))
}

/// The references of a step, those inside maps too, each once.
fn edges(node: &Node) -> Vec<Edge> {
    fn collect(port: &PortRef, all: &mut Vec<Edge>) {
        match port {
            PortRef::One { step, output, field } => {
                let field = field.iter().map(|field| format!(".{field}")).collect::<String>();
                let edge = Edge { from: step.clone(), what: format!("{output}{field}") };
                if !all.iter().any(|other| other.from == edge.from && other.what == edge.what) {
                    all.push(edge);
                }
            }
            PortRef::Named(items) => items.iter().for_each(|(_, item)| collect(item, all)),
        }
    }
    let mut all = Vec::new();
    node.inputs.iter().for_each(|port| collect(port, &mut all));
    all
}
