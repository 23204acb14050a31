//! Whether two programs mean the same: places and spellings of numbers left aside, everything else
//! compared, the `##` lines included.

use super::ast::*;
use crate::base::{SourceId, Span, Spanned};

impl Ast {
    /// The same items in the same order with the same values.
    pub fn same_meaning(&self, other: &Ast) -> bool {
        self.without_places() == other.without_places()
    }

    fn without_places(&self) -> Ast {
        let mut ast = self.clone();
        ast.source = SourceId::default();
        if let Some(edition) = &mut ast.edition {
            edition.span = Span::default();
        }
        ast.unread.iter_mut().for_each(name);
        ast.items.iter_mut().for_each(item);
        ast
    }
}

/// Fragments hold no fragments, so that this ends.
fn item(item: &mut Item) {
    match item {
        Item::Param(one) => param(one),
        Item::Secret(secret) => {
            secret.span = Span::default();
            name(&mut secret.name);
            name(&mut secret.variable);
        }
        Item::Seed(seed) => {
            seed.span = Span::default();
            value(&mut seed.value);
        }
        Item::Expect(expect) => {
            expect.span = Span::default();
            expect.comparison.span = Span::default();
            expect.number.iter_mut().for_each(name);
            value(&mut expect.limit);
        }
        Item::Import(import) => {
            import.span = Span::default();
            name(&mut import.path);
            name(&mut import.name);
        }
        Item::Fragment(fragment) => {
            fragment.span = Span::default();
            name(&mut fragment.name);
            fragment.params.iter_mut().for_each(param);
            fragment.items.iter_mut().for_each(self::item);
        }
        Item::Step(step) | Item::Use(step) => {
            step.span = Span::default();
            step.body = Span::default();
            step.insertion = Insertion::default();
            name(&mut step.kind);
            name(&mut step.name);
            for arg in &mut step.args {
                name(&mut arg.name);
                value(&mut arg.value);
            }
        }
    }
}

fn param(param: &mut Param) {
    param.span = Span::default();
    name(&mut param.name);
    param.type_name.iter_mut().for_each(name);
    param.default.iter_mut().for_each(value);
    param.within.iter_mut().for_each(value);
}

fn name(name: &mut Spanned<String>) {
    name.span = Span::default();
}

/// The height of a tree is bounded by the parser, and with it this recursion.
fn value(expr: &mut Expr) {
    expr.span = Span::default();
    match &mut expr.kind {
        ExprKind::Bool(_) | ExprKind::String(_) | ExprKind::Column(_) => {}
        ExprKind::Number(number) => number.text.clear(),
        ExprKind::Share(share) => share.text.clear(),
        ExprKind::Quantity { amount, unit } => {
            amount.text.clear();
            name(unit);
        }
        ExprKind::List(values) => values.iter_mut().for_each(value),
        ExprKind::Map(entries) => {
            for entry in entries {
                name(&mut entry.key);
                value(&mut entry.value);
            }
        }
        ExprKind::Range { low, high } => {
            value(low);
            value(high);
        }
        ExprKind::Path(words) => words.iter_mut().for_each(name),
        ExprKind::Call { name: function, args } => {
            name(function);
            for arg in args {
                arg.name.iter_mut().for_each(name);
                value(&mut arg.value);
            }
        }
        ExprKind::Not(inner) | ExprKind::Negate(inner) => value(inner),
        ExprKind::Binary { operator, left, right } => {
            operator.span = Span::default();
            value(left);
            value(right);
        }
    }
}
