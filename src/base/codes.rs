//! Every code a diagnostic can carry, declared once: its name, its title and its explanation.
//! `ftrun explain`, `docs/errors.md` and the test that each code has cases read this table.

use super::Severity;

macro_rules! codes {
    ($($code:ident $title:literal $text:literal)*) => {
        /// `E…` are errors, `W…` are warnings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $code,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$code,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$code => stringify!($code),)* }
            }

            /// One line: what the code means.
            pub fn title(self) -> &'static str {
                match self { $(Code::$code => $title,)* }
            }

            /// What `ftrun explain` prints: why it is refused, an example, the way out. Markdown.
            pub fn explanation(self) -> &'static str {
                match self { $(Code::$code => $text,)* }
            }
        }
    };
}

codes! {
    // E00: the text cannot be read.
    E0001 "the text is not ftp" "A word or sign stands where the language has no place for it.\n\nA file is the line `ftp 1`, then items: `param`, `secret`, `seed` and steps of the form `kind name { argument = value }`. The rest of the file is still checked."
    E0002 "a bracket is not closed, or closes nothing" "Every `{`, `[` and `(` needs its counterpart. The place is the block that was left open; the other place is where its closing sign is missed at the latest.\n\n```\ntrain tuned {\n  model = encoder\n                      # `}` is missing here\neval tested { model = tuned, data = tokens.test }\n```\n\nThe rest of the file is checked as if the sign stood there."
    E0003 "a string cannot be read" "A string `\"…\"` ends on its line; a text of several lines is written `\"\"\"…\"\"\"`. Known escapes are `\\n`, `\\t`, `\\r`, `\\\\`, `\\\"` and `\\u{…}`. A raw string `r\"…\"` has none, which suits patterns and paths with backslashes.\n\n```\nsource = files(r\"data\\train.tsv\")\n```"
    E0004 "a number cannot be read" "Numbers are written `42`, `1_000`, `0.5` or `2e-5`, a share `6%`, a number with a unit `3 epochs`. Integers are below 2⁶³ in size. NaN and infinity are no values here.\n\n```\nbatch  = 32\nbudget = 3 epochs      # not `3epochs`\n```"
    E0005 "too deeply nested" "Brackets may be nested 64 deep, and an expression may join about 100 parts. A long `or` over values of one column is clearer with `matches`."
    E0006 "the edition line" "A file begins with `ftp 1`: the edition of the language it is written in. It stands once, before everything but comments.\n\n```\nftp 1\n\nseed 17\n```"
    E0007 "a name and its value are not joined by `=`" "Arguments, the entries of a map and named arguments of a variant are written `name = value`; `==` compares.\n\n```\noptimizer = adamw(learning_rate = 1e-4)\n```"
    E0008 "a value is missing" "Something has to stand here: behind `=`, behind an operator, or between two commas.\n\n```\nbatch = 32\n```"
    E0009 "a separator is missing" "Arguments and entries between `{ }` are separated by line breaks or commas; values between `[ ]` and `( )` by commas.\n\n```\nmetrics = [accuracy, f1(average = macro)]\n```"
    E0010 "a spelling of another language" "Strings stand between `\"`, comments begin with `#`, booleans are `true` and `false`, an argument that should not be set is left out, nothing ends with `;`, and the operators are `and`, `or`, `not`, `==`, `!=`.\n\n```\noverwrite = true\n```"

    // E01: names and the form of items.
    E0101 "an item of no known form" "A file consists of `param`, `secret`, `seed` and steps of the form `kind name { … }`: the kind (`load-data`) first, then a name of one's own, then a block. Arguments stand inside the block.\n\n```\nload-data reviews {\n  source = files(\"reviews.csv\")\n}\n```"
    E0102 "part of a later edition of ftrun" "`expect`, `import`, `fragment`, `use`, `sweep` and `compare` are words of the language, but this version of ftrun does not run them yet. The rest of the file is checked without them."
    E0103 "a name of the wrong form" "Names of steps, parameters, secrets and arguments consist of letters, digits and `_`, and begin with no digit. Hyphens occur in step kinds alone. Words of the language (`param`, `seed`, `in`, `not`, `true` …) name neither steps nor parameters.\n\n```\nlearning_rate = 1e-4\n```"
    E0104 "a parameter, secret or seed of the wrong form" "The forms are:\n\n```\nparam learning_rate: float = 5e-5 in 1e-7 .. 1e-2\nparam size = small in [small, large]\nsecret token = env(\"HF_TOKEN\")\nseed 17\n```"

    // E07: while running.
    E0701 "a step failed" "A step that passed every check could not be done: a row that cannot be read, a loss that is not a number, a full disk. The message names the file and line, or the update and its rows. What was finished before is stored; running the same command again starts there."
    E0799 "a fault of ftrun" "Something that the checks should have excluded has happened. The input is not to blame; a report with the program and the message helps."
}

impl Code {
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text))
    }

    pub fn severity(self) -> Severity {
        if self.as_str().starts_with('W') { Severity::Warning } else { Severity::Error }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
