//! execution-core
