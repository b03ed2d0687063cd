//! Statistics behind verdicts and plans: intervals of quantiles, tests of arrival processes, bootstrap. Pure.
