//! portcullis-venue
