//! Expressions over the columns of a table: their types, and their values row by row. A missing
//! value makes what is computed from it missing, as in SQL; a filter keeps the rows that are true.

use super::column::{ColumnData, ColumnType};
use super::error::{DataError, Fault, Result};
use super::table::{Table, no_column};
use crate::base::suggest;
use regex::Regex;

#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Column(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Call(String, Vec<Expression>),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    Binary(Operation, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// A function that expressions may call.
pub struct Function {
    pub name: &'static str,
    /// One line for the documentation.
    pub about: &'static str,
    /// What `check` admits, for messages.
    takes: &'static str,
    arguments: usize,
    /// The type of the result; `None` if the arguments do not fit.
    check: fn(&[ColumnType]) -> Option<ColumnType>,
    call: fn(&[ColumnData], usize) -> Result<ColumnData>,
}

/// Every function.
pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "lower",
        about: "the text in lower case",
        takes: "a text",
        arguments: 1,
        check: |types| of_text(types, ColumnType::Text),
        call: |values, _| Ok(ColumnData::Text(map_text(values, |text| text.to_lowercase()))),
    },
    Function {
        name: "words",
        about: "how many words a text has, between white space",
        takes: "a text",
        arguments: 1,
        check: |types| of_text(types, ColumnType::Int),
        call: |values, _| {
            Ok(ColumnData::Int(map_text(values, |text| text.split_whitespace().count() as i64)))
        },
    },
    Function {
        name: "length",
        about: "how many characters a text has, or elements a list",
        takes: "a text or a list",
        arguments: 1,
        check: |types| match types {
            [ColumnType::Text | ColumnType::List(_)] => Some(ColumnType::Int),
            _ => None,
        },
        call: |values, _| {
            fn count<T>(lists: &[Option<Vec<T>>]) -> Vec<Option<i64>> {
                lists.iter().map(|list| list.as_ref().map(|list| list.len() as i64)).collect()
            }
            Ok(ColumnData::Int(match values.first() {
                Some(ColumnData::Ints(lists)) => count(lists),
                Some(ColumnData::Floats(lists)) => count(lists),
                Some(ColumnData::Floats32(lists)) => count(lists),
                Some(ColumnData::Texts(lists)) => count(lists),
                _ => map_text(values, |text| text.chars().count() as i64),
            }))
        },
    },
    Function {
        name: "matches",
        about: "whether a regular expression is found in the text",
        takes: "a text and a pattern such as `r\"^re:\"`",
        arguments: 2,
        check: |types| match types {
            [ColumnType::Text, ColumnType::Text] => Some(ColumnType::Bool),
            _ => None,
        },
        call: |values, _| {
            let pattern = compile(&first_text(values, 1))?;
            Ok(ColumnData::Bool(map_text(values, |text| pattern.is_match(text))))
        },
    },
    Function {
        name: "replace",
        about: "the text with every match of a regular expression replaced; `$1` is its first group",
        takes: "a text, a pattern such as `r\" @(.)@ \"` and a text",
        arguments: 3,
        check: |types| match types {
            [ColumnType::Text, ColumnType::Text, ColumnType::Text] => Some(ColumnType::Text),
            _ => None,
        },
        call: |values, _| {
            let pattern = compile(&first_text(values, 1))?;
            let with = first_text(values, 2);
            Ok(ColumnData::Text(map_text(values, |text| {
                pattern.replace_all(text, with.as_str()).into_owned()
            })))
        },
    },
    Function {
        name: "joined",
        about: "the texts of a list as one, with a blank between them",
        takes: "a list of texts",
        arguments: 1,
        check: |types| match types {
            [ColumnType::List(inner)] if **inner == ColumnType::Text => Some(ColumnType::Text),
            _ => None,
        },
        call: |values, rows| {
            Ok(ColumnData::Text(match values.first() {
                Some(ColumnData::Texts(lists)) => {
                    lists.iter().map(|list| Some(list.as_ref()?.join(" "))).collect()
                }
                _ => vec![None; rows],
            }))
        },
    },
    Function {
        name: "is_missing",
        about: "whether a value is missing",
        takes: "one value of any type",
        arguments: 1,
        check: |types| (types.len() == 1).then_some(ColumnType::Bool),
        call: |values, rows| {
            let missing =
                |row| values.first().is_none_or(|data| super::labels::is_missing(data, row));
            Ok(ColumnData::Bool((0..rows).map(|row| Some(missing(row))).collect()))
        },
    },
];

