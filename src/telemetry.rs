//! Logs: text on a terminal, JSON otherwise.
