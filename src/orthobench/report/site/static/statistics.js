/* The statistics of a comparison, as orthobench.report computes and writes them; a test compares the two. */
"use strict";

orthobench.statistics = (() => {
  const ROUNDING = 4 * Number.EPSILON;
  const STEPS = 1000; // of a continued fraction, which converges in some ten

  const sum = (x) => x.reduce((one, other) => one + other, 0);
  const range = (x) => x.reduce((a, b) => Math.max(a, b)) - x.reduce((a, b) => Math.min(a, b));

  /* The mean of values, and the half-width of its Student t interval; `quantiles` are those of 0, 1, ... degrees of
     freedom. One value has no interval, equal ones have one without width. */
  function interval(x, quantiles) {
    const n = x.length;
    if (range(x) === 0) return { mean: x[0], half: n > 1 ? 0 : NaN, error: 0 };
    const mean = sum(x) / n;
    const error = Math.sqrt(sum(x.map((each) => (each - mean) ** 2)) / (n - 1) / n);
    return { mean, half: quantiles[n - 1] * error, error };
  }

  /* The continued fraction of the incomplete beta function, by Lentz's method (Press et al., section 6.4). */
  function fraction(a, b, x) {
    let c = 1, d = 1 / (1 - ((a + b) * x) / (a + 1)), value = d;
    for (let m = 1; m <= STEPS; m += 1) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      const before = value;
      [even, odd].forEach((part) => {
        d = 1 / (1 + part * d);
        c = 1 + part / c;
        value *= c * d;
      });
      if (value === before) break;
    }
    return value;
  }

  /* The two-sided p-value of Student's t: I_x(freedom / 2, 1 / 2) at x = freedom / (freedom + t^2). */
  function student(t, freedom) {
    const a = freedom / 2, b = 1 / 2, total = freedom + t * t;
    const x = freedom / total, y = (t * t) / total;
    let front = freedom % 2 ? 1 / Math.PI : 1 / 2; // 1 / B(a, b), by its recurrence
    for (let k = freedom % 2 || 2; k < freedom; k += 2) front *= (k + 1) / k;
    front *= x ** a * y ** b;
    return x < (a + 1) / (a + b + 2) ? (front * fraction(a, b, x)) / a : 1 - (front * fraction(b, a, y)) / b;
  }

  /* The mean of a - b, its half-width, and p; see `paired_comparison`. */
  function paired(a, b, counted, quantiles) {
    const n = a.length;
    const rounding = a.map((each, place) => ROUNDING * Math.max(Math.abs(each), Math.abs(b[place])));
    let difference = a.map((each, place) => (Math.abs(each - b[place]) <= rounding[place] ? 0 : each - b[place]));
    if (range(difference) <= rounding.reduce((one, other) => Math.max(one, other))) difference = difference.map(() => difference[0]);
    const { mean, half, error } = interval(difference, quantiles);
    if (n === 1) return { n, mean, half, p: NaN };
    if (error > 0) return { n, mean, half, p: student(mean / error, n - 1) };
    return { n, mean, half, p: mean === 0 ? 1 : counted ? 0 : 2 ** (1 - n) };
  }

  /* Holm's adjustment of p-values, in their order. */
  function holm(p) {
    const order = p.map((_, place) => place).sort((one, other) => p[one] - p[other]);
    const adjusted = [];
    let least = 0;
    order.forEach((place, rank) => {
      least = Math.max(least, (p.length - rank) * p[place]);
      adjusted[place] = Math.min(1, least);
    });
    return adjusted;
  }

  /* Three significant digits, a tie to the even one; see `format_number`. */
  function format(x) {
    if (!Number.isFinite(x)) return "n/a";
    const size = Math.abs(x), exact = size.toExponential(25);
    const rounded = /^\d\.\d[02468]50*e/.test(exact) ? exact.replace(/50*e/, "e") : size.toExponential(2);
    const [digits, power] = rounded.split("e");
    const shown = power < -4 || power > 2 ? `${digits}e${Number(power)}` : Number(rounded).toFixed(2 - power);
    return (x < 0 ? "-" : "") + shown;
  }

  return { interval, student, paired, holm, format };
})();
