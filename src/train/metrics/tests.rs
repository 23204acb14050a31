//! What the golden table does not cover: resampling, undefined values, declarations.

use super::*;
use crate::schema::Share;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|label| label.to_string()).collect()
}

fn classes(width: usize, truth: &[usize], logits: &[f64]) -> Scored {
    Scored::Classes(Classes::new(names(width), truth.to_vec(), logits.to_vec()).unwrap())
}

fn all() -> Vec<Box<dyn Metric>> {
    Metrics::table()
        .iter()
        .map(|entry| Pick::<Metrics>::default_of(entry.name).unwrap().build().unwrap())
        .collect()
}

fn bootstrap(resamples: usize) -> Bootstrap {
    Bootstrap { resamples, level: Share(0.95), seed: 0 }
}

/// Some predictions that are right more often than not, for every kind.
fn examples(rows: usize) -> Vec<Scored> {
    let noise = |row: usize, column: usize| ((row * 7919 + column * 104_729) % 1000) as f64 / 500.0;
    let truth: Vec<usize> = (0..rows).map(|row| (row * row + row / 3) % 3).collect();
    let logits: Vec<f64> = (0..rows * 3)
        .map(|cell| noise(cell / 3, cell % 3) + f64::from(u8::from(truth[cell / 3] == cell % 3)))
        .collect();
    let flags: Vec<bool> = (0..rows * 3).map(|cell| noise(cell / 3, cell % 3 + 5) > 1.2).collect();
    let flag_logits: Vec<f64> = (0..rows * 3)
        .map(|cell| noise(cell / 3, cell % 3) - 1.5 + f64::from(u8::from(flags[cell])))
        .collect();
    let values: Vec<f64> = (0..rows).map(|row| noise(row, 1).round()).collect();
    let guesses: Vec<f64> =
        values.iter().enumerate().map(|(row, value)| value + noise(row, 3)).collect();
    vec![
        classes(3, &truth, &logits),
        Scored::MultiLabel(MultiLabel::new(names(3), flags, flag_logits, 0.5).unwrap()),
        Scored::Values(Values::new(values, guesses).unwrap()),
    ]
}

#[test]
fn every_metric_is_declared_once_and_fits_something() {
    let mut seen = std::collections::BTreeSet::new();
    for (entry, metric) in Metrics::table().iter().zip(all()) {
        assert!(seen.insert(entry.name), "{} is there twice", entry.name);
        assert!(!(entry.doc)().is_empty(), "{} is not documented", entry.name);
        for param in (entry.decl)() {
            assert!(!param.doc.is_empty(), "{}.{} is not documented", entry.name, param.name);
        }
        assert!(!metric.fits().is_empty());
        for scored in examples(40) {
            let fits = metric.fits().contains(&scored.kind());
            let outcome = &measure(std::slice::from_ref(&metric), &scored, None)[0].outcome;
            let computed = !matches!(outcome, Outcome::Undefined(_));
            assert_eq!(fits, computed, "{} on {:?}: {outcome:?}", entry.name, scored.kind());
        }
    }
}

/// A row taken twice is the same as two equal rows: resamples are what they claim to be.
#[test]
fn multiplicities_equal_repeated_rows() {
    let rows = 30;
    for scored in examples(rows) {
        let weights: Vec<u32> = (0..rows as u32).map(|row| row * row % 4).collect();
        let taken: Vec<usize> =
            (0..rows).flat_map(|row| std::iter::repeat_n(row, weights[row] as usize)).collect();
        let repeated = match &scored {
            Scored::Classes(one) => {
                let logits =
                    taken.iter().flat_map(|row| one.logits()[row * 3..row * 3 + 3].to_vec());
                let truth: Vec<usize> = taken.iter().map(|row| one.truth()[*row]).collect();
                classes(3, &truth, &logits.collect::<Vec<f64>>())
            }
            Scored::MultiLabel(one) => {
                let logit = |probability: f64| (probability / (1.0 - probability)).ln();
                let cells: Vec<usize> = taken.iter().flat_map(|row| row * 3..row * 3 + 3).collect();
                let truth = cells.iter().map(|cell| one.truth()[*cell]).collect();
                let logits = cells.iter().map(|cell| logit(one.probabilities()[*cell])).collect();
                Scored::MultiLabel(MultiLabel::new(names(3), truth, logits, 0.5).unwrap())
            }
            Scored::Values(one) => {
                let pick = |values: &[f64]| taken.iter().map(|row| values[*row]).collect();
                Scored::Values(Values::new(pick(one.truth()), pick(one.predicted())).unwrap())
            }
        };
        let ones = vec![1; taken.len()];
        for metric in all().iter().filter(|metric| metric.fits().contains(&scored.kind())) {
            let once = compute(metric.as_ref(), &Sample::new(&scored, &weights, false));
            let twice = compute(metric.as_ref(), &Sample::new(&repeated, &ones, false));
            match (once, twice) {
                (Outcome::Value(once), Outcome::Value(twice)) => {
                    assert!((once - twice).abs() < 1e-12, "{}: {once} {twice}", metric.name());
                }
                (once, twice) => assert_eq!(once, twice, "{}", metric.name()),
            }
        }
    }
}