fn of_text(types: &[ColumnType], result: ColumnType) -> Option<ColumnType> {
    matches!(types, [ColumnType::Text]).then_some(result)
}

fn map_text<T>(values: &[ColumnData], f: impl Fn(&str) -> T) -> Vec<Option<T>> {
    match values.first() {
        Some(ColumnData::Text(texts)) => texts.iter().map(|text| text.as_deref().map(&f)).collect(),
        _ => Vec::new(),
    }
}

/// The argument that is the same text in every row.
fn first_text(values: &[ColumnData], argument: usize) -> String {
    match values.get(argument) {
        Some(ColumnData::Text(all)) => all.first().cloned().flatten().unwrap_or_default(),
        _ => String::new(),
    }
}

fn compile(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        let last =
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
        DataError::new(Fault::Operation, format!("the pattern `{pattern}` cannot be read: {last}"))
            .subject(pattern)
    })
}

fn fault(message: String) -> DataError {
    DataError::new(Fault::Operation, message)
}

impl Operation {
    pub fn symbol(self) -> &'static str {
        match self {
            Operation::Or => "or",
            Operation::And => "and",
            Operation::Equal => "==",
            Operation::NotEqual => "!=",
            Operation::Less => "<",
            Operation::LessOrEqual => "<=",
            Operation::Greater => ">",
            Operation::GreaterOrEqual => ">=",
            Operation::Add => "+",
            Operation::Subtract => "-",
            Operation::Multiply => "*",
            Operation::Divide => "/",
        }
    }

    fn result(self, left: &ColumnType, right: &ColumnType) -> Option<ColumnType> {
        use Operation::*;
        let numbers = left.is_number() && right.is_number();
        let plain = matches!(left, ColumnType::Text | ColumnType::Bool);
        match self {
            Or | And => (left == right && *left == ColumnType::Bool).then_some(ColumnType::Bool),
            Equal | NotEqual => (numbers || (left == right && plain)).then_some(ColumnType::Bool),
            Less | LessOrEqual | Greater | GreaterOrEqual => (numbers
                || (left == right && *left == ColumnType::Text))
                .then_some(ColumnType::Bool),
            Divide => numbers.then_some(ColumnType::Float),
            Add if left == right && *left == ColumnType::Text => Some(ColumnType::Text),
            Add | Subtract | Multiply => numbers.then_some(match (left, right) {
                (ColumnType::Int, ColumnType::Int) => ColumnType::Int,
                _ => ColumnType::Float,
            }),
        }
    }
}

