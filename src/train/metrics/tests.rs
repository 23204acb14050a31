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

/// Some predictions that are right more often than not, for every kind, of these rows.
fn examples_of(rows: &[usize]) -> Vec<Scored> {
    let noise = |row: usize, column: usize| ((row * 7919 + column * 104_729) % 1000) as f64 / 500.0;
    let class = |row: usize| (row * row + row / 3) % 3;
    let each = |of: &dyn Fn(usize) -> [f64; 3]| -> Vec<f64> {
        rows.iter().flat_map(|row| of(*row)).collect()
    };
    let cells = [0, 1, 2];
    let logits =
        each(&|row| cells.map(|cell| noise(row, cell) + f64::from(u8::from(class(row) == cell))));
    let truth: Vec<usize> = rows.iter().map(|row| class(*row)).collect();
    let flag = |row: usize, cell: usize| noise(row, cell + 5) > 1.2;
    let flags = rows.iter().flat_map(|row| cells.map(|cell| flag(*row, cell))).collect();
    let flag_logits = each(&|row| {
        cells.map(|cell| noise(row, cell) - 1.5 + f64::from(u8::from(flag(row, cell))))
    });
    let values: Vec<f64> = rows.iter().map(|row| noise(*row, 1).round()).collect();
    let guesses = rows.iter().map(|row| noise(*row, 1).round() + noise(*row, 3)).collect();
    let tags = |salt: usize| -> Vec<Vec<String>> {
        let tag = |row: usize, word: usize| {
            let salt = if noise(row, word + 9) > 1.5 { salt } else { 0 };
            ["O", "B-X", "I-X", "B-Y", "I-Y", "O"][(row * 5 + word * 3 + salt) % 6].to_string()
        };
        rows.iter().map(|row| (0..row % 7).map(|word| tag(*row, word)).collect()).collect()
    };
    let gold: Vec<Vec<String>> = rows
        .iter()
        .map(|row| ["the tea", "ice"].iter().take(row % 3).map(|text| text.to_string()).collect())
        .collect();
    let texts: Vec<String> =
        rows.iter().map(|row| ["Tea", "ice tea", "milk"][row % 3].to_string()).collect();
    let null_scores = rows.iter().map(|row| (noise(*row, 4) * 3.0).round() - 3.0).collect();
    let ranks = rows.iter().map(|row| vec![1 + *row as u32 % 5, 8 + *row as u32 % 3]).collect();
    let losses = rows.iter().map(|row| noise(*row, 2) * (row % 4) as f64).collect();
    vec![
        classes(3, &truth, &logits),
        Scored::MultiLabel(MultiLabel::new(names(3), flags, flag_logits, 0.5).unwrap()),
        Scored::Values(Values::new(values, guesses).unwrap()),
        Scored::Tags(Tags::new(tags(0), tags(1)).unwrap()),
        Scored::Answers(Answers::new(&texts, &gold, null_scores, 0.0).unwrap()),
        Scored::Ranking(Ranking::new(ranks).unwrap()),
        Scored::Losses(
            Losses::new(losses, rows.iter().map(|row| *row as u32 % 4).collect()).unwrap(),
        ),
    ]
}