/// Accuracy of n rows has standard error √(p(1−p)/n): the interval is ±1.96 of it, within the
/// noise of 2 000 resamples.
#[test]
fn the_interval_of_accuracy_has_the_width_of_the_normal_one() {
    let rows = 400;
    let logits: Vec<f64> =
        (0..rows).flat_map(|row| if row % 4 == 0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
    let scored = classes(2, &vec![1; rows], &logits);
    let metrics: Vec<Box<dyn Metric>> = vec![Box::new(Accuracy {})];
    let measured = &measure(&metrics, &scored, Some(&bootstrap(2_000)))[0];
    let interval = measured.interval.unwrap();
    let error = (0.75f64 * 0.25 / rows as f64).sqrt();
    assert_eq!(measured.outcome, Outcome::Value(0.75));
    assert!((interval.low - (0.75 - 1.96 * error)).abs() < 0.25 * error, "{interval:?}");
    assert!((interval.high - (0.75 + 1.96 * error)).abs() < 0.25 * error, "{interval:?}");
    assert_eq!(interval.resamples, 2_000);
}

#[test]
fn intervals_do_not_depend_on_the_number_of_threads_but_on_the_seed() {
    let scored = &examples(200)[0];
    let metrics = all();
    let run = |threads: usize, seed: usize| {
        let bootstrap = Bootstrap { seed, ..bootstrap(100) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| measure(&metrics, scored, Some(&bootstrap)))
    };
    assert_eq!(run(1, 0), run(3, 0));
    assert_ne!(run(1, 0)[0].interval, run(1, 1)[0].interval);
}

#[test]
fn a_value_that_is_undefined_in_many_resamples_has_no_interval() {
    // One row of class 1 among 20: a third of the resamples do not draw it.
    let mut truth = vec![0; 20];
    truth[3] = 1;
    let logits: Vec<f64> = (0..40).map(|cell| f64::from(cell % 7)).collect();
    let metrics: Vec<Box<dyn Metric>> =
        vec![Pick::<Metrics>::default_of("roc_auc").unwrap().build().unwrap()];
    let measured = &measure(&metrics, &classes(2, &truth, &logits), Some(&bootstrap(500)))[0];
    assert!(measured.outcome.value().is_some());
    assert_eq!(measured.interval, None);
    assert!(measured.warnings.iter().any(|text| text.starts_with("no interval")));
}

#[test]
fn no_rows_give_reasons_and_not_numbers() {
    for metric in all() {
        let scored = classes(2, &[], &[]);
        let measured = &measure(&[metric], &scored, Some(&bootstrap(20)))[0];
        assert!(matches!(measured.outcome, Outcome::Undefined(_)), "{}", measured.name);
    }
}

#[test]
fn impossible_predictions_are_refused() {
    let new = |truth: Vec<usize>, logits: Vec<f64>| Classes::new(names(2), truth, logits).err();
    assert!(matches!(new(vec![0], vec![0.0]), Some(ScoredError::Length { .. })));
    assert!(matches!(new(vec![2], vec![0.0, 1.0]), Some(ScoredError::Class { row: 0, .. })));
    assert!(matches!(
        new(vec![0, 1], vec![0.0, 1.0, f64::NAN, 0.0]),
        Some(ScoredError::NotFinite { row: 1, .. })
    ));
    assert!(Values::new(vec![0.0], vec![f64::INFINITY]).is_err());
}

#[test]
fn a_positive_label_must_be_known() {
    let labels = names(3);
    let f1 = |positive: Option<&str>| F1 {
        average: Average::Binary,
        positive: positive.map(str::to_string),
    };
    assert!(f1(Some("2")).check(&labels).is_ok());
    assert!(f1(Some("9")).check(&labels).is_err());
    assert!(f1(None).check(&labels).is_err());
    assert!(f1(None).check(&labels[..2]).is_ok());
}

/// By hand: five rows, orders (1 2 3 4 5) and (1 3 2 5 5); 8 pairs agree, 1 does not, 1 is tied.
#[test]
fn kendall_counts_pairs() {
    let scored = Scored::Values(
        Values::new(vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![1.0, 3.0, 2.0, 5.0, 5.0]).unwrap(),
    );
    let metrics: Vec<Box<dyn Metric>> = vec![Box::new(KendallTau {})];
    let value = measure(&metrics, &scored, None)[0].outcome.value().unwrap();
    assert!((value - 7.0 / (10.0f64 * 9.0).sqrt()).abs() < 1e-15);
}
