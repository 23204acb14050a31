//! `ftrun explain CODE`

use clap::Args;
use serde_json::json;

use super::Exit;
use super::console::Console;
use crate::base::{Code, Severity, suggest};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A code such as E0204; without one, all of them
    code: Option<String>,
    /// All codes as one document, which is `docs/errors.md`
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &ExplainArgs, console: &Console) -> Exit {
    if args.markdown {
        console.result(&crate::plan::describe::errors_markdown());
        return Exit::Done;
    }
    let Some(wanted) = &args.code else {
        if console.json {
            let codes: Vec<_> = Code::ALL.iter().map(|code| object(*code)).collect();
            console.object(&json!({ "schema": 1, "codes": codes }));
        } else {
            let lines: Vec<String> =
                Code::ALL.iter().map(|code| format!("{code}  {}", code.title())).collect();
            console.result(&lines.join("\n"));
        }
        return Exit::Done;
    };
    let Some(code) = Code::parse(wanted) else {
        let nearest = suggest::nearest(wanted, Code::ALL.iter().map(|code| code.as_str()));
        let hint = nearest.map(|code| format!("; the nearest is {code}")).unwrap_or_default();
        console.message(&format!(
            "there is no code `{wanted}`{hint}; `ftrun explain` lists all of them"
        ));
        return Exit::Wrong;
    };
    if console.json {
        console.object(&object(code));
    } else {
        console.result(&format!("{code}: {}\n\n{}", code.title(), code.explanation()));
    }
    Exit::Done
}

fn object(code: Code) -> serde_json::Value {
    let severity = match code.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "schema": 1,
        "code": code.as_str(),
        "severity": severity,
        "title": code.title(),
        "explanation": code.explanation(),
    })
}