impl Expression {
    /// The type of the result over a table of these columns.
    ///
    /// # Errors
    /// An unknown column or function, an operand of the wrong type, a broken pattern. `subject` is
    /// the name at fault, where there is one.
    pub fn type_of(&self, columns: &[(String, ColumnType)]) -> Result<ColumnType> {
        match self {
            Expression::Column(name) => columns
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, found)| found.clone())
                .ok_or_else(|| no_column(name, columns.iter().map(|(name, _)| name.as_str()))),
            Expression::Bool(_) => Ok(ColumnType::Bool),
            Expression::Int(_) => Ok(ColumnType::Int),
            Expression::Float(_) => Ok(ColumnType::Float),
            Expression::Text(_) => Ok(ColumnType::Text),
            Expression::Not(inner) => match inner.type_of(columns)? {
                ColumnType::Bool => Ok(ColumnType::Bool),
                other => Err(fault(format!("`not` takes a condition, not {other}"))),
            },
            Expression::Negate(inner) => match inner.type_of(columns)? {
                number if number.is_number() => Ok(number),
                other => Err(fault(format!("`-` takes a number, not {other}"))),
            },
            Expression::Binary(operation, left, right) => {
                let (one, two) = (left.type_of(columns)?, right.type_of(columns)?);
                operation
                    .result(&one, &two)
                    .ok_or_else(|| mismatch(*operation, left, &one, right, &two))
            }
            Expression::Call(name, arguments) => {
                let function = function(name)?;
                let types = arguments
                    .iter()
                    .map(|argument| argument.type_of(columns))
                    .collect::<Result<Vec<_>>>()?;
                if ["matches", "replace"].contains(&name.as_str()) {
                    if let Some(Expression::Text(pattern)) = arguments.get(1) {
                        compile(pattern).map(drop)?;
                    }
                    for other in arguments.iter().skip(1) {
                        if !matches!(other, Expression::Text(_)) {
                            let message = format!("behind its first, `{name}` takes strings");
                            return Err(fault(message));
                        }
                    }
                }
                let fits = types.len() == function.arguments;
                fits.then(|| (function.check)(&types)).flatten().ok_or_else(|| {
                    let found: Vec<String> = types.iter().map(ColumnType::to_string).collect();
                    let found =
                        if found.is_empty() { "nothing".into() } else { found.join(" and ") };
                    fault(format!("`{name}` takes {}, not {found}", function.takes)).subject(name)
                })
            }
        }
    }

    /// The columns that are named, in order of appearance.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Expression::Column(name) => vec![name],
            Expression::Call(_, arguments) => {
                arguments.iter().flat_map(Expression::columns).collect()
            }
            Expression::Not(inner) | Expression::Negate(inner) => inner.columns(),
            Expression::Binary(_, left, right) => {
                left.columns().into_iter().chain(right.columns()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The value for every row of a table.
    pub fn evaluate(&self, table: &Table) -> Result<ColumnData> {
        self.type_of(&table.columns())?;
        self.values(table)
    }

    fn values(&self, table: &Table) -> Result<ColumnData> {
        let rows = table.rows();
        Ok(match self {
            Expression::Column(name) => table.column(name)?,
            Expression::Bool(value) => ColumnData::Bool(vec![Some(*value); rows]),
            Expression::Int(value) => ColumnData::Int(vec![Some(*value); rows]),
            Expression::Float(value) => ColumnData::Float(vec![Some(*value); rows]),
            Expression::Text(value) => ColumnData::Text(vec![Some(value.clone()); rows]),
            Expression::Not(inner) => {
                let values = bools(inner.values(table)?);
                ColumnData::Bool(
                    values.into_iter().map(|value| value.map(|value| !value)).collect(),
                )
            }
            Expression::Negate(inner) => match inner.values(table)? {
                ColumnData::Int(values) => {
                    let zero = vec![Some(0); rows];
                    ColumnData::Int(integers(Operation::Subtract, zero, values, table)?)
                }
                other => ColumnData::Float(
                    floats(other).into_iter().map(|value| value.map(|value| -value)).collect(),
                ),
            },
            Expression::Binary(operation, left, right) => {
                binary(*operation, left.values(table)?, right.values(table)?, table)?
            }
            Expression::Call(name, arguments) => {
                let values = arguments
                    .iter()
                    .map(|argument| argument.values(table))
                    .collect::<Result<Vec<_>>>()?;
                (function(name)?.call)(&values, rows)?
            }
        })
    }
}

fn function(name: &str) -> Result<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name).ok_or_else(|| {
        let names = FUNCTIONS.iter().map(|function| function.name);
        let nearest = suggest::nearest(name, names.clone());
        fault(format!("there is no function `{name}`; there are {}", suggest::list(names)))
            .subject(name)
            .nearest(nearest)
    })
}

fn mismatch(
    operation: Operation,
    left: &Expression,
    one: &ColumnType,
    right: &Expression,
    two: &ColumnType,
) -> DataError {
    let error = fault(format!("`{}` does not join {one} and {two}", operation.symbol()));
    // A number compared with a quoted number is the usual slip.
    let quoted = |found: &ColumnType, other: &Expression| match other {
        Expression::Text(text) if found.is_number() => {
            text.parse::<f64>().is_ok().then(|| text.clone())
        }
        _ => None,
    };
    match quoted(one, right).or_else(|| quoted(two, left)) {
        Some(text) => error.help(format!("the column holds numbers: write {text} without quotes")),
        None => error,
    }
}

fn bools(data: ColumnData) -> Vec<Option<bool>> {
    match data {
        ColumnData::Bool(values) => values,
        other => vec![None; other.len()],
    }
}

