//! How a run is shown while it goes on: two bars on a terminal, else plain lines; and as JSON lines
//! in a file for other programs.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::console::Console;
use crate::exec::{Signal, Sink};
use crate::report::duration;
use crate::step::Event;

/// Without a terminal, how often a line says that it goes on.
const EVERY: Duration = Duration::from_secs(30);

pub struct Progress {
    console: Console,
    begun: Instant,
    events: Option<File>,
    bars: Option<Bars>,
    steps: usize,
    /// Steps that are finished.
    done: usize,
    phase: Option<Phase>,
    /// When a plain line was last written.
    said: Instant,
}

struct Bars {
    all: MultiProgress,
    steps: ProgressBar,
    inside: ProgressBar,
}

struct Phase {
    name: &'static str,
    total: Option<u64>,
    done: u64,
    begun: Instant,
    detail: String,
}

impl Progress {
    /// `events`: where to write JSON lines.
    pub fn new(console: &Console, events: Option<&Path>) -> Result<Self, String> {
        let events = match events {
            Some(path) => Some(
                File::options()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|error| format!("{}: {error}", path.display()))?,
            ),
            None => None,
        };
        let now = Instant::now();
        let bars = (console.terminal && !console.quiet).then(Bars::new);
        Ok(Self {
            console: *console,
            begun: now,
            events,
            bars,
            steps: 0,
            done: 0,
            phase: None,
            said: now,
        })
    }

    /// A line above the bars.
    pub fn say(&mut self, text: &str) {
        if self.console.quiet {
            return;
        }
        self.said = Instant::now();
        match &self.bars {
            Some(bars) => bars.all.suspend(|| self.console.message(text)),
            None => self.console.message(text),
        }
    }

    fn record(&mut self, value: Value) {
        let Some(file) = &mut self.events else { return };
        let mut line = value;
        if let Value::Object(fields) = &mut line {
            let seconds = (self.begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
            fields.insert("seconds".into(), json!(seconds));
        }
        // Whoever watches sees whole lines.
        if writeln!(file, "{line}").is_err() {
            self.events = None;
        }
    }

    fn head(&self, step: &str) -> String {
        format!("[{}/{}] {step}", (self.done + 1).min(self.steps), self.steps)
    }

    fn inside(&mut self, step: &str, event: &Event) {
        match event {
            Event::Phase { name, total } => {
                self.phase = Some(Phase {
                    name,
                    total: *total,
                    done: 0,
                    begun: Instant::now(),
                    detail: String::new(),
                });
                self.record(
                    json!({ "event": "phase", "step": step, "phase": name, "total": total }),
                );
                if let Some(bars) = &self.bars {
                    bars.phase(name, *total);
                }
            }
            Event::Progress { done, detail, work } => {
                if let Some(phase) = &mut self.phase {
                    phase.done = *done;
                    phase.detail.clone_from(detail);
                }
                let mut line =
                    json!({ "event": "progress", "step": step, "done": done, "detail": detail });
                if let Some(work) = work {
                    line["rows"] = json!(work.rows);
                    line["tokens"] = json!(work.tokens);
                    for (name, value) in
                        [("loss", work.loss), ("optimizer_seconds", work.optimizer_seconds)]
                    {
                        if let Some(value) = value {
                            line[name] = json!(value);
                        }
                    }
                }
                self.record(line);
                match &self.bars {
                    Some(bars) => {
                        bars.inside.set_position(*done);
                        bars.inside.set_message(detail.clone());
                    }
                    None if self.said.elapsed() >= EVERY => {
                        let line = self.phase.as_ref().map(Phase::line).unwrap_or_default();
                        self.say(&format!("{}: {line}", self.head(step)));
                    }
                    None => {}
                }
            }
            Event::Warning { message } => {
                self.record(json!({ "event": "warning", "step": step, "message": message }));
                self.say(&format!("warning: {step}: {message}"));
            }
            Event::Note { message } => {
                self.record(json!({ "event": "note", "step": step, "message": message }));
                self.say(&format!("{}: {message}", self.head(step)));
            }
        }
    }

    fn finished(&mut self) {
        self.done += 1;
        self.phase = None;
        if let Some(bars) = &self.bars {
            bars.steps.set_position(self.done as u64);
            bars.inside.reset();
            bars.inside.set_style(style("  "));
        }
    }

    /// Takes the bars away.
    pub fn clear(&mut self) {
        if let Some(bars) = self.bars.take() {
            bars.inside.finish_and_clear();
            bars.steps.finish_and_clear();
        }
    }
}

