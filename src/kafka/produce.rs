//! The data path's sink port.
