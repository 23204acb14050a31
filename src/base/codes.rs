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
    E0102 "part of a later edition of ftrun" "`sweep` and `compare` are words of the language, but this version of ftrun does not run them yet. The rest of the file is checked without them."
    E0103 "a name of the wrong form" "Names of steps, parameters, secrets and arguments consist of letters, digits and `_`, and begin with no digit. Hyphens occur in step kinds alone. Words of the language (`param`, `seed`, `in`, `not`, `true` …) name neither steps nor parameters.\n\n```\nlearning_rate = 1e-4\n```"
    E0104 "a parameter, secret, seed or expectation of the wrong form" "The forms are:\n\n```\nparam learning_rate: float = 5e-5 in 1e-7 .. 1e-2\nparam size = small in [small, large]\nsecret token = env(\"HF_TOKEN\")\nseed 17\nexpect tokens.report.truncated < 1%\n```"
    E0105 "an unknown step kind" "The first word of a step is its kind, written with hyphens: `load-data`, `train`. `ftrun doc` lists all kinds.\n\n```\nload-data reviews { source = files(\"reviews.csv\") }\n```"
    E0107 "an item that a fragment cannot hold" "A fragment holds steps, and uses of other fragments. What it takes stands between the parentheses behind its name; `param`, `seed`, `expect`, `import` and other fragments stand outside of it.\n\n```\nfragment finetune(model: model, data: tokens, rate: float = 5e-5) {\n  train tuned  { model = model, data = data.train, optimizer = adamw(learning_rate = rate) }\n  eval  tested { model = tuned, data = data.test }\n}\n```"
    E0106 "a name is declared twice" "Steps, parameters and secrets share one space of names, so that a reference means one thing. There is one `seed`.\n\n```\ntrain first  { model = encoder, data = tokens }\ntrain second { model = encoder, data = tokens }     # not `first` again\n```"

    // E02: arguments, values and their types.
    E0201 "an unknown argument" "A step or a variant has no argument of this name. `ftrun doc KIND` lists the arguments of a kind, with types and defaults.\n\n```\noptimizer = adamw(learning_rate = 1e-4)      # not `lr`\n```"
    E0202 "an argument is missing" "An argument without a default has to be given.\n\n```\neval tested { model = tuned, data = tokens.test }\n```"
    E0203 "an argument is given twice" "Which one was meant cannot be known. The same holds for the keys of a map.\n\n```\ntrain tuned {\n  model = encoder\n  data  = tokens\n  batch = 32          # once\n}\n```"
    E0204 "a value of another type" "Every argument has a type: a whole number, a number, a share, a string, a list, a map, a variant, a column or what another step makes. Variants and references are written bare, strings between `\"`.\n\n```\nmax_length = 128\noptimizer  = adamw           # a variant: no quotation marks\nto         = \"out/model\"     # a string\n```"
    E0205 "a value out of range" "The value has the right type, but lies outside what the argument or the parameter admits. Limits are part of the range.\n\n```\nparam learning_rate: float = 5e-5 in 1e-7 .. 1e-2\n```"
    E0206 "an unknown variant" "The argument takes one of several named forms, and this is none of them. `ftrun doc KIND` lists them.\n\n```\nschedule = linear(warmup = 6%)\n```"
    E0207 "a unit is missing or wrong" "A number with a dimension carries its unit, every other number carries none: `3 epochs`, `2_000 updates`, `4_096 tokens`. A share is written with a percent sign (`6%`), a plain number without. A budget in time is refused because its result would depend on the machine; `ftrun plan` estimates the time.\n\n```\nbudget   = 3 epochs\nschedule = linear(warmup = 6%)\n```"
    E0208 "an argument without its name" "A variant takes at most one value without a name, the first one, and only if it has a main argument; functions of column expressions take values without names.\n\n```\noptimizer = adamw(learning_rate = 1e-4, weight_decay = 0.01)\nsource    = files(\"a.csv\")\n```"
    E0209 "arguments that do not go together" "Each argument by itself is fine, but not beside the others, or not with what the step gets.\n\n```\ntrain tuned {\n  model      = encoder\n  data       = tokens.train\n  validate   = tokens.validation       # needed for `keep = best(…)` and `stop_early`\n  keep       = best(accuracy)\n}\n```"

    // E03: references and the graph.
    E0301 "a name that stands for nothing" "A word that is no variant of the argument refers to a step or a parameter of the file, and there is none of this name.\n\n```\neval tested { model = tuned, data = tokens.test }     # needs steps `tuned` and `tokens`\n```"
    E0302 "a step does not make this" "A reference is `step`, `step.output` or `step.output.field`. The second word is an output if there is one, else a field of the main output: the name of a table, of tokens or of a metric. `ftrun doc KIND` lists the outputs.\n\n```\ndata = tokens.train\n```"
    E0303 "what a step makes does not fit here" "The argument takes another kind of thing: a table, tokens, a model, a tokenizer, predictions. Of several named tables one is taken by its name.\n\n```\neval tested { model = tuned, data = tokens.test }     # tokens, not the table\n```"
    E0304 "a name means more than one thing here" "Several outputs of a step fit, or a word is both a variant of the argument and a step that fits. The output has to be named.\n\n```\nmodel = tuned.last\n```"
    E0305 "steps that wait for each other" "A step can run only when all it refers to is done, so references must not lead back to where they came from. The message shows the whole circle."
    E0306 "two steps write to one place" "Each `to` belongs to one step; otherwise the result would depend on which of them came last.\n\n```\nsave small { model = first,  to = \"out/small\" }\nsave large { model = second, to = \"out/large\" }\n```"
    E0308 "a fragment that cannot be used" "`use` takes the name of a fragment, behind the name of an import if it is of one, then a name of its own, then a value for everything that the fragment takes and has no default. A fragment may use others, but neither itself nor one that leads back to it. Its steps are `NAME.step` for everyone else.\n\n```\nuse finetune small { model = encoder, data = tokens, rate = 3e-5 }\neval again { model = small.tuned, data = tokens.test }\n```"
    E0309 "an import that cannot be read" "`import` takes the fragments of another file. The path is relative to the importing file; files may not import each other in a circle. Nothing of an imported file runs by itself.\n\n```\nimport \"shared.ftp\" as shared\nuse shared.finetune small { model = encoder, data = tokens }\n```"
    E0307 "an expectation of something that is no number" "`expect` looks at a number: one that a step reports (`step.report.NUMBER`; `ftrun doc KIND` lists them), or a metric (`step.METRIC` of a `metric` step, `step.validation.METRIC` of a `train`).\n\n```\nexpect tokens.report.truncated < 1%\nexpect quality.accuracy >= 0.8\n```"

    // E04: data files, columns, labels.
    E0401 "a data file that is not there" "A path is sought beside the program, then in `paths.data` of `ftrun.toml` and in the folder named by `FTRUN_DATA`. A pattern such as `files(\"data/*.csv\")` has to match at least one file; folders are not read as such.\n\n```\nsource = files(\"data/train.tsv\")\n```"
    E0402 "a data file that cannot be read" "The format follows from the extension (also under `.gz`), or from `format = …`. Text is UTF-8, with or without a byte order mark, or Latin-1 with `encoding = latin1`. A header names each column once; a file without a header is read with `header = false` and columns by number. Parquet and Arrow files must be whole.\n\n```\nload-data spam {\n  source  = files(\"SMSSpamCollection\")\n  format  = tsv\n  columns = { label = 0, text = 1 }\n}\n```"
    E0403 "a row that cannot be read" "Every row has as many fields as the header, every line of a JSON lines file is one object whose keys keep their types, and columns with a role (`text`, `label`, …) have a value in every row unless `missing = drop` or `missing = keep` is said. Where quotes are ordinary characters, `quote = none` reads them as such.\n\nEvery line of a CoNLL file has as many columns as the first one, every word has one tag, and an answer stands in its context, at the character where it is said to begin or at one place alone."
    E0404 "a column that is not there or does not fit" "The table has no column of this name, or it does not hold what its role needs. Roles such as `text` and `label` are given by `columns = { text = \"sentence\" }` of `load-data`; every other column keeps the name that stands in the file's header, or its 0-based number where there is no header."
    E0405 "an operation that does not fit the columns" "Operations of `prepare` are checked against the types of the columns: `filter` takes a condition, numbers are compared with numbers and text with text, `words`, `lower` and `matches` take text, two columns never get one name, and tables that are put together have the same columns.\n\n```\ndo = [filter(words(.text) > 2 and .label != \"spam\"), select([.text, .label])]\n```"
    E0406 "labels of another kind" "Labels are one class a row (names or whole numbers), one number a row (numbers with a decimal point), or several classes a row (a list, or text that `label_separator` splits). A head, a baseline and a stratified split each need one of these."
    E0407 "a label that is not among the labels" "Where `labels` names the classes, every label is one of the names, or a number k that means name k, counted from 0. Among labels that are numbers with a decimal point, a word is no label. The label of a row with `choices` is the number of one, its letter or its text.\n\n```\nlabels = [\"negative\", \"positive\"]      # 0 and 1 in the file\n```"
    E0408 "a split that cannot be made" "The shares of a split sum to 100%, every part gets at least one row, and a column that names the parts holds `train`, `validation` (also `dev`, `val`, `valid`) and `test`.\n\n```\nby = fraction(train = 80%, validation = 10%, test = 10%)\n```"
    // E05: models, heads, tokens.
    E0501 "a model that cannot be read" "A model is a folder in the Hugging Face layout (`config.json` with a known `model_type`, and `model.safetensors`, its shards, or `pytorch_model.bin`), a repository on a hub, one of the built-in models, or a config alone, which is then trained from scratch.\n\n```\nload-model encoder { source = folder(\"models/minilm\"), head = sequence_classification }\n```"
    E0502 "labels that the model does not know" "A checkpoint with a head of its own has labels. Data with equal names in another order adopts the model's order; data with other names, or another number of labels, needs a new head.\n\n```\nhead = sequence_classification(new = true)\n```"
    E0503 "a head that does not fit the data" "A classifier learns from one class a row, a regression from one number a row, a multi-label head from several labels a row. A model without a head can be neither trained nor asked.\n\n```\nhead = sequence_classification     # names or whole numbers\nhead = sequence_regression         # numbers with a decimal point\nhead = multi_label_classification  # lists of labels\n```"
    E0504 "a model that has not been trained" "`load-model` leaves a new head without values, because the first `train` fixes its size and draws it from its own seed. Until then nothing can be predicted with the model, and it cannot be saved.\n\n```\neval predicted { model = tuned, data = tokens.test }   # tuned is a `train` step\n```"
    E0505 "tokens that the model cannot read" "A model reads tokens of its own tokenizer, no longer than its positions.\n\n```\ntokenize tokens { data = reviews, tokenizer = encoder, max_length = 512 }\ntrain tuned { model = encoder, data = tokens.train }\n```"
    E0506 "a metric that does not fit the predictions" "Metrics score one class a row (`accuracy`), several labels a row (`subset_accuracy`), one number a row (`pearson`), tags of words (`entity_f1`), answers to questions (`squad_f1`), ranked documents (`recall_at`) or losses (`perplexity`); the head of the model decides which of these predictions are. A metric also needs the true labels: `eval` keeps them, `predict` has none."
    E0507 "a tokenizer that does not fit" "A tokenizer is read from `tokenizer.json`, or from the `vocab.txt` of a BERT, beside the model. `max_length` counts the special tokens, so it has to leave room for the text itself; a model reads only tokens of its own tokenizer.\n\n```\ntokenize tokens { data = reviews, tokenizer = encoder, max_length = 128 }\n```"

    // E06: values from outside the program.
    E0601 "a key that names nothing" "`--set` and the file of `--params` take the names of parameters, `seed`, and paths to arguments: the name of a step, then the argument, then arguments of its variant.\n\n```\nftrun sst2.ftp --set learning_rate=3e-5 --set tuned.batch=16 --set tuned.optimizer.weight_decay=0.1\n```"
    E0602 "a value is given twice from outside" "One source gives a value once. Between sources, `--set` wins over `--params`, and both over the program.\n\n```\nftrun sst2.ftp --params base.yaml --set seed=3\n```"
    E0603 "an assignment or a parameter file cannot be read" "`--set` has the form `NAME=VALUE`; values are written as in a program, and text needs no quotation marks. A parameter file is a YAML map of names to values.\n\n```yaml\nlearning_rate: 3e-5\ntraining: 3 epochs\ntuned:\n  batch: 16\n```"
    E0604 "a secret in the wrong place" "A secret is read from the environment and accepted by arguments for credentials alone, so that it cannot get into results, keys or records. Nothing else is accepted by them.\n\n```\nsecret token = env(\"HF_TOKEN\")\nload-model encoder { source = hub(\"owner/private\", token = token), head = sequence_classification }\n```"
    E0605 "a parameter without a value" "A parameter without a default gets its value from `--set` or `--params`.\n\n```\nparam rate: float            # ftrun file.ftp --set rate=1e-4\nparam rate: float = 1e-4     # has one of its own\n```"

    // E07: while running.
    E0701 "a step failed" "A step that passed every check could not be done: a row that cannot be read, a loss that is not a number, a full disk. The message names the file and line, or the update and its rows. What was finished before is stored; running the same command again starts there."
    E0702 "an expectation that is not met" "An `expect` line of the program looks at a number of a step that is done, and the number is not as expected. The message says what was found. The run stops there, with exit code 1; what was finished is stored. To go on in spite of it, the expectation is changed or removed: it is no part of any key, so that nothing runs again for it.\n\n```\nexpect tokens.report.truncated < 1%     # a share is of the `rows` of that report\nexpect reviews.report.shared == 0\nexpect quality.accuracy >= 0.8\n```"
    E0799 "a fault of ftrun" "Something that the checks should have excluded has happened. The input is not to blame; a report with the program and the message helps."

    // W: warnings. Nothing is refused.
    W0101 "an unused step" "Nothing refers to this step, and it neither shows nor saves anything by itself. It still runs."
    W0102 "an unused parameter or secret" "Nothing in the file refers to it, so setting it changes nothing."
    W0103 "rows in more than one table" "One file is part of two tables, so rows of training may also be rows that are measured on, and the figures are too good. Rows that are equal in different files are found when the data are read, and told then.\n\n```\nsource = { train = files(\"train.csv\"), test = files(\"test.csv\") }      # not train.csv again\n```"
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