fn floats(data: ColumnData) -> Vec<Option<f64>> {
    match data {
        ColumnData::Float(values) => values,
        ColumnData::Float32(values) => {
            values.into_iter().map(|value| value.map(f64::from)).collect()
        }
        ColumnData::Int(values) => {
            values.into_iter().map(|value| value.map(|value| value as f64)).collect()
        }
        other => vec![None; other.len()],
    }
}

fn integers(
    operation: Operation,
    left: Vec<Option<i64>>,
    right: Vec<Option<i64>>,
    table: &Table,
) -> Result<Vec<Option<i64>>> {
    let mut out = Vec::with_capacity(left.len());
    for (row, pair) in left.into_iter().zip(right).enumerate() {
        let (Some(one), Some(two)) = pair else {
            out.push(None);
            continue;
        };
        let result = match operation {
            Operation::Add => one.checked_add(two),
            Operation::Subtract => one.checked_sub(two),
            _ => one.checked_mul(two),
        };
        match result {
            Some(value) => out.push(Some(value)),
            None => {
                let message = format!("{one} {} {two} is too large a number", operation.symbol());
                return Err(table.at(row, fault(message)));
            }
        }
    }
    Ok(out)
}

fn binary(
    operation: Operation,
    left: ColumnData,
    right: ColumnData,
    table: &Table,
) -> Result<ColumnData> {
    use Operation::*;
    Ok(match (operation, left, right) {
        // Three-valued: false wins over missing in `and`, true in `or`.
        (And, left, right) => ColumnData::Bool(
            bools(left)
                .into_iter()
                .zip(bools(right))
                .map(|pair| match pair {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                })
                .collect(),
        ),
        (Or, left, right) => ColumnData::Bool(
            bools(left)
                .into_iter()
                .zip(bools(right))
                .map(|pair| match pair {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                })
                .collect(),
        ),
        (Add, ColumnData::Text(left), ColumnData::Text(right)) => ColumnData::Text(
            left.into_iter().zip(right).map(|(one, two)| Some(one? + &two?)).collect(),
        ),
        (Add | Subtract | Multiply, ColumnData::Int(left), ColumnData::Int(right)) => {
            ColumnData::Int(integers(operation, left, right, table)?)
        }
        (Add | Subtract | Multiply | Divide, left, right) => ColumnData::Float(
            floats(left)
                .into_iter()
                .zip(floats(right))
                .map(|(one, two)| {
                    let (one, two) = (one?, two?);
                    Some(match operation {
                        Add => one + two,
                        Subtract => one - two,
                        Multiply => one * two,
                        _ => one / two,
                    })
                    // A division by zero has no value.
                    .filter(|value| value.is_finite())
                })
                .collect(),
        ),
        (_, ColumnData::Text(left), ColumnData::Text(right)) => compare(operation, left, right),
        (_, ColumnData::Bool(left), ColumnData::Bool(right)) => compare(operation, left, right),
        (_, ColumnData::Int(left), ColumnData::Int(right)) => compare(operation, left, right),
        (_, left, right) => compare(operation, floats(left), floats(right)),
    })
}

