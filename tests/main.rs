//! The one integration binary.

mod floors;
mod metrics;
mod quickstart;
