//! Example and property tests.
