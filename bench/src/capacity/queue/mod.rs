//! The queue model: shared-nothing shards are `c` independent M/G/1 queues, not M/M/c.
//!
//! Owns the prediction of response times at a load from service times that were measured at low load, and its back-test.
//! Erlang's C, which takes all shards for servers of one queue, is three to nine times too hopeful for p99; it is shown beside
//! the prediction to make that visible, never used.

mod backtest;
mod closed;
mod placement;
mod service;
mod simulate;

pub use backtest::{Backtest, BacktestError, BacktestRow, LoadStep, backtest};
pub use closed::{erlang_c, mmc_quantile, pollaczek_khinchine};
pub use placement::{CONNECTIONS_MAX, Placement, SHARDS_MAX, imbalance, place};
pub use service::Service;
pub use simulate::{Effort, Model, Prediction, Spread, predict};
