//! What a row is: told by the roles of its columns.

/// What a row is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `text`
    Texts,
    /// `text` and `text_pair`, joined.
    Pairs,
    /// `words`, and where they are known their `tags`.
    Words,
    /// `question` and `context`, and where they are known the `answers`.
    Questions,
    /// `choices`, and what comes before them: `text` or `context`, and a `question`.
    Choices,
    /// `text`, `text_pair` and `negative`, each a sequence of its own.
    Separate,
}

impl Form {
    /// By the columns that a table has. `separate`: texts are not joined.
    pub fn of(has: impl Fn(&str) -> bool, separate: bool) -> Form {
        if has("choices") {
            Form::Choices
        } else if has("question") && has("context") {
            Form::Questions
        } else if has("words") {
            Form::Words
        } else if separate {
            Form::Separate
        } else if has("text_pair") {
            Form::Pairs
        } else {
            Form::Texts
        }
    }

    /// In words, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            Form::Texts => "texts",
            Form::Pairs => "pairs of texts",
            Form::Words => "sentences of words",
            Form::Questions => "questions with contexts",
            Form::Choices => "choices",
            Form::Separate => "texts to compare",
        }
    }

    /// The column that says what is right.
    pub const fn target(self) -> &'static str {
        match self {
            Form::Words => "tags",
            Form::Questions => "answers",
            Form::Texts | Form::Pairs | Form::Choices | Form::Separate => "label",
        }
    }

    /// The columns that say what is right, of all forms.
    pub const TARGETS: [&'static str; 3] =
        [Form::Texts.target(), Form::Words.target(), Form::Questions.target()];

    /// Whether a row that is too long can become several that overlap: what is asked of it must then be
    /// asked of a part.
    pub fn has_parts(self, labelled: bool) -> bool {
        match self {
            Form::Words | Form::Questions => true,
            Form::Texts => !labelled,
            Form::Pairs | Form::Choices | Form::Separate => false,
        }
    }

    /// The columns without which there is no such row.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Form::Texts | Form::Separate => &["text"],
            Form::Pairs => &["text", "text_pair"],
            Form::Words => &["words"],
            Form::Questions => &["question", "context"],
            Form::Choices => &["choices"],
        }
    }
}
