//! risk-guard-core
