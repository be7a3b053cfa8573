//! The data path's source port.
