//! market-data-core
