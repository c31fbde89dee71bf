//! Histograms in the percentile format of HdrHistogram (`.hgrm`), which its plotters read.
//!
//! ```text
//!        Value     Percentile TotalCount 1/(1-Percentile)
//!
//!        0.123 0.000000000000          1           1.00
//! #[Mean    =        0.456, StdDeviation   =        0.078]
//! #[Max     =        0.900, Total count    =         1000]
//! #[Buckets =           30, SubBuckets     =         2048]
//! ```

use std::fmt::Write;

use hdrhistogram::Histogram;

/// Lines between each share of packets and half of what remains above it, as HdrHistogram's own
/// tools write them.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// A histogram of nanoseconds, written with values in milliseconds.
pub fn text(histogram: &Histogram<u64>) -> String {
    let mut text = String::new();
    write(&mut text, histogram).expect("a string takes any text");
    text
}

fn write(text: &mut String, histogram: &Histogram<u64>) -> std::fmt::Result {
    let (value, percentile, count) = ("Value", "Percentile", "TotalCount");
    writeln!(text, "{value:>12} {percentile:>14} {count:>10} 1/(1-Percentile)\n")?;
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let value = ms(step.value_iterated_to() as f64);
        let quantile = step.quantile_iterated_to();
        let inverse =
            if quantile < 1.0 { format!("{:.2}", 1.0 / (1.0 - quantile)) } else { "inf".into() };
        writeln!(text, "{value:12.6} {quantile:1.12} {total:10} {inverse:>14}")?;
    }
    let (mean, deviation) = (ms(histogram.mean()), ms(histogram.stdev()));
    let (max, count) = (ms(histogram.max() as f64), histogram.len());
    let (buckets, halves) = (histogram.buckets(), sub_buckets(histogram.sigfig()));
    writeln!(text, "#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]")?;
    writeln!(text, "#[Max     = {max:12.6}, Total count    = {count:12}]")?;
    writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {halves:12}]")
}

/// Values that a bucket tells apart, at so many significant digits.
fn sub_buckets(digits: u8) -> u64 {
    (2 * 10_u64.pow(digits.into())).next_power_of_two()
}

const fn ms(nanos: f64) -> f64 {
    nanos / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tester::measure::histogram;

    /// The rows: value in milliseconds, percentile, total count.
    fn parse(text: &str) -> Vec<(f64, f64, u64)> {
        let mut lines = text.lines();
        let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(head, ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
        assert_eq!(lines.next(), Some(""));
        let rows = lines.filter(|line| !line.starts_with('#')).map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(fields.len(), 4, "{line}");
            let (share, inverse): (f64, f64) =
                (fields[1].parse().unwrap(), fields[3].parse().unwrap());
            assert!((inverse - 1.0 / (1.0 - share)).abs() <= 0.01 * inverse || share == 1.0);
            (fields[0].parse().unwrap(), share, fields[2].parse().unwrap())
        });
        rows.collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut histogram = histogram();
        (1..=10_000).for_each(|i| histogram.record(i * 1000).unwrap());
        let text = text(&histogram);
        let rows = parse(&text);
        assert!(rows.len() > 30 && rows.is_sorted_by_key(|row| row.2));
        for (value, share, count) in &rows {
            let expected = histogram.value_at_quantile(*share) as f64 / 1e6;
            assert!((value - expected).abs() < 1e-5 + 1e-3 * expected, "{value} at {share}");
            let below = histogram.count_between(0, (value * 1e6) as u64);
            assert!(count.abs_diff(below) <= 10, "{count} up to {value}, not {below}");
        }
        assert_eq!((rows.last().unwrap().1, rows.last().unwrap().2), (1.0, 10_000));
        assert!(text.contains("#[Mean    =     5.00"), "{text}");
        assert!(text.contains("Total count    =        10000]"), "{text}");
        assert!(text.contains("SubBuckets     =         2048]"), "{text}");
    }

    #[test]
    fn nothing_measured_is_a_file_without_rows() {
        assert!(parse(&text(&histogram())).len() <= 1);
        assert!(text(&histogram()).contains("Total count    =            0]"));
    }
}
