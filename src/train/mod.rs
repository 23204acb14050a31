//! Training: the only loop, and the values that it is given: optimizers, schedules, what is kept.
//! It knows no text: rows come from a `source`, networks from `task`.

pub mod baseline;
pub mod checkpoint;
pub mod course;
pub mod deferred;
pub mod evaluate;
pub mod keep;
pub mod masking;
pub mod method;
pub mod metrics;
pub mod optimizer;
pub mod schedule;
pub mod source;
pub mod tokens;
pub mod trainer;
pub mod values;

pub use checkpoint::{LogRow, Snapshot, State, Validation};
pub use course::{BatchSize, Budget};
pub use keep::{Keep, Measure, StopEarly};
pub use optimizer::{Optimizer, Optimizers};
pub use schedule::{Schedule, Schedules};
pub use source::Examples;
pub use tokens::TokenExamples;
pub use trainer::{Control, Ending, Event, Settings, Trained, Unattended, ValidationSet, train};