fn examples(rows: usize) -> Vec<Scored> {
    examples_of(&(0..rows).collect::<Vec<_>>())
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
    let weights: Vec<u32> = (0..rows as u32).map(|row| row * row % 4).collect();
    let taken: Vec<usize> =
        (0..rows).flat_map(|row| std::iter::repeat_n(row, weights[row] as usize)).collect();
    for (scored, repeated) in examples(rows).into_iter().zip(examples_of(&taken)) {
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
    let tags = |lengths: [usize; 2]| lengths.map(|length| vec![vec!["O".to_string(); length]]);
    let [truth, predicted] = tags([2, 1]);
    assert!(matches!(
        Tags::new(truth, predicted),
        Err(ScoredError::RowLength { row: 0, found: 1, expected: 2, .. })
    ));
    assert!(Answers::new(&["x".to_string()], &[], vec![], 0.0).is_err());
    for ranks in [vec![], vec![0], vec![2, 2]] {
        assert!(matches!(Ranking::new(vec![ranks]), Err(ScoredError::Ranks { row: 0 })));
    }
    assert!(Ranking::of_scores(&[0.5, 0.1], 2, &[vec![2]]).is_err());
    assert!(Losses::new(vec![f64::NAN], vec![1]).is_err());
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

fn value(metric: impl Metric + 'static, scored: &Scored) -> f64 {
    evaluate(&metric, scored).value().expect("a value")
}

/// By hand: the first query has its document at rank 2, the second its two at 1 and 3.
#[test]
fn ranks_of_right_documents() {
    let scores = [0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.5, 0.1];
    let ranking = Ranking::of_scores(&scores, 4, &[vec![2], vec![0, 2]]).unwrap();
    assert_eq!(ranking.ranks(), [vec![2], vec![1, 2]]);
    // Equal scores speak against the right document.
    let alike = Ranking::of_scores(&[0.5; 3], 3, &[vec![0]]).unwrap();
    assert_eq!(alike.ranks(), [vec![3]]);

    let scored = Scored::Ranking(Ranking::new(vec![vec![2], vec![1, 3]]).unwrap());
    assert_eq!(value(RecallAt { k: 1 }, &scored), 0.25);
    assert_eq!(value(RecallAt { k: 2 }, &scored), 0.75);
    assert_eq!(value(ReciprocalRank { k: None }, &scored), 0.75);
    assert_eq!(value(ReciprocalRank { k: Some(1) }, &scored), 0.5);
    let gain = |rank: f64| 1.0 / (rank + 1.0).log2();
    let expected = (gain(2.0) + (1.0 + gain(3.0)) / (1.0 + gain(2.0))) / 2.0;
    assert!((value(NdcgAt { k: 3 }, &scored) - expected).abs() < 1e-15);
}

/// By hand: (2 + 1) / (2 + 1) elements, whatever rows they are in.
#[test]
fn losses_are_weighted_by_elements() {
    let scored = Scored::Losses(Losses::new(vec![2.0, 0.0, 1.0], vec![2, 0, 1]).unwrap());
    assert_eq!(value(Loss {}, &scored), 1.0);
    assert!((value(Perplexity {}, &scored) - std::f64::consts::E).abs() < 1e-15);
    let nothing = Scored::Losses(Losses::new(vec![0.0], vec![0]).unwrap());
    assert!(matches!(evaluate(&Loss {}, &nothing), Outcome::Undefined(_)));
}

/// By hand, after `find_best_thresh` of SQuAD 2: the answered questions are right, wrong, right;
/// the last one is unanswerable and better left alone.
#[test]
fn a_threshold_decides_which_questions_are_answered() {
    let text = |text: &str| text.to_string();
    let predicted = ["tea", "ice", "milk", "tea"].map(text);
    let gold = [vec![text("Tea")], vec![text("water")], vec![text("the milk")], vec![]];
    let answers = |threshold| {
        let scores = vec![-2.0, -1.0, 1.0, 2.0];
        Scored::Answers(Answers::new(&predicted, &gold, scores, threshold).unwrap())
    };
    let exact = |of: Questions, threshold: NullThreshold| ExactMatch { of, threshold };
    use NullThreshold::{Best, Predicted};
    use Questions::{All, Answerable, Unanswerable};
    let usual = answers(0.0);
    assert_eq!(value(exact(All, Predicted), &usual), 0.5);
    assert_eq!(value(exact(Answerable, Predicted), &usual), 1.0 / 3.0);
    assert_eq!(value(exact(Unanswerable, Predicted), &usual), 1.0);
    assert_eq!(value(exact(All, Best), &usual), 0.75);
    assert_eq!(value(BestNullThreshold {}, &usual), 1.0);
    assert_eq!(value(exact(Unanswerable, Predicted), &answers(f64::INFINITY)), 0.0);
    assert_eq!(exact(Answerable, Best).name(), "exact_match_answerable_best");
}

#[test]
fn tags_that_name_no_entities_have_words_alone() {
    let tags = |text: &str| vec![text.split(' ').map(str::to_string).collect::<Vec<_>>()];
    let scored = Scored::Tags(Tags::new(tags("DET NOUN"), tags("DET VERB")).unwrap());
    assert_eq!(value(Accuracy {}, &scored), 0.5);
    for mode in [EntityMode::Default, EntityMode::Strict(Strict { scheme: None })] {
        let metric = EntityF1 { average: EntityAverage::Micro, mode };
        let Outcome::Undefined(reason) = evaluate(&metric, &scored) else { panic!() };
        assert!(reason.contains("`DET`"), "{reason}");
    }
    // A tag of another scheme, and a word that was not reached.
    let truth = tags("B-X I-X O");
    let odd = Scored::Tags(Tags::new(truth.clone(), tags("S-X O O")).unwrap());
    let strict = || EntityMode::Strict(Strict { scheme: None });
    let metric = EntityF1 { average: EntityAverage::Micro, mode: strict() };
    assert!(matches!(evaluate(&metric, &odd), Outcome::Undefined(_)));
    let cut = Scored::Tags(Tags::new(truth, tags("B-X I-X ")).unwrap());
    assert_eq!(value(metric, &cut), 1.0);
    assert_eq!(value(Accuracy {}, &cut), 2.0 / 3.0);
    let named = EntityF1 {
        average: EntityAverage::Macro,
        mode: EntityMode::Strict(Strict { scheme: Some(EntityScheme::Iob2) }),
    };
    assert_eq!(named.name(), "entity_f1_macro_strict_iob2");
}