impl Sink for Progress {
    fn signal(&mut self, signal: &Signal) {
        match signal {
            Signal::Begin { steps } => {
                self.steps = *steps;
                self.record(json!({ "event": "begin", "steps": steps }));
                if let Some(bars) = &self.bars {
                    bars.steps.set_length(*steps as u64);
                }
            }
            Signal::Hit { step } => {
                self.record(json!({ "event": "hit", "step": step }));
                self.say(&format!("{}: unchanged, taken from the store", self.head(step)));
                self.finished();
            }
            Signal::Start { step, kind } => {
                self.record(json!({ "event": "start", "step": step, "kind": kind }));
                self.say(&format!("{} ({kind})", self.head(step)));
                if let Some(bars) = &self.bars {
                    bars.steps.set_message((*step).to_string());
                    bars.phase("", None);
                }
            }
            Signal::Inside { step, event } => self.inside(step, event),
            Signal::Waiting { step, host, process } => {
                self.record(
                    json!({ "event": "waiting", "step": step, "host": host, "process": process }),
                );
                let line = format!("process {process} on {host} is making this; waiting for it");
                self.say(&format!("{}: {line}", self.head(step)));
            }
            Signal::Done { step, seconds } => {
                self.record(json!({ "event": "done", "step": step, "took": seconds }));
                // What took no time needs no second line.
                if *seconds >= 1.0 {
                    self.say(&format!("{}: done in {}", self.head(step), duration(*seconds)));
                }
                self.finished();
            }
            Signal::Failed { step, message } => {
                self.record(json!({ "event": "failed", "step": step, "message": message }));
            }
            Signal::Placed { step, path, written } => {
                let path = path.display().to_string();
                self.record(
                    json!({ "event": "placed", "step": step, "path": path, "written": written }),
                );
            }
            Signal::Warning { step, message } => {
                self.record(json!({ "event": "warning", "step": step, "message": message }));
                let place = if step.is_empty() { String::new() } else { format!("{step}: ") };
                self.say(&format!("warning: {place}{message}"));
            }
        }
    }
}

impl Phase {
    /// `training 120 of 938, loss 0.412, about 1 min 20 s left`
    fn line(&self) -> String {
        let mut line = self.name.to_string();
        if let Some(total) = self.total {
            line.push_str(&format!(" {} of {total}", self.done));
        } else if self.done > 0 {
            line.push_str(&format!(" {}", self.done));
        }
        if !self.detail.is_empty() {
            line.push_str(&format!(", {}", self.detail));
        }
        if let Some(total) = self.total.filter(|total| self.done > 0 && *total > self.done) {
            let each = self.begun.elapsed().as_secs_f64() / self.done as f64;
            line.push_str(&format!(", about {} left", duration(each * (total - self.done) as f64)));
        }
        line
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let steps = all.add(ProgressBar::new(0));
        steps.set_style(style("{bar:24} {pos}/{len} steps · {msg}"));
        let inside = all.add(ProgressBar::new(0));
        inside.set_style(style("  "));
        steps.enable_steady_tick(Duration::from_millis(200));
        Self { all, steps, inside }
    }

    fn phase(&self, name: &'static str, total: Option<u64>) {
        self.inside.reset();
        self.inside.set_message("");
        self.inside.set_prefix(name);
        match total {
            Some(total) => {
                self.inside.set_length(total);
                self.inside.set_style(style(
                    "{bar:24} {pos}/{len} {prefix} · {per_sec} · {eta} left · {msg}",
                ));
            }
            None => self.inside.set_style(style("  {prefix} {elapsed} {msg}")),
        }
    }
}

/// A template of ours; one that cannot be read shows nothing but the message.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}
