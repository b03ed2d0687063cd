//! Least squares for the Universal Scalability Law, on the logarithm of the throughput.
//!
//! Owns the arithmetic of one fit. Pure, bounded iterations, no randomness.

/// Steps of the damped Gauss-Newton iteration; a handful suffices, the bound is for data that fit nothing.
const STEPS_MAX: usize = 60;
/// Relative change of the squared error at which it ends.
const TOLERANCE: f64 = 1e-12;

/// A measurement: size (threads, connections, shards) and throughput.
pub(super) type Point = (f64, f64);

/// Coefficients of `X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Coefficients {
    pub(super) ln_lambda: f64,
    pub(super) sigma: f64,
    pub(super) kappa: f64,
}

/// The law's denominator; not positive where the coefficients have no meaning.
pub(super) fn slowdown(n: f64, sigma: f64, kappa: f64) -> f64 {
    1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0)
}

impl Coefficients {
    /// Logarithm of the throughput at `n`.
    pub(super) fn ln_throughput(&self, n: f64) -> f64 {
        self.ln_lambda + n.ln() - slowdown(n, self.sigma, self.kappa).ln()
    }

    /// Sum of the squared residuals of the logarithm.
    pub(super) fn squares(&self, points: &[Point]) -> f64 {
        points.iter().map(|(n, x)| (x.ln() - self.ln_throughput(*n)).powi(2)).sum()
    }
}

/// Which coefficients may move; the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Free {
    Both,
    Sigma,
    Kappa,
    Neither,
}

/// The fit with `sigma >= 0` and `kappa >= 0`: the free one if it lies there, else the best of the edges.
pub(super) fn constrained(points: &[Point]) -> Coefficients {
    let free = unconstrained(points);
    if free.sigma >= 0.0 && free.kappa >= 0.0 {
        return free;
    }
    let edges = [Free::Sigma, Free::Kappa, Free::Neither].map(|edge| minimise(points, edge, 0.0, 0.0));
    let allowed = edges.into_iter().filter(|fit| fit.sigma >= 0.0 && fit.kappa >= 0.0);
    allowed.min_by(|a, b| a.squares(points).total_cmp(&b.squares(points))).unwrap_or(free)
}

/// The fit whatever the signs of `sigma` and `kappa`: what their confidence intervals are made from.
pub(super) fn unconstrained(points: &[Point]) -> Coefficients {
    let (sigma, kappa) = linear_start(points);
    minimise(points, Free::Both, sigma, kappa)
}

/// `N / X` is linear in the coefficients: `a + b (N - 1) + c N (N - 1)`, with `sigma = b / a` and `kappa = c / a`. Weighted by
/// `(X / N)^2` its errors are relative, as the logarithm's are, so that the iteration starts near its end.
fn linear_start(points: &[Point]) -> (f64, f64) {
    let mut normal = [[0.0; 4]; 3];
    for (n, x) in points {
        // Row and right side times the weight X / N: the right side becomes 1.
        let weight = x / n;
        let row = [weight, weight * (n - 1.0), weight * n * (n - 1.0)];
        for (i, line) in normal.iter_mut().enumerate() {
            for (j, cell) in line.iter_mut().take(3).enumerate() {
                *cell += row[i] * row[j];
            }
            line[3] += row[i];
        }
    }
    match solve(normal) {
        Some([a, b, c]) if a > 0.0 => {
            let (sigma, kappa) = (b / a, c / a);
            if points.iter().all(|(n, _)| slowdown(*n, sigma, kappa) > 0.05) {
                (sigma, kappa)
            } else {
                (0.0, 0.0)
            }
        }
        _ => (0.0, 0.0),
    }
}

/// Gauss's elimination with row exchange.
fn solve(mut m: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let pivot = (column..3).max_by(|a, b| m[*a][column].abs().total_cmp(&m[*b][column].abs()))?;
        m.swap(column, pivot);
        let head = m[column];
        if head[column].abs() < f64::MIN_POSITIVE {
            return None;
        }
        for line in m.iter_mut().skip(column + 1) {
            let factor = line[column] / head[column];
            line.iter_mut().zip(head).for_each(|(cell, top)| *cell -= factor * top);
        }
    }
    let mut out = [0.0; 3];
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3).map(|column| m[row][column] * out[column]).sum();
        out[row] = (m[row][3] - known) / m[row][row];
    }
    out.iter().all(|value| value.is_finite()).then_some(out)
}

