//! The command line: arguments in, exit code out. One file per verb; what they share is in
//! `args` (arguments), `program` (reading and checking a program), `render` (diagnostics) and
//! `console` (streams, colour). Nothing outside this module prints.

mod args;
mod check;
mod completions;
mod console;
mod doc;
mod explain;
mod fmt;
mod graph;
mod plan;
mod predict;
mod program;
mod progress;
mod render;
mod run;
mod runs;
mod schema;
mod session;
mod show;
mod signals;
mod why;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use console::Console;

/// Why a command ended. Source: the table in `docs/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// A step failed.
    Failed = 1,
    /// The program or the command line is wrong.
    Wrong = 2,
    /// `plan --exit-code`: there is work to do.
    Work = 10,
    /// Checkpointed: run it again.
    Checkpointed = 85,
    /// A fault of ftrun.
    Fault = 101,
    /// Interrupted; run it again to go on.
    Interrupted = 130,
}

#[derive(Debug, Parser)]
#[command(
    name = "ftrun",
    version,
    about = "Fine-tune transformers from a declarative file: checked first, exact, repeatable",
    after_help = "`ftrun FILE.ftp` is short for `ftrun run FILE.ftp`."
)]
struct Cli {
    #[command(flatten)]
    common: args::Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a program and run it
    Run(run::RunArgs),
    /// Find every mistake in a program without running it
    Check(check::CheckArgs),
    /// Show what a run would do, and why; writes nothing
    Plan(plan::PlanArgs),
    /// Say why a step would run, or would not
    Why(why::WhyArgs),
    /// Let a trained model answer for texts
    Predict(predict::PredictArgs),
    /// List the latest runs
    Runs(runs::RunsArgs),
    /// Show a run: values, steps, metrics
    Show(show::ShowArgs),
    /// Show what a step kind does and takes
    Doc(doc::DocArgs),
    /// Say more about an error code
    Explain(explain::ExplainArgs),
    /// Draw the steps of a program and what flows between them
    Graph(graph::GraphArgs),
    /// Lay programs out in the one way
    Fmt(fmt::FmtArgs),
    /// Describe every step kind for machines
    Schema(schema::SchemaArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

/// The whole program behind `main.rs`.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_fault));
    let arguments = with_default_verb(std::env::args_os().collect());
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let code = if error.use_stderr() { Exit::Wrong } else { Exit::Done };
            return ExitCode::from(code as u8);
        }
    };
    let console = Console::new(&cli.common);
    let run = std::panic::AssertUnwindSafe(|| match &cli.verb {
        Verb::Run(args) => run::run(args, &console),
        Verb::Check(args) => check::run(args, &console),
        Verb::Plan(args) => plan::run(args, &console),
        Verb::Why(args) => why::run(args, &console),
        Verb::Predict(args) => predict::run(args, &console),
        Verb::Runs(args) => runs::run(args, &console),
        Verb::Show(args) => show::run(args, &console),
        Verb::Doc(args) => doc::run(args, &console),
        Verb::Explain(args) => explain::run(args, &console),
        Verb::Graph(args) => graph::run(args, &console),
        Verb::Fmt(args) => fmt::run(args, &console),
        Verb::Schema(args) => schema::run(args, &console),
        Verb::Completions(args) => completions::run(args, &console),
    });
    let exit = std::panic::catch_unwind(run).unwrap_or(Exit::Fault);
    ExitCode::from(exit as u8)
}

/// `ftrun FILE.ftp` means `ftrun run FILE.ftp`: the verb is put in where the first word is none.
fn with_default_verb(mut arguments: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let command = Cli::command();
    let takes_value = |flag: &str| {
        let known = command.get_arguments().find(|argument| {
            flag.strip_prefix("--").is_some_and(|name| argument.get_long() == Some(name))
        });
        known.is_some_and(|argument| argument.get_action().takes_values())
    };
    let mut at = 1;
    while let Some(word) = arguments.get(at).and_then(|word| word.to_str()) {
        if !word.starts_with('-') {
            // A word that is neither a verb nor like a file is a misspelt verb.
            let file = word.contains(['.', '/', '\\']) || std::path::Path::new(word).exists();
            if file && command.find_subcommand(word).is_none() {
                arguments.insert(1, "run".into());
            }
            break;
        }
        at += if takes_value(word) { 2 } else { 1 };
    }
    arguments
}

/// What a user sees of a panic: that it is not their fault, and what a report needs.
fn report_fault(panic: &std::panic::PanicHookInfo) {
    let message = panic
        .payload()
        .downcast_ref::<&str>()
        .map(|message| (*message).to_string())
        .or_else(|| panic.payload().downcast_ref::<String>().cloned())
        .unwrap_or_default();
    // A reader that went away (`ftrun doc | head`) is nobody's fault.
    if message.contains("Broken pipe") {
        std::process::exit(Exit::Done as i32);
    }
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    anstream::eprintln!(
        "a fault of ftrun {}{}: {message}\nwhat was finished is stored; a report with the program and this line helps",
        env!("CARGO_PKG_VERSION"),
        place.unwrap_or_default(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_verb_is_kept_and_a_file_is_run() {
        let words =
            |text: &str| -> Vec<std::ffi::OsString> { text.split(' ').map(Into::into).collect() };
        assert_eq!(with_default_verb(words("ftrun check a.ftp")), words("ftrun check a.ftp"));
        assert_eq!(with_default_verb(words("ftrun a.ftp tuned")), words("ftrun run a.ftp tuned"));
        assert_eq!(with_default_verb(words("ftrun -q a.ftp")), words("ftrun run -q a.ftp"));
        assert_eq!(with_default_verb(words("ftrun chekc a.ftp")), words("ftrun chekc a.ftp"));
        assert_eq!(
            with_default_verb(words("ftrun --color never explain E0001")),
            words("ftrun --color never explain E0001")
        );
    }
}