fn compare<T: PartialOrd>(
    operation: Operation,
    left: Vec<Option<T>>,
    right: Vec<Option<T>>,
) -> ColumnData {
    let test = |one: &T, two: &T| match operation {
        Operation::Equal => one == two,
        Operation::NotEqual => one != two,
        Operation::Less => one < two,
        Operation::LessOrEqual => one <= two,
        Operation::Greater => one > two,
        _ => one >= two,
    };
    ColumnData::Bool(
        left.into_iter()
            .zip(right)
            .map(|(one, two)| Some(test(one.as_ref()?, two.as_ref()?)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let texts = ["Hello world", "a", "RE: b c"].map(|text| Some(text.to_string()));
        Table::from_columns(vec![
            ("text".into(), ColumnData::Text(texts.to_vec())),
            ("n".into(), ColumnData::Int(vec![Some(2), None, Some(i64::MAX)])),
            ("x".into(), ColumnData::Float(vec![Some(0.5), Some(0.0), None])),
            ("tags".into(), ColumnData::Texts(vec![Some(vec![]), None, Some(vec!["p".into()])])),
        ])
        .unwrap()
    }

    fn column(name: &str) -> Box<Expression> {
        Box::new(Expression::Column(name.into()))
    }

    fn of(operation: Operation, left: &str, right: Expression) -> Expression {
        Expression::Binary(operation, column(left), Box::new(right))
    }

    fn call(name: &str, left: &str) -> Expression {
        Expression::Call(name.into(), vec![*column(left)])
    }

    fn truths(expression: &Expression) -> Vec<Option<bool>> {
        bools(expression.evaluate(&table()).unwrap())
    }

    #[test]
    fn missing_values_stay_missing_and_logic_has_three_values() {
        let large = of(Operation::Greater, "n", Expression::Int(1));
        assert_eq!(truths(&large), [Some(true), None, Some(true)]);
        let not = Expression::Not(Box::new(large.clone()));
        assert_eq!(truths(&not), [Some(false), None, Some(false)]);
        let positive = of(Operation::Greater, "x", Expression::Float(0.0));
        let both =
            Expression::Binary(Operation::And, Box::new(large.clone()), Box::new(positive.clone()));
        assert_eq!(truths(&both), [Some(true), Some(false), None]);
        let either = Expression::Binary(Operation::Or, Box::new(large), Box::new(positive));
        assert_eq!(truths(&either), [Some(true), None, Some(true)]);
        assert_eq!(truths(&call("is_missing", "n")), [Some(false), Some(true), Some(false)]);
    }

    #[test]
    fn functions_and_arithmetic() {
        let table = table();
        let evaluate = |expression: Expression| expression.evaluate(&table).unwrap();
        assert_eq!(
            evaluate(call("words", "text")),
            ColumnData::Int(vec![Some(2), Some(1), Some(3)])
        );
        assert_eq!(
            evaluate(call("length", "text")),
            ColumnData::Int(vec![Some(11), Some(1), Some(7)])
        );
        assert_eq!(evaluate(call("length", "tags")), ColumnData::Int(vec![Some(0), None, Some(1)]));
        let pattern = Expression::Text("(?i)^re:".into());
        let matches = Expression::Call("matches".into(), vec![*column("text"), pattern]);
        assert_eq!(truths(&matches), [Some(false), Some(false), Some(true)]);
        let arguments = ["^(.)e", "<$1>"].map(|text| Expression::Text(text.into()));
        let replaced =
            Expression::Call("replace".into(), [vec![*column("text")], arguments.into()].concat());
        let ColumnData::Text(values) = evaluate(replaced) else { panic!() };
        assert_eq!(values[0].as_deref(), Some("<H>llo world"));
        let ColumnData::Text(values) = evaluate(call("joined", "tags")) else { panic!() };
        assert_eq!(values, [Some(String::new()), None, Some("p".into())]);
        let half = of(Operation::Divide, "x", *column("x"));
        assert_eq!(evaluate(half), ColumnData::Float(vec![Some(1.0), None, None]));
        let joined = of(Operation::Add, "text", Expression::Text("!".into()));
        let ColumnData::Text(values) = evaluate(joined) else { panic!() };
        assert_eq!(values[1].as_deref(), Some("a!"));
        let error = of(Operation::Add, "n", Expression::Int(1)).evaluate(&table).unwrap_err();
        assert!(error.message.contains("too large"), "{error}");
    }

    #[test]
    fn types_are_checked_before_anything_is_computed() {
        let columns = table().columns();
        let fails = |expression: Expression| expression.type_of(&columns).unwrap_err();
        assert_eq!(fails(*column("txt")).nearest.as_deref(), Some("text"));
        let error = fails(of(Operation::Equal, "n", Expression::Text("2".into())));
        assert!(error.help.unwrap().contains("without quotes"));
        assert!(fails(call("wrds", "text")).nearest.as_deref() == Some("words"));
        assert!(fails(call("lower", "n")).message.contains("takes a text"));
        assert!(fails(Expression::Call("lower".into(), vec![])).message.contains("nothing"));
        assert!(fails(Expression::Not(column("n"))).message.contains("condition"));
        assert!(fails(Expression::Negate(column("text"))).message.contains("number"));
        let broken = vec![*column("text"), Expression::Text("(".into())];
        assert!(fails(Expression::Call("matches".into(), broken)).message.contains("pattern"));
        assert!(of(Operation::Less, "text", *column("tags")).type_of(&columns).is_err());
    }
}