/// Damped Gauss-Newton (Levenberg-Marquardt) over the free coefficients. `lambda` is eliminated: for any `sigma` and `kappa`
/// the best one is the mean of what is left.
fn minimise(points: &[Point], free: Free, sigma: f64, kappa: f64) -> Coefficients {
    let mut at = with_best_lambda(points, sigma, kappa);
    if free == Free::Neither {
        return at;
    }
    let mut squares = at.squares(points);
    let mut damping = 1e-6;
    for _ in 0..STEPS_MAX {
        let [step_sigma, step_kappa] = step(points, &at, free, damping);
        let (sigma, kappa) = (at.sigma + step_sigma, at.kappa + step_kappa);
        let meaningful = points.iter().all(|(n, _)| slowdown(*n, sigma, kappa) > 1e-9);
        let next = meaningful.then(|| with_best_lambda(points, sigma, kappa));
        match next.map(|next| (next, next.squares(points))) {
            Some((next, fewer)) if fewer <= squares => {
                let done = squares - fewer <= TOLERANCE * squares;
                (at, squares) = (next, fewer);
                damping = (damping * 0.1).max(1e-12);
                if done {
                    break;
                }
            }
            _ if damping > 1e12 => break,
            _ => damping *= 10.0,
        }
    }
    at
}

fn with_best_lambda(points: &[Point], sigma: f64, kappa: f64) -> Coefficients {
    let left = points.iter().map(|(n, x)| x.ln() - n.ln() + slowdown(*n, sigma, kappa).ln());
    Coefficients { ln_lambda: left.sum::<f64>() / points.len() as f64, sigma, kappa }
}

fn step(points: &[Point], at: &Coefficients, free: Free, damping: f64) -> [f64; 2] {
    let count = points.len() as f64;
    // Derivatives of ln X by sigma and kappa, centred because lambda follows them.
    let gradient = |n: f64| {
        let slow = slowdown(n, at.sigma, at.kappa);
        [-(n - 1.0) / slow, -n * (n - 1.0) / slow]
    };
    let sums =
        points.iter().map(|(n, _)| gradient(*n)).fold([0.0; 2], |sum, g| [sum[0] + g[0], sum[1] + g[1]]);
    let mean = sums.map(|sum| sum / count);
    let [mut ss, mut sk, mut kk, mut sr, mut kr] = [0.0; 5];
    for (n, x) in points {
        let g = gradient(*n);
        let [s, k] = [g[0] - mean[0], g[1] - mean[1]];
        let residual = x.ln() - at.ln_throughput(*n);
        ss += s * s;
        sk += s * k;
        kk += k * k;
        sr += s * residual;
        kr += k * residual;
    }
    ss *= 1.0 + damping;
    kk *= 1.0 + damping;
    let divided = |value: f64, by: f64| if by > 0.0 { value / by } else { 0.0 };
    match free {
        Free::Both => {
            let determinant = ss * kk - sk * sk;
            [divided(sr * kk - kr * sk, determinant), divided(kr * ss - sr * sk, determinant)]
        }
        Free::Sigma => [divided(sr, ss), 0.0],
        Free::Kappa => [0.0, divided(kr, kk)],
        Free::Neither => [0.0; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(lambda: f64, sigma: f64, kappa: f64) -> Vec<Point> {
        [1.0, 2.0, 4.0, 8.0, 16.0, 32.0].map(|n| (n, lambda * n / slowdown(n, sigma, kappa))).to_vec()
    }

    #[test]
    fn exact_data_give_their_coefficients() {
        for (sigma, kappa) in
            [(0.02, 0.0005), (0.3, 0.01), (0.0, 0.001), (0.05, 0.0), (0.0, 0.0), (-0.01, 0.0)]
        {
            let fit = unconstrained(&exact(1_000.0, sigma, kappa));
            assert!((fit.sigma - sigma).abs() < 1e-6 && (fit.kappa - kappa).abs() < 1e-7, "{fit:?}");
            assert!((fit.ln_lambda.exp() - 1_000.0).abs() < 1e-3);
        }
    }

    #[test]
    fn coefficients_stay_at_or_above_zero() {
        let fit = constrained(&exact(1_000.0, -0.01, 0.0));
        assert_eq!((fit.sigma, fit.kappa), (0.0, 0.0));
        let mut bent = exact(1_000.0, 0.05, 0.0);
        bent[5].1 *= 1.2;
        let free = unconstrained(&bent);
        let fit = constrained(&bent);
        assert!(free.kappa < 0.0 && fit.kappa == 0.0 && fit.sigma > 0.0, "{free:?} {fit:?}");
        assert!(fit.squares(&bent) >= free.squares(&bent));
    }

    /// No other point of a fine grid of allowed coefficients fits better.
    #[test]
    fn the_constrained_fit_is_the_best_allowed_one() {
        let mut rng = crate::stats::Rng::new(3);
        for _ in 0..20 {
            let mut points = exact(100.0, 0.02, 0.0002);
            points.iter_mut().for_each(|point| point.1 *= (0.2 * rng.normal()).exp());
            let best = constrained(&points).squares(&points);
            for i in 0..60 {
                for j in 0..60 {
                    let other = with_best_lambda(&points, f64::from(i) * 0.005, f64::from(j) * 0.0002);
                    assert!(best <= other.squares(&points) + 1e-9);
                }
            }
        }
    }
}
