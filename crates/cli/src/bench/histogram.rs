//! Latencies in a fixed 30 KB table, recorded in a few nanoseconds.
//!
//! Buckets are log-linear: values below 64 ns are exact, above that each power of two has 64 buckets, so that a
//! reported percentile is at most 1.6 % above the true one. Nothing is sampled away.

/// Buckets per power of two, as a power of two.
const PRECISION_BITS: u32 = 6;
const SUB_BUCKETS: usize = 1 << PRECISION_BITS;
const BUCKETS: usize = SUB_BUCKETS * (65 - PRECISION_BITS as usize);

/// Counts of durations in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum_ns: u128,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0, sum_ns: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket_of(ns)] += 1;
        self.total += 1;
        self.sum_ns += u128::from(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds everything that `other` has counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many durations were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The largest duration, exact; 0 when empty.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The mean, exact; 0 when empty.
    #[must_use]
    pub fn mean_ns(&self) -> u64 {
        u64::try_from(self.sum_ns / u128::from(self.total.max(1))).unwrap_or(u64::MAX)
    }

    /// The smallest duration that at least `fraction` (0 to 1) of all durations do not exceed; 0 when empty.
    #[must_use]
    pub fn quantile_ns(&self, fraction: f64) -> u64 {
        let wanted = ((self.total as f64 * fraction).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_bound(bucket).min(self.max_ns);
            }
        }
        0
    }
}

fn bucket_of(ns: u64) -> usize {
    if ns < SUB_BUCKETS as u64 {
        return ns as usize;
    }
    let octave = 63 - ns.leading_zeros() - PRECISION_BITS;
    let within = (ns >> octave) as usize - SUB_BUCKETS;
    SUB_BUCKETS * (octave as usize + 1) + within
}

fn upper_bound(bucket: usize) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket as u64;
    }
    let octave = bucket / SUB_BUCKETS - 1;
    let within = (bucket % SUB_BUCKETS + SUB_BUCKETS) as u128;
    u64::try_from(((within + 1) << octave) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        let mut value = 1u64;
        while value < u64::MAX / 3 {
            for ns in [value - 1, value, value + 1] {
                let upper = upper_bound(bucket_of(ns));
                assert!(upper >= ns, "{ns} above its bucket's bound {upper}");
                assert!(upper - ns <= ns / SUB_BUCKETS as u64, "{ns}: bound {upper} too coarse");
            }
            value = value * 3 / 2 + 1;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_match_a_sorted_list() {
        let mut histogram = Histogram::default();
        let mut values: Vec<u64> = (0..10_000u64).map(|i| (i * 7919) % 100_003 * 13).collect();
        for value in &values {
            histogram.record(*value);
        }
        values.sort_unstable();
        for fraction in [0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = values[((values.len() as f64 * fraction).ceil() as usize).max(1) - 1];
            let found = histogram.quantile_ns(fraction);
            assert!(found >= exact && found <= exact + exact / 32, "{fraction}: {found} for {exact}");
        }
        assert_eq!(histogram.max_ns(), *values.last().unwrap());
        assert_eq!(Histogram::default().quantile_ns(0.5), 0);
    }

    #[test]
    fn merging_adds_up() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        a.record(10);
        b.record(1_000_000);
        a.merge(&b);
        assert_eq!((a.count(), a.max_ns(), a.mean_ns()), (2, 1_000_000, 500_005));
    }
}
