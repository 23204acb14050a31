//! Expressions over columns: `.length > 3 and .label != "x"`. Which columns and functions there are
//! is the step's to say.

use super::bind::{At, Binder};
use super::names::Name;
use super::places::Written;
use super::refine;
use crate::base::{Code, Diag, Span, Spanned};
use crate::schema::{ColumnExpr, Operator, Type};
use crate::syntax::ast::{BinaryOperator, Expr, ExprKind, NumberValue};

impl<'a> Binder<'a> {
    pub(super) fn column_expr(&mut self, expr: &Expr, at: &At) -> Option<ColumnExpr> {
        Some(match &expr.kind {
            ExprKind::Column(name) => {
                self.word_of_expression(at, name, expr.span);
                ColumnExpr::Column(name.clone())
            }
            ExprKind::Bool(value) => ColumnExpr::Bool(*value),
            ExprKind::String(text) => ColumnExpr::Text(text.clone()),
            ExprKind::Number(number) => match number.value {
                NumberValue::Int(value) => ColumnExpr::Int(value),
                NumberValue::Float(value) => ColumnExpr::Float(value),
            },
            ExprKind::Share(share) => ColumnExpr::Float(share.fraction),
            ExprKind::Not(inner) => ColumnExpr::Not(Box::new(self.column_expr(inner, at)?)),
            ExprKind::Negate(inner) => ColumnExpr::Negate(Box::new(self.column_expr(inner, at)?)),
            ExprKind::Binary { operator, left, right } => {
                let (left, right) = (self.column_expr(left, at), self.column_expr(right, at));
                ColumnExpr::Binary(lower(operator.value), Box::new(left?), Box::new(right?))
            }
            ExprKind::Call { name, args } => {
                self.word_of_expression(at, &format!("{}()", name.value), name.span);
                let mut values = Vec::new();
                let mut fine = true;
                for arg in args {
                    if let Some(argument) = &arg.name {
                        let message =
                            format!("the function `{}` takes values without names", name.value);
                        self.diags.push(
                            Diag::new(Code::E0208, argument.span, message)
                                .here("a name")
                                .fix(argument.span.to(arg.value.span), self.text(arg.value.span)),
                        );
                        fine = false;
                    } else if let Some(value) = self.column_expr(&arg.value, at) {
                        values.push(value);
                    } else {
                        fine = false;
                    }
                }
                if !fine {
                    return None;
                }
                ColumnExpr::Call(name.value.clone(), values)
            }
            ExprKind::Path(words) => return self.word_in_expression(expr, words, at),
            _ => {
                let diag = refine::wrong_form(self, expr, &Type::ColumnExpr, at);
                self.diags.push(diag);
                return None;
            }
        })
    }

    /// Keeps where a column or a function stands first, for what is found wrong with it later.
    pub(super) fn word_of_expression(&mut self, at: &At, word: &str, span: Span) {
        let path = format!("{}.{word}", at.path);
        self.written.entry(path).or_insert(Written { at: span, origin: span });
    }

    /// A word between columns: a parameter with a plain value.
    pub(super) fn word_in_expression(
        &mut self,
        expr: &Expr,
        words: &[Spanned<String>],
        at: &At,
    ) -> Option<ColumnExpr> {
        if let [word] = words
            && let Some(Name::Open(_)) = self.names.get(&word.value)
        {
            return None;
        }
        if let [word] = words
            && let Some(Name::Param(declared)) = self.names.get(&word.value)
        {
            let value = declared.value.as_ref()?;
            return match &value.kind {
                ExprKind::Bool(_)
                | ExprKind::Number(_)
                | ExprKind::String(_)
                | ExprKind::Share(_) => self.column_expr(value, at),
                _ => self.refuse(expr, &Type::Scalar, at).and(None),
            };
        }
        let shown = self.text(expr.span);
        let mut diag = Diag::new(Code::E0301, expr.span, format!("`{shown}` is no parameter"))
            .here("neither a column nor a parameter")
            .help("columns are written with a dot in front, texts between `\"`");
        if let [word] = words {
            diag = diag.fix(expr.span, format!(".{}", word.value));
        }
        self.diags.push(diag);
        None
    }
}

fn lower(operator: BinaryOperator) -> Operator {
    match operator {
        BinaryOperator::Or => Operator::Or,
        BinaryOperator::And => Operator::And,
        BinaryOperator::Equal => Operator::Equal,
        BinaryOperator::NotEqual => Operator::NotEqual,
        BinaryOperator::Less => Operator::Less,
        BinaryOperator::LessEqual => Operator::LessOrEqual,
        BinaryOperator::Greater => Operator::Greater,
        BinaryOperator::GreaterEqual => Operator::GreaterOrEqual,
        BinaryOperator::Add => Operator::Add,
        BinaryOperator::Subtract => Operator::Subtract,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
    }
}
