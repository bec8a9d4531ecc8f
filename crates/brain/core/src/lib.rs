//! brain-core
